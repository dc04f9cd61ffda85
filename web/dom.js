// Elements, and lists of them. Texts become text nodes: nothing here, or anywhere in these pages,
// reads a text as HTML.

const SVG = 'http://www.w3.org/2000/svg';

// el('button', { class: 'quiet', onclick }, 'text', child): on… are listeners, the rest attributes;
// an attribute that is null or false is left out.
export function el(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

export function set(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : value);
}

// Sets a text only where it changed, so that a selection in it is not lost.
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// Icons, drawn on 24 by 24.
const ICONS = {
  sun: 'M12 4V2M12 22v-2M4 12H2M22 12h-2M6.3 6.3 4.9 4.900M19.1 19.100l-1.4-1.400M6.3 17.700l-1.4 1.400M19.1 4.900l-1.4 1.400M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z',
  moon: 'M20 14.500A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.500z',
  back: 'M15 5l-7 7 7 7',
  send: 'M4 12 20 4l-5 16-3.5-6.500zM11.5 13.5 20 4',
  plus: 'M12 5v14M5 12h14',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6M16 4.500a3.5 3.5 0 0 1 0 6.500M18 14.500c2 .8 3.2 2.6 3.5 5.5',
  folder: 'M3 7a2 2 0 0 1 2-2h4l2 2.500h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z',
  value: 'M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5',
  all: 'M4 10v4h3l6 4V6L7 10zM16.5 9a4 4 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11',
};

export function icon(name) {
  return svg('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' },
    svg('path', { d: ICONS[name] }));
}

// Makes the children of `list` those of `items`, in order. Elements are kept by key, so that
// focus, selection and scroll places stay. `draw(element, item)` fills in, also a new one.
export function sync(list, items, keyOf, make, draw) {
  const old = list.kept ?? new Map(), kept = new Map(items.map(item => [keyOf(item), item]));
  // First, or all that follow would be moved, and what is moved loses them.
  for (const [key, element] of old) if (!kept.has(key)) element.remove();
  let place = list.firstChild;
  for (const [key, item] of kept) {
    const element = old.get(key) ?? make(item);
    draw?.(element, item);
    kept.set(key, element);
    if (element === place) place = place.nextSibling;
    else list.insertBefore(element, place);
  }
  list.kept = kept;
}

// Arrow keys, Home and End go from one `selector` to the next within `box`.
export function arrows(box, selector) {
  box.addEventListener('keydown', event => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...box.querySelectorAll(selector)].filter(one => one.offsetParent);
    const typing = event.target.matches('input, textarea, select');
    const at = all.indexOf(event.target.closest(selector));
    if (!all.length || (typing && event.key !== 'ArrowDown')) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, at + step))].focus();
  });
}

// Calls `draw` once before the next frame, however often it is asked. A hidden page has no frames.
export function soon(draw) {
  let asked = false;
  const run = () => { if (asked) { asked = false; draw(); } };
  return () => {
    if (asked) return;
    asked = true;
    if (document.hidden) setTimeout(run, 50); else requestAnimationFrame(run);
  };
}

// A round sign for a name, always of the same colour.
export function avatar(name, sign) {
  const round = el('span', { class: 'avatar', 'aria-hidden': 'true' });
  let hash = 7;
  for (const c of name) hash = (hash * 31 + c.codePointAt(0)) % 360;
  round.style.setProperty('--hue', hash);
  round.append(sign ?? ([...name][0] ?? '?').toLocaleUpperCase());
  return round;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
// A time that somebody else has written, as one that can be shown, whatever it is.
export const instant = ms => new Date(Math.max(0, Math.min(Number(ms) || 0, 8.64e15)));
export const clock = ms => CLOCK.format(instant(ms));
export const day = ms => DAY.format(instant(ms));

// How long ago, in words that need no redrawing for a minute.
export function ago(ms) {
  const minutes = Math.floor((Date.now() - ms) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return day(ms);
}

const TOLD_MS = 12_000;

// Says something to those who listen instead of looking.
export function announce(words) { document.getElementById('say').textContent = words; }

// Shows for a while what went wrong, to everybody.
let untold;
export function tell(words) {
  const told = document.getElementById('told');
  told.textContent = words;
  told.onclick = () => { told.textContent = ''; };
  clearTimeout(untold);
  untold = setTimeout(told.onclick, TOLD_MS);
}

// A modal dialog over everything; closes on Escape, on its `Cancel`, and when `submit(form)`
// answers nothing; an answer is shown as what is wrong.
export function dialog(title, content, action, submit, mayCancel = true) {
  const wrong = el('p', { class: 'wrong', role: 'alert' });
  const cancel = mayCancel && el('button', { type: 'button', class: 'quiet', onclick: () => box.close() }, 'Cancel');
  let done = mayCancel;
  const form = el('form', { method: 'dialog', onsubmit: event => {
    event.preventDefault();
    const problem = submit(form);
    if (problem) { text(wrong, problem); return; }
    done = true;
    box.close();
  } }, el('h2', { id: 'dialog-title' }, title), ...content, wrong,
  el('div', { class: 'row end' }, cancel || null, el('button', { class: 'main' }, action)));
  // A second Escape closes a dialog whatever is said to `cancel`.
  const box = el('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => { if (done) box.remove(); else box.showModal(); },
    oncancel: event => { if (!mayCancel) event.preventDefault(); } }, form);
  document.body.append(box);
  box.showModal();
  return box;
}

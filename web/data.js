// The Data section: what lies below a prefix, one level at a time, and live; the value that is
// open is in value.js.
// Limits: pages of PAGE values are read on request, ROWS_MAX rows are drawn.

import { ago, arrows, dialog, el, icon, set, soon, sync, text } from './dom.js';
import { ValueView } from './value.js';
import { watch } from './watch.js';

const PAGE = 1_000, ROWS_MAX = 500, FRESH_MS = 2_000;

const hash = (kind, path) => `#/${kind}/${encodeURIComponent(path)}`;
const bare = path => path.replace(/^\/+|\/+$/g, '');
const parent = path => path.split('/').slice(0, -1).join('/');

export class DataSection {
  #items = new Map(); // by path, of those that were read
  #cursor = null;
  #end = null;
  #prefix = null;

  constructor(section, socket) {
    Object.assign(this, { section, socket, draw: soon(() => this.#draw()) });
    this.crumbs = el('ol', { class: 'crumbs' });
    this.field = el('input', { type: 'search', placeholder: 'Filter, or a path and Enter', 'aria-label': 'Filter, or a path and Enter',
      autocomplete: 'off', spellcheck: 'false', oninput: this.draw, onkeydown: event => this.#onKey(event) });
    this.rows = el('ul', { class: 'rows', 'aria-label': 'Values' });
    this.more = el('button', { type: 'button', class: 'quiet wide', onclick: () => this.#page() }, 'Read more');
    this.hint = el('p', { class: 'hint', role: 'status' });
    this.value = new ValueView(path => { location.hash = hash('data', parent(path)); });
    const add = el('button', { type: 'button', class: 'quiet icon', 'aria-label': 'New value', title: 'New value', onclick: () => this.#add() }, icon('plus'));
    section.append(el('div', { class: 'side' }, el('nav', { 'aria-label': 'Path' }, this.crumbs),
      el('div', { class: 'row search' }, this.field, add),
      el('div', { class: 'scroll' }, this.rows, this.hint, this.more)), this.value.element,
    el('p', { class: 'hint middle nobody' }, 'Choose a value to read or change it. What others change appears by itself.'));
    arrows(section.firstChild, '.rows a');
  }

  // Shows a prefix, or a value and the prefix that it lies in.
  show(visible, place, isValue) {
    if (!visible) { this.#stop(); return; }
    place = bare(place);
    const prefix = isValue ? parent(place) : place;
    const left = !isValue && this.section.classList.contains('talking');
    this.section.classList.toggle('talking', isValue);
    if (prefix !== this.#prefix) this.#start(prefix);
    if (left) this.crumbs.lastChild?.firstChild.focus(); // what had the focus is gone
    if (isValue) this.value.show(place); else this.value.close();
    this.draw();
  }

  #stop() {
    this.#end?.();
    this.#end = this.#prefix = null;
  }

  #start(prefix) {
    this.#stop();
    this.#prefix = prefix;
    this.#items.clear();
    this.field.value = '';
    this.reading = true;
    this.problem = this.deaf = null;
    this.#end = watch(this.socket, prefix, {
      ready: () => { this.#items.clear(); this.#cursor = null; this.#page(); this.value.refresh(); },
      refused: words => { this.deaf = words; this.#page(); },
      change: frame => this.#onChange(frame),
    });
    if (!this.socket.online) this.#page(); // there may be no connection for a while
  }

  async #page() {
    const prefix = this.#prefix, query = new URLSearchParams({ limit: PAGE, ...(prefix && { prefix }), ...(this.#cursor && { cursor: this.#cursor }) });
    try {
      const answer = await fetch(`/v1/data?${query}`), page = await answer.json();
      if (prefix !== this.#prefix) return;
      if (!answer.ok) throw new Error(page.detail);
      for (const item of page.items) if (!this.#items.has(item.path)) this.#items.set(item.path, item);
      this.#cursor = page.cursor ?? null;
      this.problem = null;
    } catch (error) {
      if (prefix !== this.#prefix) return;
      this.problem = error.message;
    }
    this.reading = false;
    this.draw();
  }

  #onChange(frame) {
    if (frame.op === 'delete') this.#items.delete(frame.path);
    else this.#items.set(frame.path, { ...frame, fresh: Date.now() + FRESH_MS });
    this.value.onChange(frame);
    this.draw();
    setTimeout(this.draw, FRESH_MS + 50);
  }

  // Rows of this level: values, and what has values below it.
  #level() {
    const prefix = this.#prefix, rows = new Map(), sought = this.field.value.trim().toLowerCase();
    for (const item of this.#items.values()) {
      const rest = prefix ? item.path.slice(prefix.length + 1) : item.path;
      const slash = rest.indexOf('/'), name = slash < 0 ? rest : rest.slice(0, slash);
      if (!name.toLowerCase().includes(sought)) continue;
      const key = slash < 0 ? `v${name}` : `f${name}`;
      const row = rows.get(key) ?? { key, name, item: slash < 0 ? item : null, count: 0, fresh: 0 };
      row.item &&= item;
      row.count++;
      row.fresh = Math.max(row.fresh, item.fresh ?? 0);
      rows.set(key, row);
    }
    return [...rows.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.key < b.key ? -1 : 1));
  }

  #draw() {
    if (this.#prefix === null) return;
    const segments = this.#prefix ? this.#prefix.split('/') : [];
    const places = ['', ...segments.map((_, i) => segments.slice(0, i + 1).join('/'))];
    sync(this.crumbs, places, path => path, path => el('li', {}, el('a', { href: hash('data', path) }, path ? path.split('/').at(-1) : 'All data')),
      (crumb, path) => set(crumb.firstChild, 'aria-current', path === this.#prefix && !this.value.path && 'page'));
    const rows = this.#level(), now = Date.now();
    sync(this.rows, rows.slice(0, ROWS_MAX), row => `${this.#prefix} ${row.key}`, row => this.#make(row), (element, row) => {
      const [, , time, line] = element.firstChild.children;
      text(time, !row.item ? '' : this.value.isDraft(row.item.path) ? 'not saved' : ago(row.item.timestamp));
      text(line, row.item ? JSON.stringify(row.item.value).slice(0, 200) : `${row.count}${this.#cursor ? '+' : ''} value${row.count === 1 ? '' : 's'}`);
      set(element.firstChild, 'aria-current', row.item && row.item.path === this.value.path && 'true');
      element.classList.toggle('fresh', row.fresh > now);
    });
    this.more.hidden = !this.#cursor;
    text(this.hint, this.problem ? `The node does not answer as it should: ${this.problem}`
      : this.deaf ? `What others change is not shown here: ${this.deaf}`
      : this.reading && !rows.length ? 'Reading …'
      : rows.length > ROWS_MAX ? `${rows.length - ROWS_MAX} more rows: filter, or write a path above`
        : rows.length ? '' : this.field.value ? 'Nothing here has such a name.' : 'There are no values here yet.');
  }

  #make(row) {
    const path = (this.#prefix ? `${this.#prefix}/` : '') + row.name, at = row.item?.path ?? path;
    return el('li', {}, el('a', { href: hash(row.item ? 'value' : 'data', at) }, el('span', { class: 'sign' }, icon(row.item ? 'value' : 'folder')),
      el('span', { class: 'name', dir: 'auto' }, row.name || 'the value at this path itself'), el('time'), el('span', { class: 'line mono' })));
  }

  #onKey(event) {
    if (event.key === 'Escape') { this.field.value = ''; this.draw(); }
    if (event.key !== 'Enter' || !this.field.value.trim()) return;
    const only = this.rows.querySelectorAll('a');
    if (only.length === 1) only[0].click();
    else {
      location.hash = hash('data', bare(this.field.value.trim()));
      this.field.value = '';
      this.draw();
    }
  }

  #add() {
    const path = el('input', { id: 'path', required: true, maxlength: 512, spellcheck: 'false', autocomplete: 'off',
      value: this.#prefix ? `${this.#prefix}/` : '', placeholder: 'users/1' });
    dialog('New value', [el('label', { for: 'path' }, 'Its path: names with slashes between them'), path], 'Go on', () => {
      if (path.value.split('/').some(name => ['', '.', '..'].includes(name))) return 'Write it as a/b/c, without a slash at either end.';
      location.hash = hash('value', path.value);
    });
  }
}

// The shell: sections by the address's hash, the person's name, colours, and the connection.
//
// Addresses: #/chat, #/chat/<talk>, #/data/<prefix>, #/value/<path>, #/mesh.

import { announce, avatar, dialog, el, icon, set, soon, tell, text } from './dom.js';
import { clientOf, keepName, nameProblem, savedName, shared, tab } from './identity.js';
import { Chat, words } from './chat.js';
import { DataSection } from './data.js';
import { MeshSection } from './mesh.js';
import { Sidebar } from './sidebar.js';
import { Socket } from './socket.js';
import { TalkView } from './talk.js';

const byId = id => document.getElementById(id);
const socket = new Socket();
let chat = null, sidebar = null, talk = null;

const data = new DataSection(byId('data'), socket);
const mesh = new MeshSection(byId('mesh'));

const go = hash => { location.hash = hash; };
const openTalk = id => go(`#/chat/${encodeURIComponent(id)}`);

// Shows what the address says.
function route() {
  const [, section = 'chat', rest = ''] = location.hash.match(/^#\/(\w+)\/?(.*)$/) ?? [];
  const name = section === 'value' ? 'data' : ['data', 'mesh'].includes(section) ? section : 'chat';
  for (const one of ['chat', 'data', 'mesh']) {
    byId(one).hidden = one !== name;
    set(document.querySelector(`[data-section=${one}]`), 'aria-current', one === name && 'page');
  }
  const place = decode(rest);
  data.show(name === 'data', place, section === 'value');
  mesh.show(name === 'mesh');
  if (chat) {
    const known = name === 'chat' && /^(all$|[ru]\/.)/.test(place);
    byId('chat').classList.toggle('talking', known);
    talk.show(known ? chat.talk(place) : null);
    draw();
  }
}

function decode(text) {
  try { return decodeURIComponent(text); } catch { return ''; }
}

// Begins to chat as `user`.
async function begin(user) {
  keepName(user);
  const client = await clientOf(user);
  chat = new Chat(socket, user, { changed: draw, came, tell });
  talk = new TalkView(chat, () => { go('#/chat'); sidebar.field.focus(); });
  sidebar = new Sidebar(chat, openTalk);
  byId('chat').replaceChildren(sidebar.element, talk.element,
    el('p', { class: 'hint middle nobody' }, 'Choose somebody to write to, or a room.'));
  byId('me').hidden = byId('state').hidden = false;
  set(byId('me'), 'aria-label', `${user}: status and name`); // narrow screens show only the sign
  byId('me').replaceChildren(avatar(user), el('span', { dir: 'auto' }, user));
  socket.open(user, client);
  await chat.load(); // before anything comes, which would land above it
  socket.connect();
  if (innerWidth > 760 && !location.hash) go('#/chat/all'); else route();
}

const draw = soon(() => {
  if (!chat) return;
  if (!byId('chat').hidden) { sidebar.draw(); talk.draw(); }
  const unread = [...chat.talks.values()].reduce((sum, one) => sum + chat.unread(one), 0);
  text(byId('unread'), String(unread));
  set(byId('unread'), 'aria-label', `${unread} unread`);
  byId('unread').hidden = unread === 0;
  document.title = `${unread ? `(${unread}) ` : ''}${chat.user} · Folkmoot`;
});

function came(message) {
  if (chat.open?.id !== message.talk || byId('chat').hidden) {
    announce(`${message.from}: ${words(message.body).slice(0, 200)}`);
  }
}

// The first question, and later how to become somebody else; who does loads the page anew.
function askName(problem) {
  const name = el('input', { id: 'name', required: true, maxlength: 128, autocomplete: 'nickname',
    spellcheck: 'false', value: savedName() ?? '' });
  const box = dialog('What is your name?', [
    el('label', { for: 'name' }, 'Others see it, on all nodes. Nobody checks it: there are no accounts yet.'), name],
  'Go on', () => {
    const user = name.value.trim(), wrong = nameProblem(user);
    if (wrong) return wrong;
    if (!chat) { begin(user); return; }
    become(user);
  }, Boolean(chat));
  if (problem) text(box.querySelector('.wrong'), problem);
  name.select();
}

function become(user) {
  if (user === chat.user) { socket.connect(); return; }
  socket.close();
  keepName(user);
  const address = new URL(location.href);
  address.searchParams.delete('as');
  address.hash = '';
  history.replaceState(null, '', address);
  location.reload();
}

function askStatus() {
  const status = el('input', { id: 'status', maxlength: 60, value: chat.status ?? '', placeholder: 'away, in a meeting …', list: 'statuses' });
  const box = dialog(chat.user, [
    el('label', { for: 'status' }, 'What others see beside your name'), status,
    el('datalist', { id: 'statuses' }, el('option', { value: 'away' }), el('option', { value: 'do not disturb' })),
    el('div', { class: 'row wrap' },
      el('button', { type: 'button', class: 'quiet', onclick: () => { box.close(); askName(); } }, 'Change name'),
      el('button', { type: 'button', class: 'quiet', onclick: () => { box.close(); askForget(); } }, 'Forget history'))],
  'Save', () => {
    if (new TextEncoder().encode(status.value).length > 128) return 'That is too long.';
    chat.setStatus(status.value.trim());
  });
}

function askForget() {
  dialog('Forget the history?', [el('p', {}, `All messages of ${chat.user} that this browser has kept are removed.`)],
    'Forget', () => { chat.forget(); });
}

// The connection, in words; a press on it tries again.
function drawState() {
  const { name, until, why } = socket.state, at = byId('state');
  const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
  const said = { idle: '', online: 'Connected', connecting: 'Connecting …', refused: 'Refused',
    elsewhere: 'Continues elsewhere', waiting: `Offline · again in ${seconds} s` }[name];
  at.dataset.state = name;
  text(at, said);
  set(at, 'title', why ?? (name === 'waiting' ? 'Try again now' : `${location.host}`));
}

socket.on('state', ({ name, why }) => {
  if (name === 'waiting') announce('The connection is lost. It is tried again.');
  if (name === 'online') announce('Connected.');
  if (name === 'refused') askName(why);
  drawState();
});
socket.on('error', ({ detail, error, n }) => n || tell(`The node refused that: ${detail ?? error}`));
setInterval(drawState, 500);
byId('state').onclick = () => socket.retry();
byId('me').onclick = askStatus;

const dark = () => document.documentElement.dataset.theme
  ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
function drawTheme() {
  byId('theme').replaceChildren(icon(dark() === 'dark' ? 'sun' : 'moon'));
  set(byId('theme'), 'aria-label', dark() === 'dark' ? 'Light colours' : 'Dark colours');
}
byId('theme').onclick = () => {
  const other = dark() === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset.theme = other;
  try { localStorage.setItem('folkmoot:theme', other); } catch { /* only until the reload */ }
  drawTheme();
};
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawTheme);

drawTheme();
addEventListener('hashchange', route);
route();
const name = savedName();
if (name && !nameProblem(name)) begin(name); else askName();

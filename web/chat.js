// What one person knows of the chat: talks and their messages, who is online, rooms.
//
// A talk is `all`, `r/<room>` or `u/<user>`. What is said in bodies, beside `{text}`, is written
// down in docs/chat.md: signals `{typing}` and `{read: {client, m}}`.
// Promise: a message is shown once, by its client and number; it is acknowledged to the node
// when the history has it.
// Limits: what a body may have (BODY_BYTES_MAX), SEEN_MAX, MESSAGES_MAX as in the history.

import { openClients, shared, tab } from './identity.js';
import * as store from './store.js';

const TYPING_MS = 5_000, TYPING_EVERY_MS = 2_500;
export const BODY_BYTES_MAX = 64 * 1024 - 64;
const SEEN_MAX = 200; // people who went, of whom it is kept when

export class Chat {
  talks = new Map();   // by id
  people = new Map();  // by name: { user, sessions, status }, of those who are online
  rooms = [];          // that this person is in
  status = tab.get('status');
  open = null;         // the talk that is on the screen
  #known = new Map();  // messages by client and number
  #typedAt = 0;
  #got = 0;
  #read = new Map();   // by talk: how far it was looked at, as `got` of this window
  #owed = new Set();   // talks that were looked at, whose writer is to be told
  #left = new Set();   // rooms that were left, which the node has not confirmed
  #keeping = Promise.resolve(); // the history takes one after the other

  // `changed()` is called after anything changed, often; `came(message)` for a new message of
  // somebody else, `tell(words)` for what went wrong.
  constructor(socket, user, { changed, came, tell }) {
    Object.assign(this, { socket, user, changed, came, tell });
    this.rooms = this.#shared('rooms', []);
    this.marks = this.#shared('read', {}); // by talk: client and m of the last that was looked at
    this.seen = new Map(this.#shared('seen', []));
    this.talk('all');
    for (const room of this.rooms) this.talk(`r/${room}`);
    store.onTrouble(() => tell('This browser does not keep the messages now: they are gone when this window is.'));
    socket.on('message', frame => this.#onMessage(frame));
    socket.on('signal', frame => this.#onSignal(frame));
    socket.on('settled', frame => this.#onSettled(frame));
    socket.on('users', frame => this.#onUsers(frame));
    socket.on('room', frame => this.#onRoom(frame));
    socket.on('error', ({ n, detail }) => n && this.#onSettled({ from: n, upto: n, outcome: 'refused', error: detail }));
    socket.on('state', () => this.changed());
    socket.wish(() => this.#wish());
    addEventListener('storage', event => this.#onStorage(event));
    addEventListener('focus', () => this.look());
    setInterval(() => this.changed(), 60_000); // "5 min ago" grows older
  }

  // Brings in the history; what was under way in a window that is gone is `lost`: nobody
  // knows whether it arrived.
  async load() {
    const open = await openClients();
    for (const message of await store.load(this.user)) {
      const { client, m } = message, own = client === this.socket.client;
      if (message.state === 'pending' && !(own && this.socket.outbox.has(m))) {
        message.state = !own && open.has(client) ? 'elsewhere' : 'lost'; // only that window will know
      }
      this.#insert(message);
      this.#got = Math.max(this.#got, message.got);
    }
    this.changed();
  }

  // The talk with this id, made if need be.
  talk(id) {
    let talk = this.talks.get(id);
    if (!talk) {
      const kind = id === 'all' ? 'all' : id[0] === 'r' ? 'room' : 'user';
      const name = kind === 'all' ? 'Everyone' : id.slice(2);
      talk = { id, kind, name, messages: [], members: new Set(), typing: new Map(), theirs: this.#shared('theirs', {})[id] ?? 0 };
      this.talks.set(id, talk);
    }
    return talk;
  }

  unread(talk) {
    const upto = this.#read.get(talk.id) ?? 0;
    let count = 0;
    for (let i = talk.messages.length - 1; i >= 0 && talk.messages[i].got > upto; i--) {
      if (!talk.messages[i].mine) count++;
    }
    return count;
  }

  // Who writes there now.
  typing(talk) {
    const now = Date.now();
    return [...talk.typing].filter(([, until]) => until > now).map(([user]) => user);
  }

  send(talk, words) {
    const body = { text: words }, m = this.socket.post(target(talk), body);
    const message = this.#message({ from: this.user, client: this.socket.client, m, at: Date.now(), body },
      talk.id, 'pending');
    this.#typedAt = 0;
    this.#insert(message);
    store.put(message);
    this.see(talk);
    this.changed();
  }

  // Says a message that did not arrive once more, as a new one.
  again(message) {
    const talk = this.talk(message.talk);
    talk.messages = talk.messages.filter(one => one !== message);
    this.#known.delete(keyOf(message));
    store.remove(message);
    this.send(talk, words(message.body));
  }

  type(talk) {
    if (talk.kind === 'all' || Date.now() - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = Date.now();
    this.socket.signal(target(talk), { typing: true });
  }

  // Everything in the talk has been looked at; whoever wrote it is told.
  see(talk) {
    const last = talk.messages.at(-1);
    if (!last || !this.#mark(talk, last)) return;
    if (talk.kind === 'user') this.#owed.add(talk);
    this.#tellRead();
    this.changed();
  }

  // What is on the screen has been looked at, if anybody looks.
  look() {
    if (this.open && !document.hidden && document.hasFocus()) this.see(this.open);
  }

  // Whether this is further than the talk was looked at before.
  #mark(talk, { client, m, got }) {
    if ((this.#read.get(talk.id) ?? 0) >= got) return false;
    this.#read.set(talk.id, got);
    this.#share('read', { ...this.#shared('read', {}), [talk.id]: { client, m } });
    return true;
  }

  #tellRead() {
    for (const talk of this.#owed) {
      const theirs = talk.messages.findLast(one => !one.mine);
      const told = !theirs || this.socket.signal(target(talk), { read: { client: theirs.client, m: theirs.m } });
      if (told) this.#owed.delete(talk);
    }
  }

  join(room) {
    this.talk(`r/${room}`);
    if (!this.rooms.includes(room)) this.#share('rooms', this.rooms = [...this.rooms, room]);
    this.changed();
    this.#enter(room);
  }

  // An answer without a code is none of the node's: the next welcome asks again.
  async #enter(room) {
    this.#left.delete(room);
    const { op, code, detail } = await this.socket.ask({ op: 'join', room });
    if (op !== 'error' || !code) return;
    this.#share('rooms', this.rooms = this.rooms.filter(one => one !== room));
    this.tell(`You are not in ${room}: ${detail}`);
    this.changed();
  }

  leave(talk) {
    this.#share('rooms', this.rooms = this.rooms.filter(room => room !== talk.name));
    this.#depart(talk.name);
    talk.members.clear();
    if (!talk.messages.length) this.talks.delete(talk.id);
    this.changed();
  }

  // Until the node has answered it is said again on every welcome.
  async #depart(room) {
    this.#left.add(room);
    const { op, code } = await this.socket.ask({ op: 'leave', room });
    if (op === 'done' || code) this.#left.delete(room);
  }

  setStatus(words) {
    this.status = words || null;
    tab.set('status', this.status);
    this.socket.say({ op: 'status', text: this.status });
    this.changed();
  }

  async forget() {
    await store.forget(this.user);
    for (const [key, message] of this.#known) {
      if (message.state === 'pending') store.put(message); // it is not history yet
      else this.#known.delete(key);
    }
    for (const talk of this.talks.values()) talk.messages = talk.messages.filter(one => one.state === 'pending');
    this.changed();
  }

  #shared(key, otherwise) { return shared.get(`${this.user}:${key}`, otherwise); }

  #share(key, value) { shared.set(`${this.user}:${key}`, value); }

  #wish() {
    this.socket.say({ op: 'users', prefix: '' });
    // A session that goes on may have another status; the other sessions of the user keep theirs.
    if (this.status || this.socket.state.resumed) this.socket.say({ op: 'status', text: this.status });
    for (const room of this.#left) this.#depart(room);
    for (const room of this.rooms) this.#enter(room);
    this.#tellRead();
  }

  #message(frame, talk, state) {
    const { from, client, m, at, body } = frame;
    this.#got = Math.max(Date.now(), this.#got + 0.001);
    return { user: this.user, talk, from, client, m, at, body, got: this.#got,
      mine: from === this.user, state };
  }

  #insert(message) {
    const key = keyOf(message);
    if (this.#known.has(key)) return false;
    this.#known.set(key, message);
    const talk = this.talk(message.talk), mark = this.marks[talk.id];
    talk.messages.push(message);
    talk.typing.delete(message.from);
    if (mark && keyOf(mark) === key) this.#read.set(talk.id, message.got);
    this.#trim();
    return true;
  }

  // The oldest go first, as from the history.
  #trim() {
    for (const [key, oldest] of this.#known) {
      if (this.#known.size <= store.MESSAGES_MAX) return;
      this.#known.delete(key);
      const talk = this.talk(oldest.talk);
      talk.messages = talk.messages.filter(one => one !== oldest);
    }
  }

  #onMessage(frame) {
    const state = frame.from === this.user ? 'elsewhere' : 'delivered';
    const message = this.#message(frame, talkOf(frame, this.user), state);
    const fresh = this.#insert(message), { session } = this.socket;
    if (fresh && !message.mine) this.came(message);
    if (fresh) this.look();
    if (fresh) this.#keeping = this.#keeping.then(() => store.add(message));
    this.#keeping.then(() => this.socket.received(session, frame.n));
    this.changed();
  }

  #onSignal({ from, body, ...frame }) {
    const talk = this.talk(talkOf({ from, ...frame }, this.user));
    if (from !== this.user && body?.typing) {
      talk.typing.set(from, Date.now() + TYPING_MS);
      setTimeout(() => this.changed(), TYPING_MS + 50);
    }
    if (body?.read) {
      const read = this.#known.get(`${body.read.client} ${body.read.m}`);
      if (read && from === this.user) this.#mark(talk, read); // in another session, perhaps elsewhere
      else if (read && read.got > talk.theirs) {
        talk.theirs = read.got;
        this.#share('theirs', { ...this.#shared('theirs', {}), [talk.id]: read.got });
      }
    }
    this.changed();
  }

  // A message that was refused by itself is so whatever is said of the numbers around it.
  #onSettled({ from, upto, outcome, sessions, error }) {
    for (let m = from; m <= upto; m++) {
      const message = this.#known.get(keyOf({ client: this.socket.client, m }));
      if (!message || ['refused', outcome].includes(message.state)) continue;
      Object.assign(message, { state: outcome, sessions, error });
      store.put(message);
    }
    this.changed();
  }

  // Each window counts for itself when it got a message; which one it was they all know.
  #onMarks(marks) {
    this.marks = marks;
    for (const [id, mark] of Object.entries(marks)) {
      const known = this.#known.get(keyOf(mark));
      if (known) this.#read.set(id, Math.max(this.#read.get(id) ?? 0, known.got));
    }
  }

  #onUsers({ all, users }) {
    if (all) this.people.clear();
    for (const one of users) {
      if (one.sessions > 0) this.people.set(one.user, one);
      else {
        this.people.delete(one.user);
        if (one.seen) this.#went(one.user, one.seen);
      }
    }
    this.changed();
  }

  #went(user, seen) {
    this.seen.delete(user); // so that it comes last
    this.seen.set(user, seen);
    for (const oldest of this.seen.keys()) {
      if (this.seen.size <= SEEN_MAX) break;
      this.seen.delete(oldest);
    }
    this.#share('seen', [...this.seen]);
  }

  #onRoom({ room, all, joined = [], left = [] }) {
    const { members } = this.talk(`r/${room}`);
    if (all) members.clear();
    for (const user of joined) members.add(user);
    for (const user of left) members.delete(user);
    this.changed();
  }

  // What this person did in another window of this browser.
  #onStorage({ key }) {
    if (key === `folkmoot:${this.user}:read`) this.#onMarks(this.#shared('read', {}));
    if (key === `folkmoot:${this.user}:rooms`) {
      const rooms = this.#shared('rooms', []);
      for (const room of this.rooms) if (!rooms.includes(room)) this.#depart(room);
      for (const room of rooms) if (!this.rooms.includes(room)) this.#enter(room);
      for (const room of rooms) this.talk(`r/${room}`);
      this.rooms = rooms;
    }
    this.changed();
  }
}

const keyOf = ({ client, m }) => `${client} ${m}`;

function target(talk) {
  return talk.kind === 'all' ? { all: true } : { [talk.kind === 'room' ? 'room' : 'to']: talk.name };
}

// The talk that a frame belongs to, for `user`.
function talkOf(frame, user) {
  if (frame.room !== undefined) return `r/${frame.room}`;
  if (frame.to === undefined) return 'all';
  return `u/${frame.from === user ? frame.to : frame.from}`;
}

// A body as text: `{text}`, a plain string, or whatever it is as JSON.
export function words(body) {
  if (typeof body === 'string') return body;
  return typeof body?.text === 'string' ? body.text : JSON.stringify(body);
}

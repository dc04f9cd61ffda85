// One conversation with the node over a WebSocket that may break; the words are in docs/chat.md.
//
// Promise: what was posted is sent again until it is settled, with its number; what came is
// acknowledged only when it was kept; after a break the session goes on where it was, or begins
// anew and everything that was asked for (`wishes`) is asked for again.
// Limits: the pauses below, and at most WINDOW messages under way.

import { tab } from './identity.js';
import { Outbox } from './outbox.js';

// Between attempts, the first of which is made at once: doubles, less up to a half.
const PAUSE_MS_MIN = 400, PAUSE_MS_MAX = 15_000;
const CONNECT_MS_MAX = 8_000;                    // for an attempt, until it is welcomed
const PING_MS = 20_000, PONG_MS_MAX = 10_000;    // of silence, and until it is answered
const WINDOW = 256;
// Half a surrogate pair is no text in UTF-8: the node would break off, again and again.
const toText = frame => JSON.stringify(frame, (_, value) =>
  typeof value === 'string' ? value.replace(/\p{Cs}/gu, '\uFFFD') : value);
const BREAK_OFF = 4000;                          // our own close code

export class Socket {
  #ws = null;
  #handlers = new Map();
  #wishes = new Set();
  #timer = null;
  #attempts = 0;
  #heard = 0;
  #pinged = 0;
  #sent = 0;      // the highest number that went out over this connection
  #received = 0;  // the last message that was kept
  #requests = 0;
  #answers = new Map();

  // state.name: idle, connecting, online, waiting (then state.until), refused or elsewhere
  // (then nothing goes on by itself; state.why).
  state = { name: 'idle' };

  constructor() {
    addEventListener('online', () => this.retry());
    document.addEventListener('visibilitychange', () => document.hidden || this.retry());
    setInterval(() => this.#pulse(), 5_000);
  }

  // Calls `handler(frame)` for frames with this `op`, and for `state`; the answer ends that.
  on(op, handler) {
    const all = this.#handlers.get(op) ?? new Set();
    this.#handlers.set(op, all.add(handler));
    return () => all.delete(handler);
  }

  // Calls `wish()` on every welcome, to ask for what the node should tell; now too if it can.
  // The answer ends that.
  wish(wish) {
    this.#wishes.add(wish);
    if (this.online) wish();
    return () => this.#wishes.delete(wish);
  }

  get online() { return this.state.name === 'online'; }

  // Takes up what this window kept as `user`; then `connect`, when what comes can be taken in.
  open(user, client) {
    this.user = user;
    this.client = client;
    this.outbox = new Outbox();
    const kept = tab.get('session');
    this.session = kept?.token;
    this.#received = kept?.received ?? 0;
  }

  // Tries, whatever was the matter before.
  connect() { if (!['online', 'connecting'].includes(this.state.name)) this.#connect(); }

  // Ends the session for good, so that the user is seen to go.
  close() {
    this.say({ op: 'bye' });
    const ws = this.#ws;
    this.#ws = null;
    clearTimeout(this.#timer);
    tab.drop('session');
    this.session = null;
    this.#become('idle');
    ws?.close(1000);
  }

  // Tries now instead of later.
  retry() {
    if (['waiting', 'elsewhere'].includes(this.state.name)) this.#connect();
  }

  // Says something of the moment; false if there is no connection to say it on.
  say(frame) {
    if (!this.online) return false;
    this.#ws.send(toText(frame));
    return true;
  }

  // Says something and resolves to the answer: a frame with op `done` or `error`.
  ask(frame) {
    const id = `r${++this.#requests}`;
    if (!this.say({ ...frame, id })) return Promise.resolve({ op: 'error', error: 'not connected' });
    return new Promise(resolve => this.#answers.set(id, resolve));
  }

  // Sends a message, now or when there is a connection; its number.
  post(target, body) {
    const frame = this.outbox.add(target, body);
    this.#send();
    return frame.n;
  }

  signal(target, body) { return this.say({ op: 'send', ...target, signal: true, body }); }

  // All messages of a session up to this one are kept.
  received(session, n) {
    if (session !== this.session || n <= this.#received) return;
    this.#received = n;
    this.#remember();
    this.say({ op: 'received', n });
  }

  #become(name, more = {}) {
    this.state = { name, ...more };
    this.#tell('state', this.state);
  }

  #tell(op, frame) {
    for (const handler of this.#handlers.get(op) ?? []) handler(frame);
  }

  #remember() {
    if (this.session) tab.set('session', { token: this.session, received: this.#received });
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#become('connecting');
    const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/ws`;
    const ws = this.#ws = new WebSocket(url);
    const mine = handler => event => { if (ws === this.#ws) handler(event); };
    this.#heard = performance.now();
    this.#timer = setTimeout(mine(() => this.#lost(ws, {})), CONNECT_MS_MAX);
    ws.onopen = mine(() => this.#hello(this.session));
    ws.onmessage = mine(event => {
      this.#heard = performance.now();
      this.#take(JSON.parse(event.data));
    });
    ws.onclose = mine(event => this.#lost(ws, event));
  }

  #hello(token) {
    const who = token ? { session: token, received: this.#received }
      : { user: this.user, client: this.client };
    this.#ws.send(JSON.stringify({ op: 'hello', id: 'hello', ...who }));
  }

  #take(frame) {
    const { op, id } = frame;
    if (op === 'welcome') this.#welcome(frame);
    else if (op === 'error' && !this.online) this.#refused(frame);
    else if (op === 'settled') { this.outbox.settled(frame.upto); this.#tell(op, frame); this.#send(); }
    else if ((op === 'done' || op === 'error') && this.#answers.has(id)) {
      this.#answers.get(id)(frame);
      this.#answers.delete(id);
    } else {
      if (op === 'error' && frame.n) this.outbox.refused(frame.n);
      this.#tell(op, frame);
    }
  }

  #welcome(frame) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#attempts = 0; }, 5_000);
    if (!frame.resumed) this.#received = 0;
    this.session = frame.session;
    this.#remember();
    this.#become('online', { node: frame.node, resumed: frame.resumed });
    for (const wish of this.#wishes) wish();
    this.#sent = 0;
    this.#send();
  }

  // No session to go on with: begin anew on the same connection. Anything else is for a person.
  #refused(frame) {
    if (frame.code === 212) {
      tab.drop('session');
      this.session = null;
      this.#hello(null);
      return;
    }
    const ws = this.#ws;
    this.#ws = null;
    clearTimeout(this.#timer);
    this.#become('refused', { why: frame.error });
    ws.close(BREAK_OFF);
  }

  // What waits and has not gone out over this connection, as far as the window reaches.
  #send() {
    if (!this.online) return;
    for (const frame of this.outbox.waiting.slice(0, WINDOW)) {
      if (frame.n <= this.#sent) continue;
      this.#ws.send(toText(frame));
      this.#sent = frame.n;
    }
  }

  #lost(ws, { code }) {
    clearTimeout(this.#timer);
    this.#ws = null;
    ws.close();
    for (const answer of this.#answers.values()) answer({ op: 'error', error: 'the connection broke' });
    this.#answers.clear();
    if (code === 4002) {
      this.#become('elsewhere', { why: 'This conversation goes on in another window.' });
      return;
    }
    // A page that is not looked at has a timer a minute: later than a session is kept.
    if (this.#attempts++ === 0 && code !== 4029) { this.#connect(); return; }
    const most = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (this.#attempts - 2));
    const pause = (code === 4029 ? 5_000 : 0) + most * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#become('waiting', { until: Date.now() + pause });
  }

  // A connection that died without a word is noticed here: browsers do not. Silence alone is no
  // sign of it, for this may be called a minute late.
  #pulse() {
    if (!this.online) return;
    const now = performance.now();
    if (this.#pinged > this.#heard) {
      if (now - this.#pinged >= PONG_MS_MAX) this.#lost(this.#ws, {});
    } else if (now - this.#heard > PING_MS) {
      this.#pinged = now;
      this.say({ op: 'ping' });
    }
  }
}

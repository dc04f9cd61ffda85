// What this window has said and has not been settled, in the order of its numbers.
//
// Promise: a number is kept before its message leaves, so it never names two messages, also if
// the window is reloaded in between; a message stays here until the node says what became of it.

import { tab } from './identity.js';

export class Outbox {
  constructor() {
    const kept = tab.get('outbox', { n: 0, waiting: [] });
    this.n = Math.max(kept.n, tab.get('n', 0));
    this.waiting = kept.waiting;
  }

  // Numbers a message, `{to}`, `{room}` or `{all}` and its body, and keeps it.
  add(target, body) {
    const frame = { op: 'send', n: ++this.n, ...target, body };
    tab.set('n', this.n); // by itself: there may be no room for the rest
    this.waiting.push(frame);
    this.#keep();
    return frame;
  }

  // Forgets what is settled up to a number.
  settled(upto) {
    this.waiting = this.waiting.filter(frame => frame.n > upto);
    this.#keep();
  }

  // Forgets one that the node did not take.
  refused(n) {
    this.waiting = this.waiting.filter(frame => frame.n !== n);
    this.#keep();
  }

  has(n) { return this.waiting.some(frame => frame.n === n); }

  #keep() { tab.set('outbox', { n: this.n, waiting: this.waiting }); }
}

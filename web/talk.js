// The right side of Chat: one talk, its messages, and where one writes.
// Limits: SHOWN messages are drawn, more on request.

import { ago, avatar, clock, day, el, icon, instant, set, soon, sync, text } from './dom.js';
import { BODY_BYTES_MAX, words } from './chat.js';
import { signOf } from './sidebar.js';

const SHOWN = 150;
const NEAR_PX = 80; // from the end, where new messages keep the view at the end
const QUIET_MS = 500; // until what was drawn has been looked at by whatever reads it out

const STATES = {
  pending: ['…', 'on its way'], delivered: ['✓', 'delivered'], read: ['✓✓', 'read'],
  nobody: ['nobody was there', ''], offline: ['not delivered: offline', ''], unknown: ['not delivered: nobody of that name has been here', ''],
  refused: ['refused', ''], lost: ['perhaps not delivered', ''], elsewhere: ['', 'sent from another window'],
};

export class TalkView {
  #drafts = new Map();

  constructor(chat, leave) {
    this.chat = chat;
    this.title = el('h1', { dir: 'auto' });
    this.about = el('p', { dir: 'auto' });
    this.round = el('span');
    this.members = el('button', { type: 'button', class: 'quiet icon', 'aria-label': 'Members',
      title: 'Members', 'aria-expanded': 'false', onclick: () => this.#toggleMembers() }, icon('people'));
    this.leaveRoom = el('button', { type: 'button', class: 'quiet',
      onclick: () => this.#joinOrLeave() });
    this.list = el('ul', { class: 'members', 'aria-label': 'Members', hidden: true });
    this.earlier = el('button', { type: 'button', class: 'quiet earlier', onclick: () => this.#showEarlier() }, 'Earlier messages');
    this.log = el('ol', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': 'Messages' });
    this.empty = el('p', { class: 'hint middle' });
    this.scroll = el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Messages' }, this.earlier, this.empty, this.log);
    this.newer = el('button', { type: 'button', class: 'quiet newer', hidden: true, onclick: () => this.#toEnd() }, 'New messages');
    this.scroll.addEventListener('scroll', () => { if (this.#near) this.newer.hidden = true; });
    this.typing = el('p', { class: 'typing' });
    this.field = el('textarea', { rows: 1, 'aria-label': 'Message', autocomplete: 'off', dir: 'auto',
      oninput: () => this.#onInput(), onkeydown: event => this.#onKey(event) });
    this.wrong = el('p', { class: 'wrong', role: 'alert' });
    this.leaveTalk = leave;
    this.element = el('div', { class: 'talk' },
      el('header', {}, el('button', { type: 'button', class: 'quiet icon back', 'aria-label': 'Back to all conversations', onclick: leave }, icon('back')),
        this.round, el('div', { class: 'grow' }, this.title, this.about), this.members, this.leaveRoom),
      this.list, this.scroll, this.newer, this.typing, this.wrong,
      el('form', { class: 'composer', onsubmit: event => { event.preventDefault(); this.#send(); } }, this.field,
        el('button', { class: 'main icon', 'aria-label': 'Send', title: 'Send (Enter)' }, icon('send'))));
    this.grow = soon(() => {
      this.field.style.height = 'auto';
      this.field.style.height = `${this.field.scrollHeight}px`;
    });
  }

  // Shows another talk, or none.
  show(talk) {
    const { chat } = this;
    if (chat.open) this.#drafts.set(chat.open.id, this.field.value);
    chat.open = talk;
    if (!talk) return;
    this.shown = SHOWN;
    this.log.kept = null;
    this.log.replaceChildren();
    this.round.replaceChildren(avatar(talk.name, signOf(talk)));
    this.list.hidden = true;
    this.field.value = this.#drafts.get(talk.id) ?? '';
    set(this.field, 'placeholder', talk.kind === 'all' ? 'Message to everyone' : `Message to ${talk.name}`);
    text(this.wrong, '');
    this.grow();
    this.#drawQuietly();
    this.#toEnd();
    chat.look();
    if (matchMedia('(pointer: fine)').matches) this.field.focus();
  }

  draw() {
    const { chat } = this, talk = chat.open;
    if (!talk) return;
    const person = talk.kind === 'user' ? chat.people.get(talk.name) : null;
    text(this.title, talk.name);
    text(this.about, this.#aboutOf(talk, person));
    this.round.firstChild.classList.toggle('online', Boolean(person));
    this.round.firstChild.classList.toggle('away', Boolean(person?.status));
    this.members.hidden = this.leaveRoom.hidden = talk.kind !== 'room';
    sync(this.list, talk.kind === 'room' ? [...talk.members].sort() : [], name => name,
      name => el('li', {}, avatar(name), el('span', { dir: 'auto' }, name)));
    text(this.leaveRoom, chat.rooms.includes(talk.name) ? 'Leave' : 'Join');
    const near = this.#near, last = talk.messages.at(-1);
    const messages = talk.messages.slice(-this.shown);
    this.earlier.hidden = messages.length === talk.messages.length;
    this.empty.hidden = messages.length > 0;
    text(this.empty, talk.kind === 'all' ? 'What is written here goes to everybody who is online, on all nodes.'
      : `No messages ${talk.kind === 'room' ? 'in' : 'with'} ${talk.name} yet. Write the first.`);
    sync(this.log, messages, one => `${one.client} ${one.m}`, one => this.#make(one),
      (element, one) => this.#drawMessage(element, one, messages));
    if (near) this.#toEnd();
    else if (last !== this.last) this.newer.hidden = false;
    this.last = last;
    const writing = chat.typing(talk);
    text(this.typing, writing.length === 0 ? '' : writing.length > 2 ? 'Several people are writing …'
      : `${writing.join(' and ')} ${writing.length > 1 ? 'are' : 'is'} writing …`);
  }

  get #near() { return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < NEAR_PX; }

  #toEnd() {
    this.newer.hidden = true;
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  #joinOrLeave() {
    const { chat } = this;
    if (!chat.rooms.includes(chat.open.name)) { chat.join(chat.open.name); return; }
    chat.leave(chat.open);
    this.leaveTalk();
  }

  // What was said before is not read out as if it came now.
  #drawQuietly() {
    set(this.log, 'aria-live', 'off');
    this.draw();
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => set(this.log, 'aria-live', 'polite'), QUIET_MS);
  }

  #aboutOf(talk, person) {
    const { chat } = this, count = (n, one) => `${n} ${one}${n === 1 ? '' : 's'}`;
    if (talk.kind === 'all') return `${count(chat.people.size, 'person').replace('persons', 'people')} online`;
    if (talk.kind === 'room') {
      return chat.rooms.includes(talk.name) ? `Room · ${count(talk.members.size, 'member')}` : 'A room that you have left';
    }
    if (person) return person.status ? `Online · ${person.status}` : 'Online';
    const seen = chat.seen.get(talk.name) ?? talk.messages.findLast(one => !one.mine)?.at;
    return seen ? `Last seen ${ago(seen)}` : 'Not online';
  }

  #make(message) {
    const again = el('button', { type: 'button', class: 'link', onclick: () => this.chat.again(message) }, 'Send again');
    const element = el('li', { class: message.mine ? 'mine' : null },
      el('p', { class: 'day', hidden: true }), el('p', { class: 'from', dir: 'auto' }, message.from),
      el('p', { class: 'bubble', dir: 'auto' }, words(message.body)),
      el('p', { class: 'foot' }, el('time', { datetime: instant(message.at).toISOString() }, clock(message.at)),
        el('span', { class: 'mark' }), el('span', { class: 'unseen' }), again));
    const [date, from, , foot] = element.children, [, mark, spoken] = foot.children;
    element.parts = { date, from, foot, mark, spoken, again };
    return element;
  }

  #drawMessage(element, message, all) {
    const { date, from, mark, spoken, again } = element.parts, at = all.indexOf(message);
    const before = all[at - 1], talk = this.chat.open;
    const newDay = !before || day(before.got) !== day(message.got);
    const follows = !newDay && before.from === message.from && message.got - before.got < 180_000;
    date.hidden = !newDay;
    text(date, newDay ? day(message.got) : '');
    from.hidden = message.mine || follows || talk.kind === 'user';
    element.classList.toggle('follows', follows);
    if (!message.mine) { again.hidden = true; return; }
    const read = talk.kind === 'user' && message.state === 'delivered' && message.got <= talk.theirs;
    const nobody = message.state === 'delivered' && talk.kind !== 'user' && message.sessions === 0;
    const state = read ? 'read' : nobody ? 'nobody' : message.state, [sign, meaning] = STATES[state];
    const to = state === 'delivered' && talk.kind !== 'user' ? ` ${message.sessions ?? ''}` : '';
    text(mark, state === 'refused' && message.error ? `refused: ${message.error}`
      : state === 'pending' && !this.chat.socket.online ? 'will be sent' : sign + to);
    set(mark, 'title', meaning);
    set(mark, 'aria-hidden', meaning && 'true');
    text(spoken, meaning);
    set(element, 'data-state', state);
    again.hidden = !['offline', 'unknown', 'refused', 'lost'].includes(state);
  }

  #showEarlier() {
    const fromEnd = this.scroll.scrollHeight - this.scroll.scrollTop;
    this.shown += SHOWN;
    this.#drawQuietly();
    this.scroll.scrollTop = this.scroll.scrollHeight - fromEnd;
  }

  #toggleMembers() {
    this.list.hidden = !this.list.hidden;
    set(this.members, 'aria-expanded', String(!this.list.hidden));
  }

  #onInput() {
    this.grow();
    if (this.field.value.trim()) this.chat.type(this.chat.open);
  }

  #onKey(event) {
    if (event.isComposing) return; // the key is meant for what is composed
    if (event.key === 'Escape') this.leaveTalk();
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const said = this.field.value.trim(), size = new TextEncoder().encode(JSON.stringify(said)).length;
    text(this.wrong, size > BODY_BYTES_MAX ? 'That is too long: at most 64 KiB go into one message.' : '');
    if (!said || this.wrong.textContent) return;
    const talk = this.chat.open;
    if (talk.kind === 'room' && !this.chat.rooms.includes(talk.name)) this.chat.join(talk.name);
    this.field.value = '';
    this.grow();
    this.chat.send(talk, said);
    this.draw();
    this.#toEnd();
  }
}

// The left side of Chat: talks, rooms, and who is online; one field searches all of them.
// Limits: ROWS_MAX rows are drawn of each, the search finds the others.

import { ago, arrows, avatar, clock, dialog, el, icon, set, sync, text } from './dom.js';
import { nameProblem } from './identity.js';
import { words } from './chat.js';

const ROWS_MAX = 100;

export class Sidebar {
  constructor(chat, open) {
    Object.assign(this, { chat, open });
    this.field = el('input', { type: 'search', placeholder: 'Search people and rooms',
      'aria-label': 'Search people and rooms', maxlength: 128, autocomplete: 'off', spellcheck: 'false',
      oninput: () => this.draw(), onkeydown: event => this.#onKey(event) });
    this.talks = el('ul', { class: 'rows', 'aria-label': 'Conversations' });
    this.online = el('h2', { class: 'label' });
    this.people = el('ul', { class: 'rows', 'aria-label': 'Online' });
    this.more = el('p', { class: 'hint' });
    this.write = el('button', { type: 'button', class: 'quiet wide', onclick: () => this.#write() });
    this.gone = el('ul', { class: 'rows faint', 'aria-label': 'Recently online' });
    this.goneLabel = el('h2', { class: 'label' }, 'Recently online');
    const join = el('button', { type: 'button', class: 'quiet icon', 'aria-label': 'Join a room',
      title: 'Join a room', onclick: () => this.#join() }, icon('plus'));
    this.element = el('div', { class: 'side' },
      el('div', { class: 'row search' }, this.field, join),
      el('div', { class: 'scroll' }, this.talks, this.online, this.people, this.more, this.write,
        this.goneLabel, this.gone));
    arrows(this.element, '.rows button');
  }

  #onKey(event) {
    if (event.key === 'Escape') { this.field.value = ''; this.draw(); }
    if (event.key !== 'Enter' || !this.field.value.trim()) return;
    const asked = this.field.value.trim(), rows = [...this.element.querySelectorAll('.rows button')];
    // Never somebody whose name only contains it: what is written next would go to them. Of a room
    // and a person of the same name the person, who is further down.
    const named = rows.findLast(row => row.querySelector('.name').textContent === asked);
    if (named) named.click();
    else if (!this.write.hidden) this.#write();
    else rows[0]?.click();
  }

  // Somebody who is not online, or not in sight.
  #write() {
    const name = this.field.value.trim();
    if (nameProblem(name)) return;
    this.field.value = '';
    this.open(`u/${name}`);
  }

  #join() {
    const name = el('input', { id: 'room', required: true, maxlength: 128, autocomplete: 'off' });
    dialog('Join a room', [el('label', { for: 'room' }, 'A room is there as soon as somebody is in it.'), name],
      'Join', () => {
        const room = name.value.trim(), problem = nameProblem(room);
        if (problem) return problem;
        this.chat.join(room);
        this.open(`r/${room}`);
      });
  }

  draw() {
    const { chat } = this, sought = this.field.value.trim().toLocaleLowerCase();
    const fits = name => name.toLocaleLowerCase().includes(sought);
    const talks = [...chat.talks.values()].filter(talk => fits(talk.name)
      && (talk.messages.length || talk.kind === 'all' || talk === chat.open || chat.rooms.includes(talk.name)));
    const latest = talk => talk.kind === 'all' ? Infinity : talk.messages.at(-1)?.got ?? 0;
    talks.sort((a, b) => latest(b) - latest(a) || compare(a.name, b.name));
    sync(this.talks, talks.slice(0, ROWS_MAX), talk => talk.id, talk => this.#row(talk.id, talk.name,
      signOf(talk)), (row, talk) => this.#drawTalk(row, talk));

    const others = [...chat.people.values()].filter(one => one.user !== chat.user && fits(one.user));
    others.sort((a, b) => compare(a.user, b.user));
    text(this.online, chat.socket.online || others.length ? `Online · ${others.length}` : 'Online');
    sync(this.people, others.slice(0, ROWS_MAX), one => one.user, one => this.#row(`u/${one.user}`, one.user),
      (row, one) => this.#drawPerson(row, one.status ?? (one.sessions > 1 ? `${one.sessions} sessions` : ''), one));
    text(this.more, others.length > ROWS_MAX ? `and ${others.length - ROWS_MAX} more: search for them`
      : others.length || !chat.socket.online ? ''
        : sought ? 'Nobody of that name is online.' : 'Nobody else is here yet.');

    const asked = this.field.value.trim();
    this.write.hidden = !asked || nameProblem(asked) !== null || chat.people.has(asked);
    text(this.write, `Write to ${asked.slice(0, 40)}`);

    const gone = [...chat.seen].reverse().filter(([name]) => !chat.people.has(name) && fits(name)
      && !chat.talks.get(`u/${name}`)?.messages.length).slice(0, 8);
    this.goneLabel.hidden = !gone.length;
    sync(this.gone, gone, ([name]) => name, ([name]) => this.#row(`u/${name}`, name),
      (row, [, seen]) => this.#drawPerson(row, ago(seen), null));
  }

  #row(id, name, sign) {
    const row = el('li', {}, el('button', { type: 'button', onclick: () => this.open(id) },
      avatar(name, sign), el('span', { class: 'name', dir: 'auto' }, name), el('time'),
      el('span', { class: 'line', dir: 'auto' }), el('b', { class: 'badge' })));
    row.parts = [...row.firstChild.children];
    return row;
  }

  #drawTalk(row, talk) {
    const { chat } = this, [round, , time, line, badge] = row.parts, last = talk.messages.at(-1);
    const unread = chat.unread(talk), writing = chat.typing(talk).length > 0;
    set(row.firstChild, 'aria-current', talk === chat.open && 'true');
    const person = talk.kind === 'user' && chat.people.get(talk.name);
    round.classList.toggle('online', Boolean(person));
    round.classList.toggle('away', Boolean(person?.status));
    text(time, last ? shortTime(last.got) : '');
    const who = last && (last.mine ? 'You: ' : talk.kind === 'user' ? '' : `${last.from}: `);
    text(line, writing ? 'writing …' : last ? who + words(last.body).slice(0, 120)
      : talk.kind === 'all' ? 'To everybody who is online' : talk.kind === 'room' ? 'A room' : '');
    text(badge, unread > 99 ? '99+' : String(unread));
    set(badge, 'aria-label', `${unread} unread`);
    badge.hidden = unread === 0;
  }

  #drawPerson(row, words, online) {
    const [round, , time, line, badge] = row.parts;
    round.classList.toggle('online', Boolean(online));
    round.classList.toggle('away', Boolean(online?.status));
    text(line, words);
    badge.hidden = time.hidden = true;
  }
}

export function signOf(talk) {
  return talk.kind === 'all' ? icon('all') : talk.kind === 'room' ? '#' : undefined;
}

function shortTime(ms) {
  const today = new Date().toDateString() === new Date(ms).toDateString();
  return today ? clock(ms) : new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' }).format(ms);
}

const compare = new Intl.Collator().compare;

// One value: shown as it was written, changed under a condition, so that nobody overwrites what
// they have not seen.

import { announce, el, icon, set, text } from './dom.js';
import { jsonProblem, pretty } from './json.js';

const toPath = path => path.split('/').map(encodeURIComponent).join('/');

export class ValueView {
  path = null;
  #tag = null;     // the version that is shown; none if there is no value
  #shown = '';     // the text as it was read
  #saving = false;

  constructor(leave) {
    this.leave = leave;
    this.title = el('h1', { dir: 'auto' });
    this.about = el('p');
    this.field = el('textarea', { class: 'mono', spellcheck: 'false', 'aria-label': 'Value, as JSON', autocomplete: 'off',
      oninput: () => this.#draw(), onkeydown: event => this.#onKey(event) });
    this.wrong = el('p', { class: 'wrong', role: 'alert' });
    this.theirs = el('pre', { class: 'mono', tabindex: '0' });
    this.clash = el('div', { class: 'clash', role: 'alert', hidden: true }, el('p'), this.theirs,
      el('div', { class: 'row wrap' }, el('button', { type: 'button', class: 'quiet', onclick: () => this.#take() }, 'Take theirs'),
        el('button', { type: 'button', class: 'quiet', onclick: () => this.#insist() }, 'Keep mine')));
    this.save = el('button', { class: 'main', title: 'Ctrl+Enter' }, 'Save');
    this.remove = el('button', { type: 'button', class: 'quiet danger', onclick: () => this.#delete() }, 'Delete');
    this.element = el('form', { class: 'talk value', onsubmit: event => { event.preventDefault(); this.#save(); } },
      el('header', {}, el('button', { type: 'button', class: 'quiet icon back', 'aria-label': 'Back to the list', onclick: () => leave(this.path) }, icon('back')),
        el('div', { class: 'grow' }, this.title, this.about)),
      this.clash, this.field, this.wrong, el('div', { class: 'row end' }, this.remove, this.save));
  }

  async show(path) {
    if (path === this.path) return;
    Object.assign(this, { path });
    this.#shown = this.field.value = '';
    this.clash.hidden = true;
    text(this.title, path);
    text(this.about, 'Reading …');
    await this.#read();
  }

  close() { this.path = null; }

  // Reads anew what nobody has changed here.
  refresh() { if (this.path && !this.#dirty) this.#read(); }

  // Somebody, perhaps this window, has changed a value.
  onChange(frame) {
    if (frame.path !== this.path || this.#saving || `"${frame.version}"` === this.#tag) return;
    if (frame.op === 'delete' && !this.#tag) return;
    if (this.#dirty) this.#tellClash(); else this.#read('Changed elsewhere just now');
  }

  get #dirty() { return this.field.value !== this.#shown; }

  // What is there now: { tag, words, about }.
  async #fetch() {
    const answer = await fetch(`/v1/data/${toPath(this.path)}`);
    if (answer.status === 404) return { tag: null, words: '', about: 'There is no value at this path yet' };
    const words = await answer.text();
    if (!answer.ok) throw new Error(JSON.parse(words).detail);
    const at = Number(answer.headers.get('folkmoot-stamp').split('.')[0]), end = answer.headers.get('folkmoot-expires');
    const time = new Date(at).toLocaleString(), by = answer.headers.get('folkmoot-node').slice(0, 12);
    const until = end ? `, until ${new Date(Number(end)).toLocaleString()}` : '';
    return { tag: answer.headers.get('etag'), words: pretty(words), about: `Written ${time} on node ${by}${until}` };
  }

  async #read(news) {
    const { path } = this;
    try {
      const now = await this.#fetch();
      if (path === this.path) this.#accept(now);
      if (news) announce(news);
      this.element.classList.toggle('fresh', Boolean(news));
      if (news) setTimeout(() => this.element.classList.remove('fresh'), 2_000);
    } catch (error) { text(this.about, `It cannot be read now: ${error.message}`); }
  }

  #accept({ tag, words, about }) {
    this.#tag = tag;
    this.#shown = this.field.value = words;
    this.clash.hidden = true;
    text(this.about, about);
    this.#draw();
  }

  #draw() {
    this.save.disabled = this.#saving || !this.#dirty;
    this.remove.hidden = !this.#tag;
    text(this.wrong, this.#dirty && this.field.value ? jsonProblem(this.field.value) ?? '' : '');
  }

  #onKey(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.#save();
    else if (event.key === 'Escape' && !this.#dirty) this.leave(this.path);
  }

  async #save() {
    const words = this.field.value, problem = jsonProblem(words);
    text(this.wrong, problem ?? '');
    if (problem || this.#saving) return;
    const condition = this.#tag ? { 'if-match': this.#tag } : { 'if-none-match': '*' };
    if (!await this.#change({ method: 'PUT', body: words, headers: { 'content-type': 'application/json', ...condition } })) return;
    announce('Saved.');
    await this.#read();
  }

  async #delete() {
    if (await this.#change({ method: 'DELETE', headers: { 'if-match': this.#tag } })) this.leave(this.path);
  }

  // Whether the change was made; a conflict and other refusals are shown.
  async #change(request) {
    this.#saving = true;
    this.#draw();
    try {
      const answer = await fetch(`/v1/data/${toPath(this.path)}`, request), said = await answer.json();
      if (answer.status === 412) await this.#tellClash();
      else if (!answer.ok) text(this.wrong, `Not saved: ${said.detail}`);
      return answer.ok;
    } catch {
      text(this.wrong, 'Not saved: the node does not answer.');
      return false;
    } finally {
      this.#saving = false;
      set(this.save, 'disabled', !this.#dirty);
    }
  }

  async #tellClash() {
    this.now = await this.#fetch();
    text(this.clash.firstChild, this.now.tag ? 'Somebody else has changed this value after you opened it. This is what is there now:'
      : 'Somebody else has deleted this value after you opened it.');
    text(this.theirs, this.now.words);
    this.theirs.hidden = !this.now.tag;
    this.clash.hidden = false;
  }

  #take() { this.#accept(this.now); this.field.focus(); }

  #insist() {
    this.#tag = this.now.tag;
    this.clash.hidden = true;
    this.#save();
  }
}

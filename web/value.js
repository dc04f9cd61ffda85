// One value: shown as it was written, changed under a condition, so that nobody overwrites what
// they have not seen.
//
// Promise: nothing that was typed is lost: what is not saved stays as a draft of its path while the
// window is open, and is never replaced by what is read.

import { announce, dialog, el, icon, set, text } from './dom.js';
import { jsonProblem, pretty } from './json.js';

const toPath = path => path.split('/').map(encodeURIComponent).join('/');

export class ValueView {
  path = null;
  #tag = null;     // the version that is shown; none if there is no value
  #shown = '';     // the text as it was read
  #end = null;     // when the value ends by itself
  #saving = null;  // the path that is being changed
  #drafts = new Map(); // by path: { tag, shown, end, words }

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
    this.remove = el('button', { type: 'button', class: 'quiet danger', onclick: () => this.#askDelete() }, 'Delete');
    this.element = el('form', { class: 'talk value', onsubmit: event => { event.preventDefault(); this.#save(); } },
      el('header', {}, el('button', { type: 'button', class: 'quiet icon back', 'aria-label': 'Back to the list', onclick: () => leave(this.path) }, icon('back')),
        el('div', { class: 'grow' }, this.title, this.about)),
      this.clash, this.field, this.wrong, el('div', { class: 'row end' }, this.remove, this.save));
    addEventListener('beforeunload', event => { if (this.#dirty || this.#drafts.size) event.preventDefault(); });
  }

  async show(path) {
    if (path === this.path) return;
    this.close();
    const { tag, shown, end, words } = this.#drafts.get(path) ?? { tag: null, shown: '', end: null, words: '' };
    this.#drafts.delete(path);
    Object.assign(this, { path });
    this.#tag = tag;
    this.#end = end;
    this.#shown = shown;
    this.field.value = words;
    this.field.readOnly = words === shown; // until it is known what is changed
    this.clash.hidden = true;
    text(this.title, path);
    text(this.about, 'Reading …');
    this.#draw();
    await this.#read();
  }

  close() {
    if (this.path && this.#dirty) this.#drafts.set(this.path, { tag: this.#tag, shown: this.#shown, end: this.#end, words: this.field.value });
    this.#shown = this.field.value = '';
    this.path = null;
  }

  isDraft(path) { return this.#drafts.has(path); }

  refresh() { if (this.path) this.#read(); }

  // Somebody, perhaps this window, has changed a value.
  onChange(frame) {
    if (frame.path !== this.path || this.#saving === this.path || `"${frame.version}"` === this.#tag) return;
    if (frame.op === 'delete' && !this.#tag) return;
    this.#read('Changed elsewhere just now');
  }

  get #dirty() { return this.field.value !== this.#shown; }

  // What is there now: { tag, words, end, about }.
  async #fetch(path) {
    const answer = await fetch(`/v1/data/${toPath(path)}`);
    if (answer.status === 404) return { tag: null, words: '', end: null, about: 'There is no value at this path yet' };
    const words = await answer.text();
    if (!answer.ok) throw new Error(JSON.parse(words).detail);
    const at = Number(answer.headers.get('folkmoot-stamp').split('.')[0]), end = answer.headers.get('folkmoot-expires');
    const time = new Date(at).toLocaleString(), by = answer.headers.get('folkmoot-node').slice(0, 12);
    const until = end ? `, until ${new Date(Number(end)).toLocaleString()}` : '';
    return { tag: answer.headers.get('etag'), words: pretty(words), end: end && Number(end), about: `Written ${time} on node ${by}${until}` };
  }

  // Reads what is there, and takes it over what nobody has changed here.
  async #read(news) {
    const { path } = this;
    try {
      const now = await this.#fetch(path);
      if (path !== this.path || this.#saving === path) return;
      if (this.#dirty) { this.#compare(now); return; }
      if (now.tag === this.#tag) news = null;
      this.#accept(now);
      if (news) announce(news);
      this.element.classList.toggle('fresh', Boolean(news));
      if (news) setTimeout(() => this.element.classList.remove('fresh'), 2_000);
    } catch (error) {
      if (path === this.path) text(this.about, `It cannot be read now: ${error.message}`);
    }
  }

  #accept({ tag, words, end, about }) {
    this.#tag = tag;
    this.#end = end;
    this.field.readOnly = false;
    this.#shown = words;
    if (this.field.value !== words) this.field.value = words;
    this.clash.hidden = true;
    text(this.about, about);
    this.#draw();
  }

  #draw() {
    this.save.disabled = this.#saving === this.path || !this.#dirty;
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
    const left = this.#end ? `?ttl=${Math.max(1, Math.round((this.#end - Date.now()) / 1000))}` : '';
    const tag = await this.#change({ method: 'PUT', body: words, headers: { 'content-type': 'application/json', ...condition } }, left);
    if (!tag) return;
    this.#tag = tag;
    this.#shown = words;
    this.#draw();
    announce('Saved.');
    await this.#read();
  }

  #askDelete() {
    const { path } = this;
    dialog('Delete this value?', [el('p', {}, `${path} is deleted on all nodes.`)], 'Delete', () => { if (path === this.path) this.#delete(); });
  }

  async #delete() {
    const { path } = this;
    if (!await this.#change({ method: 'DELETE', headers: { 'if-match': this.#tag } })) return;
    if (path === this.path) this.#shown = this.field.value; // no draft is left of it
    this.leave(path);
  }

  // The version that the change made, if it was made and is still on the screen; a conflict and
  // other refusals are shown.
  async #change(request, query = '') {
    const { path } = this;
    this.#saving = path;
    this.#draw();
    try {
      const answer = await fetch(`/v1/data/${toPath(path)}${query}`, request), said = await answer.json();
      if (path !== this.path) {
        if (answer.ok && this.#drafts.get(path)?.words === request.body) this.#drafts.delete(path);
        return null;
      }
      if (answer.status === 412) this.#compare(await this.#fetch(path));
      else if (!answer.ok) text(this.wrong, `Not saved: ${said.detail}`);
      return answer.ok ? answer.headers.get('etag') ?? said.version : null;
    } catch {
      text(this.wrong, 'Not saved: the node does not answer.');
      return null;
    } finally {
      this.#saving = null;
      set(this.save, 'disabled', !this.#dirty);
    }
  }

  // Tells of what somebody else has made of the value that is being changed here.
  #compare(now) {
    if (now.tag === this.#tag) { text(this.about, now.about); return; }
    this.now = now;
    text(this.clash.firstChild, this.now.tag ? 'Somebody else has changed this value after you opened it. This is what is there now:'
      : 'Somebody else has deleted this value after you opened it.');
    text(this.theirs, this.now.words);
    this.theirs.hidden = !this.now.tag;
    this.clash.hidden = false;
  }

  #take() { this.#accept(this.now); this.field.focus(); }

  #insist() {
    this.#tag = this.now.tag;
    this.#end = this.now.end;
    this.clash.hidden = true;
    this.field.focus();
    this.#save();
  }
}

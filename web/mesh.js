// The Mesh section: all known nodes and their links as a picture and as a table, and what this
// node counts. Asks every POLL_MS while it is on the screen.

import { el, set, svg, sync, text } from './dom.js';
import { layout } from './layout.js';

const POLL_MS = 2_000;
const LOOPBACK = /^http:\/\/(127(\.\d{1,3}){3}|localhost)(:\d+)?$/; // pages of nodes on this machine
const WIDTH = 720, HEIGHT = 380, EDGE_X = 90, EDGE_Y = 60; // of the picture, in its own units

export class MeshSection {
  #timer = null;
  #before = null;
  #shape = '';

  constructor(section) {
    this.links = svg('g'); this.nodes = svg('g');
    this.picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'picture', role: 'img' }, this.links, this.nodes);
    this.about = el('p', { class: 'hint' });
    this.facts = el('dl', { class: 'facts' });
    this.body = el('tbody');
    this.wrong = el('p', { class: 'note', role: 'status', hidden: true });
    const head = ['Node', 'Address', 'Users', 'Hops', 'Round trip', 'State', 'Links'];
    section.append(el('div', { class: 'page' }, el('div', {}, el('h1', {}, 'Mesh'), this.about), this.wrong, this.facts,
      el('div', { class: 'card' }, this.picture),
      el('div', { class: 'card scroll-x', tabindex: '0', role: 'group', 'aria-label': 'Nodes' },
        el('table', {}, el('caption', { class: 'unseen' }, 'Known nodes'),
          el('thead', {}, el('tr', {}, ...head.map(name => el('th', { scope: 'col' }, name)))), this.body))));
  }

  show(visible) {
    clearTimeout(this.#timer);
    this.visible = visible;
    if (visible) this.#poll();
  }

  async #poll() {
    try {
      if (!document.hidden) {
        const [mesh, status] = await Promise.all(['/v1/mesh', '/v1/status'].map(ask));
        this.#draw(mesh, status);
      }
      this.wrong.hidden = true;
    } catch {
      text(this.wrong, 'This node does not answer. What is shown is from before.');
      this.wrong.hidden = false;
    }
    clearTimeout(this.#timer);
    if (this.visible) this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  #draw(mesh, status) {
    const nodes = mesh.nodes.filter(node => !node.removed).sort((a, b) => (a.node < b.node ? -1 : 1));
    const own = new Map(mesh.links.map(link => [link.node, link])), lines = edges(nodes);
    this.#drawFacts(status);
    this.#drawPicture(nodes, lines, own);
    sync(this.body, nodes, node => node.node, () => el('tr', {}, el('th', { scope: 'row' }), ...Array.from({ length: 6 }, () => el('td'))),
      (row, node) => this.#drawRow(row, node, own.get(node.node)));
  }

  #drawFacts(status) {
    const now = performance.now(), before = this.#before, counters = status.counters;
    const rate = name => before && counters[name] >= before.counters[name] // not after a restart
      ? (counters[name] - before.counters[name]) / (now - before.now) * 1000 : 0;
    this.#before = { now, counters };
    text(this.about, `As node ${status.node.slice(0, 12)} sees it · up for ${duration(status.uptime_seconds)} · version ${status.version}`);
    const facts = [['Nodes', `${status.nodes_reachable} of ${status.nodes}`],
      ['Links', String(status.links)], ['Values', count(status.data.entries - status.data.tombstones)],
      ['Writes', `${count(rate('writes') + rate('merged'))}/s`],
      ['Messages', `${count(rate('messages_given'))}/s`],
      ['Sent', `${bytes(rate('bytes_sent'))}/s`], ['Received', `${bytes(rate('bytes_received'))}/s`]];
    sync(this.facts, facts, ([name]) => name, ([name]) => el('div', {}, el('dt', {}, name), el('dd')),
      (fact, [, value]) => text(fact.lastChild, value));
  }

  // Positions change only with the shape of the mesh.
  #drawPicture(nodes, lines, own) {
    const ids = nodes.map(node => node.node), shape = JSON.stringify([ids, lines]);
    if (shape !== this.#shape) this.places = layout(ids, lines);
    this.#shape = shape;
    const place = id => {
      const { x, y } = this.places.get(id);
      return { x: EDGE_X + x * (WIDTH - 2 * EDGE_X), y: EDGE_Y + y * (HEIGHT - 2 * EDGE_Y - 20) };
    };
    const self = ids[nodes.findIndex(node => node.self)];
    sync(this.links, lines.map(([i, j]) => [ids[i], ids[j]]), pair => pair.join(),
      () => svg('g', { class: 'link' }, svg('line'), svg('text')), (group, [a, b]) => {
        const [line, label] = group.children, from = place(a), to = place(b);
        for (const [name, value] of Object.entries({ x1: from.x, y1: from.y, x2: to.x, y2: to.y })) set(line, name, value);
        const link = a === self ? own.get(b) : b === self ? own.get(a) : null;
        set(label, 'x', (from.x + to.x) / 2);
        set(label, 'y', (from.y + to.y) / 2 + 4);
        text(label, link && link.round_trip_ms !== null ? `${link.round_trip_ms} ms` : '');
        group.classList.toggle('behind', Boolean(link?.behind));
      });
    sync(this.nodes, nodes, node => node.node, () => svg('g', { class: 'node' }, svg('title'),
      svg('circle', { r: 24 }), svg('text', { class: 'count', dy: '.35em' }), svg('text', { class: 'name', y: 42 })),
    (group, node) => {
      const { x, y } = place(node.node), [title, , users, name] = group.children;
      set(group, 'transform', `translate(${x} ${y})`);
      group.classList.toggle('self', node.self);
      group.classList.toggle('away', node.hops === null);
      text(users, node.users === undefined ? '' : count(node.users));
      text(name, nameOf(node));
      text(title, `${node.node}, ${stateOf(node)}`);
    });
    set(this.picture, 'aria-label', `${nodes.length} nodes and ${lines.length} links; the table below has them all`);
  }

  #drawRow(row, node, link) {
    const [id, address, users, hops, trip, state, links] = row.children;
    const url = node.addresses[0] ?? '', loopback = LOOPBACK.test(url);
    text(id, `${node.node.slice(0, 12)}${node.self ? ' (this one)' : ''}`);
    set(id, 'title', node.node);
    if (address.shown !== url) {
      const away = loopback && !node.self;
      address.replaceChildren(away ? el('a', { href: `${url}/#/mesh`, rel: 'noreferrer' }, nameOf(node)) : nameOf(node));
      address.shown = url;
    }
    text(users, node.users === undefined ? '–' : count(node.users));
    text(hops, node.hops === null ? '–' : String(node.hops));
    text(trip, link && link.round_trip_ms !== null ? `${link.round_trip_ms} ms` : '–');
    text(state, stateOf(node, link));
    text(links, node.links.map(one => one.slice(0, 6)).join(', '));
    set(row, 'data-away', node.hops === null);
  }
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(path);
  return answer.json();
}

// Links as pairs of places, each once.
function edges(nodes) {
  const places = new Map(nodes.map((node, i) => [node.node, i])), pairs = new Map();
  nodes.forEach((node, i) => {
    for (const other of node.links) {
      const j = places.get(other);
      if (j !== undefined) pairs.set(`${Math.min(i, j)} ${Math.max(i, j)}`, [Math.min(i, j), Math.max(i, j)]);
    }
  });
  return [...pairs.values()].sort(([a, b], [c, d]) => a - c || b - d);
}

function stateOf(node, link) {
  if (node.self) return 'this node';
  if (node.hops === null) return 'not reachable';
  return link ? (link.behind ? 'behind' : link.in_sync ? 'in sync' : 'catching up') : 'reachable';
}

const nameOf = node => (node.addresses[0] ?? node.node.slice(0, 12)).replace(/^https?:\/\//, '');
const count = n => new Intl.NumberFormat(undefined, { maximumFractionDigits: n < 10 ? 1 : 0 }).format(n);
const bytes = n => n < 1e3 ? `${count(Math.round(n))} B` : n < 1e6 ? `${count(n / 1e3)} kB` : `${count(n / 1e6)} MB`;
const duration = s => s < 120 ? `${s} s` : s < 7200 ? `${Math.floor(s / 60)} min` : s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} days`;

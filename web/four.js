// Four clients side by side, each on another node where there are so many: for trying and
// testing. Nodes: `?nodes=http://127.0.0.1:3655,http://…`, or those of the mesh on this machine.

import { el } from './dom.js';

const NAMES = ['anna', 'billy', 'carla', 'david'];
const LOOPBACK = /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?$/; // what this page may show, see its policy

async function nodes() {
  const asked = new URLSearchParams(location.search).get('nodes');
  const mesh = asked ? null : await (await fetch('/v1/mesh')).json();
  const urls = asked ? asked.split(',') : mesh.nodes.filter(node => node.hops !== null)
    .sort((a, b) => a.hops - b.hops).flatMap(node => node.addresses.slice(0, 1));
  const usable = urls.filter(url => LOOPBACK.test(url));
  return usable.length ? usable : [location.origin];
}

const urls = await nodes();
document.body.replaceChildren(...NAMES.map((name, pane) => {
  const url = urls[pane % urls.length];
  return el('figure', {}, el('figcaption', {}, `${name} on ${url.replace('http://', '')}`),
    el('iframe', { src: `${url}/?as=${name}&pane=${pane}#/chat/all`, title: `${name} on ${url}` }));
}));

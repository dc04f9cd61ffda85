// Who this window is: the name of its person, and the client id that names its messages.
//
// Promise: no two windows that are open have the same client id, also where a browser copies a
// window with all its storage; a window that is reloaded has its own again, and goes on counting.

const query = new URLSearchParams(location.search);
// Frames of one page share their storage: each has a name of its own for what it keeps.
const pane = query.get('pane') ?? '';

function area(storage, prefix) {
  return {
    get(key, otherwise = null) {
      try { return JSON.parse(storage().getItem(prefix + key)) ?? otherwise; } catch { return otherwise; }
    },
    set(key, value) {
      try { storage().setItem(prefix + key, JSON.stringify(value)); } catch { /* full or forbidden */ }
    },
    drop(key) { try { storage().removeItem(prefix + key); } catch { /* forbidden */ } },
  };
}

// What this window keeps while it is open, also over a reload.
export const tab = area(() => sessionStorage, `folkmoot:${pane}:`);
// What all windows of this browser share.
export const shared = area(() => localStorage, 'folkmoot:');

export function savedName() {
  return query.get('as') ?? tab.get('name') ?? shared.get('name');
}

export function keepName(name) {
  tab.set('name', name);
  if (!query.has('as')) shared.set('name', name);
}

// What is wrong with a name, in words; nothing if it is sound.
export function nameProblem(name) {
  if (name.trim() !== name || name === '') return 'A name has text in it, and no space at either end.';
  if (new TextEncoder().encode(name).length > 128) return 'That is too long: at most 128 bytes.';
  if (/\p{Cc}|\p{Cs}/u.test(name)) return 'There is a control character, or half of one, in it.';
  return null;
}

const LOCK = 'folkmoot-client-';

function random(bytes) {
  const all = crypto.getRandomValues(new Uint8Array(bytes));
  return [...all].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

// Holds the id's lock until the window goes. Where there are no locks, nobody can tell whether
// another window has the id, so it is not taken up again.
function claim(id) {
  if (!navigator.locks) return Promise.resolve(false); // only over https and on this machine
  return new Promise(resolve => {
    const signal = AbortSignal.timeout(1_500); // a reload waits for its own past
    navigator.locks.request(LOCK + id, { signal }, () => {
      resolve(true);
      return new Promise(() => {});
    }).catch(() => resolve(false));
  });
}

// The client id of this window as `user`. A new one starts with nothing kept.
export async function clientOf(user) {
  const kept = tab.get('client');
  if (kept?.user === user && await claim(kept.id)) return kept.id;
  const id = random(8);
  for (const key of ['session', 'outbox', 'n', 'status']) tab.drop(key);
  tab.set('client', { user, id });
  claim(id);
  return id;
}

// The clients of all windows of this browser that are open, as far as they can be told.
export async function openClients() {
  const { held = [] } = await navigator.locks?.query() ?? {};
  return new Set(held.map(lock => lock.name.replace(LOCK, '')));
}

// The history of chats, kept by the browser (IndexedDB): nodes keep none.
//
// Promise: what `add` has resolved for is there after a reload; a message is there once, by its
// client and number. Where a browser keeps nothing (some private windows), all of this does
// nothing and chats last as long as their window.
// Limits: MESSAGES_MAX a user, and TRIM_EVERY of each window, the oldest go first.

export const MESSAGES_MAX = 2_000;
const TRIM_EVERY = 200; // messages that came
let opened = null, added = 0, trouble = null;

// Calls `handler()` once, when something could not be kept.
export function onTrouble(handler) { trouble = handler; }

function open() {
  opened ??= new Promise(resolve => {
    let asked;
    try { asked = indexedDB.open('folkmoot', 1); } catch { resolve(null); return; }
    asked.onupgradeneeded = () => {
      const messages = asked.result.createObjectStore('messages', { keyPath: ['user', 'client', 'm'] });
      messages.createIndex('got', ['user', 'got']);
    };
    asked.onsuccess = () => {
      asked.result.onclose = () => { opened = null; };
      resolve(asked.result);
    };
    asked.onerror = asked.onblocked = () => resolve(null);
  });
  return opened;
}

// Runs `work(messages)` in one transaction; resolves when it is kept, or could not be.
async function within(mode, work) {
  try {
    const database = await open();
    if (!database) return;
    await new Promise((resolve, failed) => {
      const transaction = database.transaction('messages', mode);
      transaction.oncomplete = resolve;
      transaction.onabort = () => failed(transaction.error);
      work(transaction.objectStore('messages'));
    });
  } catch {
    opened = null; // perhaps it can be opened anew
    trouble?.();
    trouble = null;
  }
}

const ofUser = user => IDBKeyRange.bound([user], [user, []]);

// The messages of a user, the oldest first.
export async function load(user) {
  let found = [];
  await within('readwrite', messages => {
    const asked = messages.index('got').getAll(ofUser(user));
    asked.onsuccess = () => { found = asked.result.slice(-MESSAGES_MAX); };
    trim(messages, user);
  });
  return found;
}

function trim(messages, user) {
  const asked = messages.index('got').getAllKeys(ofUser(user));
  asked.onsuccess = () => { for (const old of asked.result.slice(0, -MESSAGES_MAX)) messages.delete(old); };
}

const keyOf = message => [message.user, message.client, message.m];

// Keeps a message that came, unless another window has kept it already, and knows more of it.
export function add(message) {
  return within('readwrite', messages => {
    messages.add(message).onerror = event => { event.preventDefault(); event.stopPropagation(); };
    if (++added % TRIM_EVERY === 0) trim(messages, message.user);
  });
}

// Keeps a message as it is now.
export function put(message) {
  return within('readwrite', messages => messages.put(message));
}

export function remove(message) {
  return within('readwrite', messages => messages.delete(keyOf(message)));
}

export function forget(user) {
  return within('readwrite', messages => messages.delete(ofUser(user)));
}

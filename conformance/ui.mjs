#!/usr/bin/env node
// The pages in two windows of a real browser, each on another node.
// usage: ui.mjs URL URL [--restart=COMMAND] [--screenshots=DIR]
//   --restart      a shell command that ends the first node, hard, and starts it at the same URL
//   --screenshots  keeps pictures there
// Needs Chromium ($CHROMIUM, or /usr/bin/chromium) and `npm ci` in this folder.
import { spawn } from 'node:child_process';
import { chromium } from 'playwright-core';

const args = process.argv.slice(2), urls = args.filter(arg => !arg.startsWith('--'));
const option = name => args.find(arg => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
if (urls.length !== 2) { console.error('usage: ui.mjs URL URL [--restart=COMMAND] [--screenshots=DIR]'); process.exit(2); }
const [first, second] = urls.map(url => url.replace(/\/$/, '')), key = `ui-${Math.random().toString(36).slice(2, 8)}`;

let bad = 0;
async function check(name, test) {
  try {
    const said = await test();
    if (said === false) throw new Error('it is not so');
    console.log(`PASS ${name}`);
  } catch (error) {
    bad++;
    console.log(`FAIL ${name}  -- ${String(error.message).split('\n').slice(0, 4).join(' | ').slice(0, 500)}`);
  }
}
const same = (got, expected) => {
  const [a, b] = [got, expected].map(one => JSON.stringify(one));
  if (a !== b) throw new Error(`${a?.slice(0, 400)} is not ${b.slice(0, 400)}`);
};
// Waits until `get` answers what is expected.
async function becomes(get, expected, ms = 20_000) {
  for (const end = Date.now() + ms; ; await new Promise(done => setTimeout(done, 50))) {
    const got = await get();
    if (JSON.stringify(got) === JSON.stringify(expected)) return;
    if (Date.now() > end) return same(got, expected);
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const faults = [], strangers = new Set();

async function window(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 720 }, locale: 'en-GB', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  watchOver(page);
  return page;
}
function watchOver(page) {
  page.on('pageerror', error => faults.push(error.message));
  page.on('dialog', dialog => { faults.push(`a script ran: ${dialog.message()}`); dialog.dismiss(); });
  page.on('console', message => { if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text()); });
  for (const event of ['request', 'websocket']) page.on(event, one => {
    if (![first, second].some(url => one.url().replace(/^ws/, 'http').startsWith(`${url}/`))) strangers.add(one.url());
  });
}

const online = page => page.waitForSelector('#state[data-state=online]');
const say = async (page, words) => { await page.fill('.composer textarea', words); await page.keyboard.press('Enter'); };
const open = (page, name) => page.locator('.rows .name:visible', { hasText: name }).first().click();
const bubbles = page => page.locator('.bubble').allTextContents();
const states = page => page.locator('.log .mine').evaluateAll(all => [...new Set(all.map(one => one.dataset.state))]);
const picture = async (page, name) => { if (option('screenshots')) await page.screenshot({ path: `${option('screenshots')}/${name}.png` }); };

// A window whose connection can be cut, and where things can be said in the node's name.
async function cuttable(user) {
  const page = await window(), said = [];
  let down = false, held = false, live = null, server = null;
  await page.routeWebSocket(/\/v1\/ws/, ws => {
    if (down) { ws.close(); return; }
    live = ws;
    server = ws.connectToServer();
    ws.onMessage(text => {
      said.push(JSON.parse(text));
      if (!held) server.send(text);
    });
  });
  await page.goto(`${first}/?as=${user}#/chat`);
  await online(page);
  return { page, ws: { said, tell: frame => live.send(JSON.stringify(frame)), hold: yes => { held = yes; },
    cut: yes => { down = yes; if (yes) { server.close(); live.close(); } } } };
}

const a = await window(), b = await window({ colorScheme: 'dark' });
const anna = 'anna', billy = 'billy';

await check('a name is asked for at first, and an unusable one is refused in words', async () => {
  await a.goto(first);
  await a.waitForSelector('#name');
  for (let i = 0; i < 3; i++) await a.keyboard.press('Escape');
  await a.fill('#name', '  ');
  await a.keyboard.press('Enter');
  await a.waitForSelector('.wrong:has-text("A name has text in it")');
  await a.fill('#name', ` ${anna} `);
  await a.keyboard.press('Enter');
  await online(a);
  await b.goto(second);
  await b.fill('#name', billy);
  await b.keyboard.press('Enter');
  await online(b);
});
await check('each sees the other come online, on another node', async () => {
  await a.waitForSelector('[aria-label=Online] .name:text-is("billy")');
  await b.waitForSelector('[aria-label=Online] .name:text-is("anna")');
});
await check('messages go both ways', async () => {
  await open(a, billy);
  await say(a, 'Hello Billy, how is it over there?');
  await open(b, anna);
  await b.waitForSelector('.bubble:text-is("Hello Billy, how is it over there?")');
  await say(b, 'Fine, thank you. And at yours?');
  await a.waitForSelector('.bubble:text-is("Fine, thank you. And at yours?")');
});
await check('the sender learns that it was delivered and read', async () => {
  await b.bringToFront();
  await becomes(() => states(a), ['read']);
  await a.bringToFront();
  await becomes(() => states(b), ['read']);
});
await check('a text that looks like HTML is shown as it is', async () => {
  const nasty = '<img src=x onerror="alert(1)"> <b>&amp;</b>';
  await say(a, nasty);
  await becomes(async () => (await bubbles(b)).at(-1), nasty);
  same(await b.locator('.bubble > *').count(), 0);
});
await check('half of a surrogate pair goes out as a sign that stands for it', async () => {
  await a.locator('.composer textarea').evaluate(field => { field.value = `half ${String.fromCharCode(0xd83d)}`; });
  await a.locator('.composer textarea').press('Enter');
  await becomes(async () => (await bubbles(b)).at(-1), 'half \ufffd');
});
await check('typing is seen, and ends', async () => {
  await b.locator('.composer textarea').pressSequentially('hm');
  await a.waitForSelector('.typing:text-is("billy is writing …")');
  await b.fill('.composer textarea', '');
  await becomes(() => a.textContent('.typing'), '');
});
await check('a status is seen by others', async () => {
  await b.click('#me');
  await b.fill('#status', 'away');
  await b.keyboard.press('Enter');
  await a.waitForSelector('.talk header p:text-is("Online · away")');
});
await check('a message to everyone arrives', async () => {
  await open(a, 'Everyone');
  await say(a, `To all of you, ${key}`);
  await b.waitForSelector(`.line:has-text("To all of you, ${key}")`);
  await b.waitForSelector('#unread:text-is("1")');
});
await check('a room has members, and its messages arrive', async () => {
  for (const page of [a, b]) {
    await page.click('[aria-label="Join a room"]');
    await page.fill('#room', key);
    await page.keyboard.press('Enter');
  }
  await a.waitForSelector('.talk header p:text-is("Room · 2 members")');
  await say(a, 'Is this the right room?');
  await b.waitForSelector('.bubble:text-is("Is this the right room?")');
  await say(b, 'It is.');
  await a.waitForSelector('.bubble:text-is("It is.")');
});
await check('a message to nobody says so, and can be sent again', async () => {
  await a.fill('[aria-label="Search people and rooms"]', `nobody-${key}`);
  await a.keyboard.press('Enter');
  await a.waitForSelector(`.talk h1:text-is("nobody-${key}")`);
  await say(a, 'Is anybody there?');
  await a.waitForSelector('[data-state=unknown] button:text-is("Send again")');
});
await check('a search opens nobody whose name is only similar', async () => {
  for (const asked of ['eve', 'ann', 'billy']) {
    await a.fill('[aria-label="Search people and rooms"]', asked);
    await a.keyboard.press('Enter');
    await a.waitForSelector(`.talk h1:text-is("${asked}")`);
  }
  await a.fill('[aria-label="Search people and rooms"]', '');
});
await check('a list keeps the focus and the selection when its first element goes', async () => {
  same(await a.evaluate(async () => {
    const { el, sync } = await import('/ui/dom.js'), list = el('ul');
    const draw = names => sync(list, names, name => name, name => el('li', {}, el('button', {}, name)));
    document.body.append(list);
    draw(['one', 'two', 'three']);
    list.lastChild.firstChild.focus();
    getSelection().selectAllChildren(list.children[1]);
    const moved = new MutationObserver(() => {});
    moved.observe(list, { childList: true });
    draw(['two', 'three', 'four']);
    const said = [document.activeElement.textContent, getSelection().toString().trim(), moved.takeRecords().length];
    list.remove();
    return said;
  }), ['three', 'two', 2]);
});
await check('what came while a window was closed lands below its history', async () => {
  const late = await window();
  await late.goto(`${first}/?as=late#/chat/u%2Fanna`);
  await online(late);
  await open(a, 'late');
  await say(a, 'before');
  await late.waitForSelector('.bubble:text-is("before")');
  await late.goto('about:blank');
  await say(a, 'after');
  await late.addInitScript(() => { // a history that takes its time
    const { open } = IDBFactory.prototype;
    IDBFactory.prototype.open = function (...what) {
      const asked = open.apply(this, what), slow = { get result() { return asked.result; } };
      asked.onupgradeneeded = event => slow.onupgradeneeded?.(event);
      asked.onsuccess = event => setTimeout(() => slow.onsuccess(event), 500);
      return slow;
    };
  });
  await late.goto(`${first}/?as=late#/chat/u%2Fanna`);
  await late.waitForSelector('.bubble:text-is("after")');
  await late.waitForSelector('.bubble:text-is("before")');
  same(await bubbles(late), ['before', 'after']);
  await late.context().close();
});
await check('history stays over a reload, once', async () => {
  await open(a, billy);
  const before = await bubbles(a), marks = await states(a);
  same(marks.includes('read'), true);
  await a.reload();
  await online(a);
  await becomes(() => bubbles(a), before);
  same(await states(a), marks);
});
await check('what was looked at in one window is so in the other', async () => {
  const other = await a.context().newPage();
  watchOver(other);
  await other.goto(`${first}/#/chat`);
  await online(other);
  await a.goto(`${first}/#/chat`);
  await open(b, anna);
  await say(b, `${key} to two windows`);
  for (const page of [a, other]) await page.waitForSelector('[aria-label=Conversations] .badge:visible');
  await a.bringToFront();
  for (const name of [billy, 'Everyone']) {
    await open(a, name);
    await a.waitForSelector(`.talk h1:text-is("${name}")`);
  }
  for (const page of [a, other]) await becomes(() => page.isHidden('#unread'), true);
  await other.close();
  await a.bringToFront();
});
await check('what was done without a connection is said when it goes on', async () => {
  const { page: cut, ws } = await cuttable('cut');
  await cut.click('#me');
  await cut.fill('#status', 'away');
  await cut.keyboard.press('Enter');
  await cut.click('[aria-label="Join a room"]');
  await cut.fill('#room', `${key} alone`);
  await cut.keyboard.press('Enter');
  await cut.waitForSelector('.talk header p:text-is("Room · 1 member")');
  await say(cut, 'Anybody?');
  await cut.waitForSelector('.mark:text-is("nobody was there")');
  await open(a, 'cut');
  await a.waitForSelector('.talk header p:text-is("Online · away")');
  ws.cut(true);
  await cut.waitForSelector('#state[data-state=waiting]');
  await cut.click('text=Leave');
  await cut.click('#me');
  await cut.fill('#status', '');
  await cut.keyboard.press('Enter');
  await open(cut, 'alone');
  await cut.waitForSelector('.talk header button:text-is("Join")');
  await open(cut, anna);
  await say(cut, 'later');
  await cut.waitForSelector('.mark:text-is("will be sent")');
  ws.cut(false);
  await cut.click('#state');
  await online(cut);
  await a.waitForSelector('.talk header p:text-is("Online")');
  await becomes(() => ws.said.filter(one => one.op === 'leave').length, 1);
  same(ws.said.filter(one => one.op === 'hello').at(-1).session !== undefined, true);

  // A node may be told any time, and may take back a message.
  ws.tell({ op: 'message', n: 0, from: 'mallory', client: 'f'.repeat(16), m: 1, to: 'cut', at: 1e300, body: { text: 'from the end of time' } });
  await open(cut, 'mallory');
  await cut.waitForSelector('.bubble:text-is("from the end of time")');
  ws.hold(true);
  await say(cut, 'not taken');
  await becomes(() => ws.said.some(one => one.body?.text === 'not taken'), true);
  ws.tell({ op: 'error', n: ws.said.find(one => one.body?.text === 'not taken').n, error: 'unsettled', code: 213, detail: 'too many messages' });
  await cut.waitForSelector('.mark:text-is("refused: too many messages")');
  await cut.context().close();
});
await check('on a narrow screen the account and the way home have names', async () => {
  await a.setViewportSize({ width: 600, height: 720 });
  same([await a.getByRole('button', { name: anna }).first().getAttribute('id'), await a.getByRole('link', { name: 'Folkmoot' }).count()], ['me', 1]);
  await a.setViewportSize({ width: 1180, height: 720 });
});

await check('a window whose timers come once a minute stays connected', async () => {
  const slow = await window();
  await slow.clock.install();
  const pongs = [];
  slow.on('websocket', ws => ws.on('framereceived', ({ payload }) => { if (payload.includes('"pong"')) pongs.push(payload); }));
  await slow.goto(`${first}/?as=slow#/chat`);
  await online(slow);
  await slow.evaluate(() => {
    window.seen = [];
    const state = document.getElementById('state');
    new MutationObserver(() => window.seen.push(state.dataset.state)).observe(state, { attributeFilter: ['data-state'] });
  });
  for (const minute of [1, 2, 3]) {
    await slow.clock.fastForward(60_000);
    await becomes(() => pongs.length >= minute, true);
  }
  same(await slow.evaluate(() => window.seen.filter(state => state !== 'online')), []);
  await slow.context().close();
});

await check('a history that cannot be kept is told of, and holds nothing up', async () => {
  const full = await window(), received = [];
  full.on('websocket', ws => ws.on('framesent', ({ payload }) => { if (payload.includes('"received"')) received.push(payload); }));
  await full.goto(`${first}/?as=full#/chat/u%2Fanna`);
  await online(full);
  await full.evaluate(() => {
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = () => {
      IDBDatabase.prototype.transaction = transaction;
      throw new DOMException('The database connection is closing.', 'InvalidStateError');
    };
  });
  await open(a, 'full');
  await say(a, 'not kept');
  await full.waitForSelector('.toast:has-text("does not keep the messages")');
  await say(a, 'kept');
  await becomes(() => received.length > 0, true);
  await full.reload();
  await full.waitForSelector('.bubble:text-is("kept")');
  await full.context().close();
});
await check('a room that the node refuses is left, in words', async () => {
  const rooms = await window();
  await rooms.addInitScript(all => { localStorage['folkmoot:rooms:rooms'] ??= all; }, JSON.stringify(Array.from({ length: 65 }, (_, i) => `${i}-${key}`)));
  await rooms.goto(`${first}/?as=rooms#/chat`);
  await rooms.waitForSelector(`.toast:has-text("You are not in 64-${key}: ")`);
  same(await rooms.evaluate(() => JSON.parse(localStorage['folkmoot:rooms:rooms']).length), 64);
  await rooms.context().close();
});

const MANY = 30;
if (option('restart')) {
  await check('a restart of a node loses no message and repeats none, in both directions', async () => {
    await open(a, billy);
    await open(b, anna);
    const restarted = new Promise((done, failed) => {
      const shell = spawn('sh', ['-c', option('restart')], { stdio: ['ignore', 'ignore', 'inherit'] });
      shell.on('exit', code => (code ? failed(new Error(`the restart ended with ${code}`)) : done()));
    });
    for (let n = 1; n <= MANY; n++) {
      await say(a, `${key} a${n}`);
      await say(b, `${key} b${n}`);
      await a.waitForTimeout(100);
    }
    await restarted;
    await online(a);
    // Who was not there for too long is told to have been offline: then a person sends it again.
    for (const page of [a, b]) await becomes(async () => {
      const again = page.locator('.log button:visible', { hasText: 'Send again' });
      if (await again.count()) await again.first().click();
      return (await states(page)).filter(state => !['delivered', 'read'].includes(state));
    }, [], 40_000);
    const numbers = Array.from({ length: MANY }, (_, i) => i + 1);
    const from = who => numbers.map(n => `${key} ${who}${n}`);
    for (const [page, who] of [[b, 'a'], [a, 'b'], [a, 'a'], [b, 'b']]) {
      const got = (await bubbles(page)).filter(text => text.startsWith(`${key} ${who}`));
      same([...got].sort(), from(who).sort());
    }
  });
  await check('after it, presence, rooms and status are as before', async () => {
    await a.waitForSelector('[aria-label=Online] .name:text-is("billy")');
    await b.waitForSelector('[aria-label=Online] .name:text-is("anna")');
    await open(b, key);
    await b.waitForSelector('.talk header p:text-is("Room · 2 members")');
  });
}

await check('who reads further up is told of what is new', async () => {
  await open(a, billy);
  await open(b, anna);
  for (let n = 0; n < 30; n++) await say(a, `${n}`);
  await a.locator('.talk > .scroll').evaluate(log => { log.scrollTop = 0; });
  await say(b, `${key} below`);
  await a.click('.newer');
  await a.waitForSelector('.newer', { state: 'hidden' });
  await a.locator('.bubble', { hasText: `${key} below` }).isVisible();
});

await check('a value that is written in one window is seen in the other', async () => {
  for (const page of [a, b]) await page.click('nav >> text=Data');
  await a.click('[aria-label="New value"]');
  await a.fill('#path', `${key}/garden/shed`);
  await a.keyboard.press('Enter');
  await a.waitForSelector('text=There is no value at this path yet');
  await a.fill('.value textarea', '{"key":"under the pot","door":12345678901234567890}');
  await a.keyboard.press('Control+Enter');
  await a.waitForSelector('.value header p:has-text("Written")');
  await open(b, key);
  await open(b, 'garden');
  await open(b, 'shed');
  await becomes(() => b.inputValue('.value textarea'), '{\n  "key": "under the pot",\n  "door": 12345678901234567890\n}');
});
await check('a change appears where the value is open', async () => {
  await a.fill('.value textarea', '{"key": "with Billy"}');
  await a.click('.value >> text=Save');
  await becomes(() => b.inputValue('.value textarea'), '{\n  "key": "with Billy"\n}');
  await b.waitForSelector('.line:text-is(\'{"key":"with Billy"}\')');
});
await check('what somebody else changed is not overwritten unseen', async () => {
  await b.fill('.value textarea', '{"key": "lost"}');
  await a.fill('.value textarea', '{"key": "found"}');
  await a.click('.value >> text=Save');
  await b.waitForSelector('.clash pre:has-text("found")');
  await picture(b, 'data-dark');
  await b.click('text=Keep mine');
  await becomes(() => a.inputValue('.value textarea'), '{\n  "key": "lost"\n}');
});
const write = (path, value, query = '') => fetch(`${first}/v1/data/${path}${query}`,
  { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
await check('what was not saved is there again when its value is', async () => {
  await write(`${key}/garden/gate`, 'shut');
  await a.fill('.value textarea', '{"key": "half a thought');
  await open(a, 'gate');
  await becomes(() => a.inputValue('.value textarea'), '"shut"');
  await open(a, 'shed');
  same(await a.inputValue('.value textarea'), '{"key": "half a thought');
  await a.waitForSelector('.value header p:has-text("Written")');
  same(await a.isVisible('.clash'), false);
});
await check('what is typed while a value is saved stays, and is no clash with oneself', async () => {
  const url = `**/v1/data/${key}/garden/shed*`;
  let put = null;
  await a.route(url, route => (route.request().method() === 'PUT' ? put = route : route.continue()));
  await a.fill('.value textarea', '{"key": "lost"}');
  await a.click('.value >> text=Save');
  await becomes(() => put !== null, true);
  await a.fill('.value textarea', '{"key": "lost again"}');
  await put.continue();
  await a.waitForSelector('.value button.main:enabled');
  await becomes(() => a.textContent('.unseen#say'), 'Saved.');
  same(await a.inputValue('.value textarea'), '{"key": "lost again"}');
  await a.unroute(url);
  await a.click('.value >> text=Save');
  await becomes(() => b.inputValue('.value textarea'), '{\n  "key": "lost again"\n}');
  same(await a.isVisible('.clash'), false);
});
await check('a value that ends by itself still does when it was changed', async () => {
  const path = `${key}/garden/key`, ends = async () => Number((await fetch(`${first}/v1/data/${path}`)).headers.get('folkmoot-expires'));
  await write(path, 'lent', '?ttl=600');
  const before = await ends();
  await a.goto(`${first}/#/value/${encodeURIComponent(path)}`);
  await becomes(() => a.inputValue('.value textarea'), '"lent"');
  await a.fill('.value textarea', '"back"');
  await a.click('.value >> text=Save');
  await becomes(async () => (await fetch(`${second}/v1/data/${path}`)).json(), 'back');
  same(Math.abs(await ends() - before) < 5_000, true);
});
await check('a path with a slash at its end is one without', async () => {
  await a.fill('#data [type=search]', `${key}/garden/`);
  await a.keyboard.press('Enter');
  await a.waitForSelector('#data .rows .name:text-is("gate")');
  await a.goto(`${first}/#/data/${encodeURIComponent('two//slashes')}`);
  await a.waitForSelector('#data .hint:has-text("does not answer as it should")');
  await a.goto(`${first}/#/value/${encodeURIComponent(`${key}/garden/shed`)}`);
  await a.waitForSelector('.value header p:has-text("Written")');
});
await check('a value is deleted for both', async () => {
  await a.click('.value >> text=Delete');
  await a.click('dialog button.main');
  await becomes(() => b.inputValue('.value textarea'), '');
  same((await fetch(`${second}/v1/data/${key}/garden/shed`)).status, 404);
});
await check('the mesh shows nodes, links and a table', async () => {
  await a.click('nav >> text=Mesh');
  await a.waitForSelector('.picture .node.self');
  await becomes(async () => (await a.locator('.picture .node').count()) >= 2 && (await a.locator('.picture .link').count()) >= 1, true);
  same(await a.locator('tbody tr').count(), await a.locator('.picture .node').count());
});

await check('lists are used with arrows, Enter and Escape', async () => {
  await a.click('nav >> text=Chat');
  await a.focus('[aria-label="Search people and rooms"]');
  await a.keyboard.press('ArrowDown');
  same(await a.evaluate(() => document.activeElement.querySelector('.name').textContent), 'Everyone');
  await a.keyboard.press('End');
  await a.keyboard.press('Home');
  await a.keyboard.press('Enter');
  await a.waitForSelector('.talk h1:text-is("Everyone")');
  same(await a.evaluate(() => document.activeElement.ariaLabel), 'Message');
  await a.keyboard.press('Escape');
  same(await a.evaluate(() => document.activeElement.type), 'search');
});
await check('everything that can be used has a name', async () => {
  for (const hash of ['#/chat/all', `#/chat/r%2F${key}`, '#/data', `#/value/${key}`, '#/mesh']) {
    await a.goto(`${first}/${hash}`);
    await a.waitForTimeout(150);
    same(await a.evaluate(() => [...document.querySelectorAll('a, button, input, textarea, section, [role]')]
      .filter(one => one.offsetParent && !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map(one => one.outerHTML)), []);
  }
});
await check('nothing sticks out at 320 pixels', async () => {
  const narrow = await window({ viewport: { width: 320, height: 560 } });
  for (const hash of ['#/chat', '#/chat/all', `#/chat/r%2F${key}`, '#/data', `#/value/${key}`, '#/mesh']) {
    await narrow.goto(`${first}/?as=${'y'.repeat(90)}${hash}`);
    await online(narrow);
    same([hash, await narrow.evaluate(() => document.documentElement.scrollWidth)], [hash, 320]);
  }
  await narrow.context().close();
});
await check('a copy of a window is a client of its own', async () => {
  const copy = await a.context().newPage();
  watchOver(copy);
  const kept = await a.evaluate(() => ({ ...sessionStorage }));
  await copy.addInitScript(all => { for (const name in all) sessionStorage[name] ??= all[name]; }, kept);
  await copy.goto(`${first}/#/chat/u%2Fbilly`);
  await online(copy);
  const client = page => page.evaluate(() => JSON.parse(sessionStorage['folkmoot::client']).id);
  same(await client(copy) !== await client(a), true);
  await b.goto(`${second}/#/chat/u%2Fanna`);
  await say(b, `${key} to both`);
  await copy.waitForSelector(`.bubble:text-is("${key} to both")`);
  await a.goto(`${first}/#/chat/u%2Fbilly`);
  await becomes(async () => (await bubbles(a)).filter(text => text === `${key} to both`).length, 1);
  await copy.close();
});
await check('four clients are shown side by side', async () => {
  const four = await a.context().newPage();
  watchOver(four);
  await four.setViewportSize({ width: 1500, height: 940 });
  await four.goto(`${first}/ui/four.html?nodes=${first},${second}`);
  for (let pane = 0; pane < 4; pane++) await four.frameLocator('iframe').nth(pane).locator('#state[data-state=online]').waitFor();
  await four.frameLocator('iframe').nth(0).locator('.composer textarea').fill(`${key} from the first`);
  await four.keyboard.press('Enter');
  for (let pane = 1; pane < 4; pane++) await four.frameLocator('iframe').nth(pane).locator('.bubble', { hasText: `${key} from the first` }).waitFor();
  await picture(four, 'four');
  await four.close();
});

if (option('screenshots')) {
  for (const [path, value] of Object.entries({ 'users/1': { name: 'Alice', town: 'Thingvellir' }, 'users/2': { name: 'Bob' }, 'sensors/roof': 21.5 })) {
    await fetch(`${first}/v1/data/${path}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
  }
  await a.waitForTimeout(12_000); // until the windows that were closed above are gone for good
  for (const page of [a, b]) {
    await page.goto(`${page === a ? first : second}/#/chat/r%2F${key}`);
    await page.click('text=Leave');
    await page.evaluate(() => { for (const name in localStorage) if (name.endsWith(':seen')) localStorage.removeItem(name); });
    await page.reload();
    await online(page);
    await page.click('#me');
    await page.click('text=Forget history');
    await page.click('dialog button.main');
    await page.locator('dialog').first().waitFor({ state: 'detached' });
  }
  const narrow = await window({ viewport: { width: 360, height: 640 }, colorScheme: 'dark', isMobile: true, hasTouch: true });
  await narrow.goto(`${second}/?as=carla#/chat/u%2Fanna`);
  await online(narrow);
  await a.goto(`${first}/#/chat/u%2Fbilly`);
  await b.goto(`${second}/#/chat/u%2Fanna`);
  for (const [page, words] of [[a, 'The apples are ripe. Shall we pick them on Saturday?'], [b, 'Yes! I bring the ladder.'], [b, 'Carla has the baskets.'], [a, 'Then at ten, by the old oak.']]) {
    await page.bringToFront();
    await say(page, words);
    await page.waitForTimeout(300);
  }
  await narrow.bringToFront();
  await say(narrow, 'I heard you need baskets?');
  await a.goto(`${first}/#/chat/u%2Fcarla`);
  await say(a, 'Two would be fine.');
  await narrow.waitForSelector('.bubble:text-is("Two would be fine.")');
  await narrow.waitForTimeout(300);
  await picture(narrow, 'chat-narrow');
  await a.goto(`${first}/#/chat/u%2Fbilly`);
  await a.bringToFront();
  await b.bringToFront();
  await b.locator('.composer textarea').pressSequentially('See');
  await a.waitForSelector('.typing:text-is("billy is writing …")');
  await picture(a, 'chat-light');
  await a.waitForTimeout(100);
  await picture(b, 'chat-dark');
  await a.goto(`${first}/#/value/users%2F1`);
  await a.waitForSelector('.value header p:has-text("Written")');
  await picture(a, 'data-light');
  await a.goto(`${first}/#/mesh`);
  await a.waitForTimeout(2_500);
  await picture(a, 'mesh-light');
  await narrow.context().close();
}

await check('a window that is closed is seen to go', async () => {
  await b.context().close();
  await a.goto(`${first}/#/chat/u%2Fbilly`);
  await a.waitForSelector('.talk header p:has-text("Last seen")', { timeout: 40_000 });
});
await check('nothing was asked of anybody else', () => same([...strangers], []));
await check('no script failed, and none ran that should not', () => same(faults, []));

await browser.close();
console.log(bad ? `${bad} checks failed` : 'all checks passed');
process.exit(bad ? 1 : 0);

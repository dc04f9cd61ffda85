// Changes of data below a prefix, as they happen: over the chat's socket, or, before anybody has
// said a name, as server-sent events.
//
// Promise: `told.ready()` when changes begin to be told, `told.change(frame)` for each put and
// delete, `told.refused(words)` if the node will not tell any, `told.ready()` again after a break over which something may have been missed: then what
// is there is to be read anew.

let numbers = 0;

export function watch(socket, prefix, told) {
  return socket.user === undefined ? overEvents(prefix, told) : overSocket(socket, prefix, told);
}

function overSocket(socket, prefix, told) {
  let number = null, token = 'now';
  const ask = since => {
    if (number !== null) socket.say({ op: 'unwatch', watch: number });
    number = ++numbers;
    socket.ask({ op: 'watch', watch: number, ...(prefix && { prefix }), since })
      .then(({ op, code, detail }) => {
        if (op === 'done' && since === 'now') told.ready();
        if (op === 'error' && code) told.refused(detail);
      });
  };
  const hear = (op, handler) =>
    socket.on(op, frame => { if (frame.watch === number) handler(frame); });
  const change = frame => { token = frame.token ?? token; told.change(frame); };
  const ends = [
    hear('put', change), hear('delete', change),
    hear('ready', frame => { token = frame.token ?? token; }),
    hear('reset', () => { token = 'now'; ask(token); }),
    socket.wish(() => ask(token)),
  ];
  return () => {
    for (const end of ends) end();
    socket.say({ op: 'unwatch', watch: number });
  };
}

function overEvents(prefix, told) {
  const query = new URLSearchParams({ since: 'now', ...(prefix && { prefix }) });
  const events = new EventSource(`/v1/watch?${query}`);
  const change = ({ type, data }) => told.change({ op: type, ...JSON.parse(data) });
  events.addEventListener('put', change);
  events.addEventListener('delete', change);
  events.onerror = () => { if (events.readyState === EventSource.CLOSED) told.refused('the node refuses.'); };
  events.onopen = () => told.ready();
  return () => events.close();
}

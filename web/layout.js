// Where the nodes of a mesh are drawn: a pure function, so that the same mesh always has the same
// picture. Linked nodes pull at each other, all push each other away, beginning on a circle.
// Limits: above SPRINGS_MAX nodes they stay on the circle.

const SPRINGS_MAX = 80, ROUNDS = 300;

// `ids` in order, `links` as pairs of places in `ids`; a map from id to {x, y} in 0 to 1.
export function layout(ids, links) {
  const at = ids.map((_, i) => {
    const turn = (i / ids.length) * 2 * Math.PI - Math.PI;
    return { x: Math.cos(turn), y: Math.sin(turn) };
  });
  if (ids.length > 2 && ids.length <= SPRINGS_MAX) settle(at, links);
  const fitted = fit(at);
  return new Map(ids.map((id, i) => [id, fitted[i]]));
}

// Fruchterman and Reingold (1991), with the step getting shorter.
function settle(at, links) {
  const length = 1.6 / Math.sqrt(at.length);
  for (let round = 0; round < ROUNDS; round++) {
    const force = at.map(() => ({ x: 0, y: 0 })), step = 0.12 * (1 - round / ROUNDS);
    const pull = (i, j, amount) => {
      const dx = at[j].x - at[i].x, dy = at[j].y - at[i].y, far = Math.hypot(dx, dy) || 1e-6;
      const by = amount(far) / far;
      force[i].x += dx * by; force[i].y += dy * by;
      force[j].x -= dx * by; force[j].y -= dy * by;
    };
    for (let i = 0; i < at.length; i++) {
      for (let j = i + 1; j < at.length; j++) pull(i, j, far => -length * length / far);
    }
    for (const [i, j] of links) pull(i, j, far => far * far / length);
    at.forEach((place, i) => {
      const size = Math.hypot(force[i].x, force[i].y) || 1e-6, by = Math.min(size, step) / size;
      place.x += force[i].x * by - place.x * 0.01; // and a little towards the middle
      place.y += force[i].y * by - place.y * 0.01;
    });
  }
}

function fit(at) {
  const span = axis => {
    const all = at.map(place => place[axis]), low = Math.min(...all), high = Math.max(...all);
    return value => (high - low < 0.05 ? 0.5 : (value - low) / (high - low));
  };
  const x = span('x'), y = span('y');
  return at.map(place => ({ x: x(place.x), y: y(place.y) }));
}

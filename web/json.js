// JSON texts for people. Numbers are never read as numbers here: they stay as they were written.

// The same text with one member a line. It must be JSON.
export function pretty(json) {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g);
  let out = '', depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  tokens.forEach((token, i) => {
    const opens = token === '{' || token === '[', closes = token === '}' || token === ']';
    if (closes) depth--;
    if (closes && !'{['.includes(tokens[i - 1])) out += line();
    out += token === ':' ? ': ' : token;
    if (opens) depth++;
    if (token === ',' || (opens && !'}]'.includes(tokens[i + 1]))) out += line();
  });
  return out;
}

// What is wrong with a text as JSON, in words; nothing if it is sound.
export function jsonProblem(json) {
  try { JSON.parse(json); return null; } catch (error) {
    return json.trim() ? `This is not JSON: ${error.message}` : 'Write some JSON, such as "text", 5 or {"name": "Alice"}.';
  }
}

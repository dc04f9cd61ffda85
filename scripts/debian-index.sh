#!/usr/bin/env bash
# Real input: the Debian package index of this machine through a chain of three nodes.
#
# Makes JSON lines of /var/lib/dpkg/status and of the lists that `apt-get update` has fetched, one
# package a line; imports them on the first node while the third is away; starts the third; and
# shows that all three export the same bytes. Usage: scripts/debian-index.sh [--keep FILE]
#   --keep FILE   keep the JSON lines there
# The program is taken from $FOLKMOOT, or built for release.
set -euo pipefail
cd "$(dirname "$0")/.."
keep=
[ "${1:-}" = --keep ] && keep=$2
for name in $(compgen -e | grep '^FOLKMOOT_' || true); do unset "$name"; done
if [ -z "${FOLKMOOT:-}" ]; then
  cargo build --release --locked
  FOLKMOOT=${CARGO_TARGET_DIR:-target}/release/folkmoot
fi

work=$(mktemp -d)
nodes=()
cleanup() {
  for node in "${nodes[@]}"; do kill "$node" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap cleanup EXIT

now() { date +%s%N; }
seconds() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.2f", (b - a) / 1e9}'; }

stanzas() {
  cat /var/lib/dpkg/status
  local lists=(/var/lib/apt/lists/*Packages*)
  if [ -e "${lists[0]}" ]; then
    for list in "${lists[@]}"; do /usr/lib/apt/apt-helper cat-file "$list"; echo; done
  else
    echo "note: no lists in /var/lib/apt/lists; run apt-get update for tens of thousands more" >&2
  fi
}

# Stanzas to JSON lines: path packages/<name>/<version>/<architecture>, the fields as the value.
to_json() {
  awk '
    function quote(text) {
      gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text)
      gsub(/\t/, "\\t", text); gsub(/\n/, "\\n", text); gsub(/[\001-\037]/, "", text)
      return "\"" text "\""
    }
    function end(  i, line) {
      if (name != "" && version != "" && architecture != "") {
        line = "{\"path\":" quote("packages/" name "/" version "/" architecture) ",\"value\":{"
        for (i = 1; i <= count; i++)
          line = line (i > 1 ? "," : "") quote(fields[i]) ":" quote(values[i])
        print line "}}"
      }
      name = version = architecture = ""; count = 0
    }
    /^$/ { end(); next }
    /^[ \t]/ { if (count) values[count] = values[count] "\n" $0; next }
    {
      at = index($0, ":"); field = substr($0, 1, at - 1); value = substr($0, at + 1)
      sub(/^ /, "", value)
      count++; fields[count] = field; values[count] = value
      if (field == "Package") name = value
      if (field == "Version") version = value
      if (field == "Architecture") architecture = value
    }
    END { end() }'
}

# start NAME [PEER]: sets $url
start() {
  local peer=()
  : >"$work/$1.out"
  [ -n "${2:-}" ] && peer=(--peer "$2")
  "$FOLKMOOT" serve --listen 127.0.0.1:0 --data-dir "$work/$1" --secret "the index of a distribution" \
    "${peer[@]}" >"$work/$1.out" 2>"$work/$1.log" &
  nodes+=($!)
  until url=$(sed -n 's/^ready //p' "$work/$1.out") && [ -n "$url" ]; do
    kill -0 $! 2>/dev/null || { cat "$work/$1.log" >&2; exit 1; }
    sleep 0.02
  done
}

digest() { "$FOLKMOOT" status --json --url "$1" | sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/'; }

# agree URL: until that node holds what the first one holds
agree() {
  local tries=0
  until [ "$(digest "$1")" = "$(digest "$first")" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 6000 ] || { echo "$1 did not catch up" >&2; exit 1; }
    sleep 0.02
  done
}

stanzas | to_json >"$work/index.jsonl"
lines=$(wc -l <"$work/index.jsonl")
bytes=$(wc -c <"$work/index.jsonl")
echo "$lines packages, $bytes bytes of JSON lines"
[ -n "$keep" ] && cp "$work/index.jsonl" "$keep"

start one; first=$url
start two "$first"; second=$url

began=$(now)
"$FOLKMOOT" data import "$work/index.jsonl" --url "$first"
echo "imported on the first node in $(seconds "$began") s, the third being away"
agree "$second"
echo "the second node had all of it $(seconds "$began") s after the import began"

began=$(now)
start three "$second"; third=$url
agree "$third"
echo "the third node had all of it $(seconds "$began") s after its start"

for number in first second third; do
  "$FOLKMOOT" data export --url "${!number}" >"$work/$number.jsonl"
done
cmp "$work/first.jsonl" "$work/second.jsonl"
cmp "$work/first.jsonl" "$work/third.jsonl"
echo "$(wc -l <"$work/first.jsonl") different paths, $(wc -c <"$work/first.jsonl") bytes: the three exports are the same, byte for byte"

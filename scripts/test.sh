#!/usr/bin/env bash
# Everything that a change must pass. Installs what the tests need, runs it all, and ends with
# one line, "N passed, N failed"; fails if anything failed. Usage: scripts/test.sh
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0
logs=$(mktemp -d)
nodes=() # the nodes that run
cleanup() {
  [ "${#nodes[@]}" -gt 0 ] && kill "${nodes[@]}" 2>/dev/null && wait "${nodes[@]}" 2>/dev/null
  rm -rf "$logs"
}
trap cleanup EXIT

# Seconds since the beginning, and what is run now.
step() { printf '\n== %d s: %s\n' "$SECONDS" "$*"; }

# One command that passes or fails as a whole.
check() {
  step "$*"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $*"; fi
}

# Test binaries: their own counts, and one failure if they could not even run.
tests() {
  step "$*"
  local status=0 ok bad
  "$@" 2>&1 | tee "$logs/tests" || status=1
  ok=$(sed -n 's/^test result: .* \([0-9]*\) passed; .*/\1/p' "$logs/tests" | awk '{n += $1} END {print n + 0}')
  bad=$(sed -n 's/^test result: .* \([0-9]*\) failed; .*/\1/p' "$logs/tests" | awk '{n += $1} END {print n + 0}')
  if [ "$status" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then bad=1; fi
  passed=$((passed + ${ok:-0}))
  failed=$((failed + ${bad:-0}))
}

install() {
  local sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  command -v apt-get >/dev/null || { echo "install $* by hand: there is no apt-get here"; return 1; }
  $sudo apt-get update && $sudo apt-get install -y --no-install-recommends "$@"
}

# Starts a node of its own with these arguments, and leaves where it answers in $url.
start_node() {
  local binary=${CARGO_TARGET_DIR:-target}/debug/folkmoot out tries=0
  out=$logs/out${#nodes[@]}
  url=
  : >"$out"
  "$binary" serve --listen 127.0.0.1:0 --data-dir "$logs/node${#nodes[@]}" "$@" >"$out" 2>&1 &
  nodes+=($!)
  until url=$(sed -n 's/^ready //p' "$out") && [ -n "$url" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "${nodes[-1]}" 2>/dev/null; then
      cat "$out"
      echo "FAILED: the node did not get ready"
      failed=$((failed + 1))
      return 1
    fi
    sleep 0.1
  done
}

# Ends all nodes; each must end cleanly.
stop_nodes() {
  local pid
  for pid in "${nodes[@]}"; do
    kill "$pid"
    wait "$pid" || { echo "FAILED: a node did not end cleanly"; failed=$((failed + 1)); }
  done
  nodes=()
  rm -rf "$logs"/node*
}

# A script that prints PASS and FAIL: its own counts, and one failure if it could not even run.
promises() {
  node "$@" | tee "$logs/conformance"
  local status=$? bad
  bad=$(grep -c '^FAIL' "$logs/conformance")
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + $(grep -c '^PASS' "$logs/conformance")))
  failed=$((failed + bad))
}

# The promises of REST and of chat, checked from outside: on one node, and on a chain of three.
conformance() {
  step "conformance/data-rest.mjs"
  if ! node -e 'fetch' >/dev/null 2>&1; then install nodejs; fi
  start_node && promises conformance/data-rest.mjs "$url"
  stop_nodes
  step "conformance/chat-socketio.mjs"
  command -v npm >/dev/null || install npm
  (cd conformance && npm ci --no-audit --no-fund) || { failed=$((failed + 1)); return; }
  local urls=() more=()
  for _ in 1 2 3; do
    start_node --secret conformance "${more[@]}" || break
    urls+=("$url")
    more=(--peer "$url")
  done
  if [ "${#urls[@]}" -eq 3 ]; then
    promises conformance/chat-socketio.mjs --clients=1,2 --transport=both --strict "${urls[@]}"
    promises conformance/chat-socketio.mjs --clients=3,4 --transport=both "${urls[@]}"
  fi
  stop_nodes
}

# The pages in a real browser: two windows on two nodes, one of which is killed meanwhile.
pages() {
  step "conformance/ui.mjs"
  local bad status=0
  command -v npm >/dev/null || install nodejs npm
  [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || install chromium
  (cd conformance && npm ci --no-audit --no-fund) || { echo "FAILED: npm ci"; failed=$((failed + 1)); return; }
  FOLKMOOT=$(realpath "${CARGO_TARGET_DIR:-target}/debug/folkmoot")
  export FOLKMOOT
  mkdir "$logs/pages"
  local nodes=(conformance/nodes.sh "$logs/pages") one two secret=(--secret "a secret of two nodes on one machine")
  one=$("${nodes[@]}" start one --listen 127.0.0.1:0 "${secret[@]}") &&
    two=$("${nodes[@]}" start two --listen 127.0.0.1:0 "${secret[@]}" --peer "$one") &&
    node conformance/ui.mjs "$one" "$two" --restart="conformance/nodes.sh $logs/pages restart one KILL" >"$logs/ui" || status=1
  cat "$logs/ui"
  for name in one two; do [ -e "$logs/pages/$name.pid" ] && "${nodes[@]}" end "$name"; done
  bad=$(grep -c '^FAIL' "$logs/ui")
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + $(grep -c '^PASS' "$logs/ui")))
  failed=$((failed + bad))
}

command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
command -v cargo >/dev/null || { echo "Rust is missing: see https://rustup.rs"; exit 1; }
command -v cc >/dev/null || install gcc libc6-dev || exit 1 # it links what Rust compiles
# Where rustup does not fetch the version of the toolchain file by itself, it is asked to.
cargo --version >/dev/null 2>&1 || rustup toolchain install || exit 1

check cargo fmt --all --check
check cargo clippy --workspace --all-targets --locked -- -D warnings
tests cargo test -p folkmoot-core -p folkmoot --locked --no-fail-fast
check cargo run --locked -p folkmoot --example hello
check cargo run --locked -p folkmoot --example chain
tests cargo test -p folkmoot-sim --profile sim --locked --no-fail-fast
conformance
pages
if cargo deny --version >/dev/null 2>&1; then check cargo deny --offline check licenses bans sources; fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

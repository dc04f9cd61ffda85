#!/usr/bin/env bash
# Nodes for checks from outside, each known by a name, their files in DIR. Usage:
#   nodes.sh DIR start NAME [arguments of serve]   prints the URL when the node is ready
#   nodes.sh DIR again NAME                        starts it once more, at the same address
#   nodes.sh DIR end NAME [SIGNAL]                 ends it and waits until it is gone
#   nodes.sh DIR restart NAME [SIGNAL]             both
# The program is $FOLKMOOT.
set -euo pipefail
dir=$1 verb=$2 name=$3
shift 3

start() {
  : >"$dir/$name.out"
  setsid "$FOLKMOOT" serve --data-dir "$dir/$name" "$@" >"$dir/$name.out" 2>>"$dir/$name.err" </dev/null &
  local pid=$! url='' tries=0
  echo "$pid" >"$dir/$name.pid"
  until url=$(sed -n 's/^ready //p' "$dir/$name.out") && [ -n "$url" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$pid" 2>/dev/null; then
      cat "$dir/$name.out" "$dir/$name.err" >&2
      exit 1
    fi
    sleep 0.1
  done
  printf '%s\n' --listen "${url#http://}" "$@" >"$dir/$name.arguments"
  echo "$url"
}

again() {
  mapfile -t arguments <"$dir/$name.arguments"
  # The first of two --listen is the address that it had.
  local kept=() i
  for ((i = 0; i < ${#arguments[@]}; i++)); do
    if [ "$i" -gt 1 ] && [ "${arguments[i]}" = --listen ]; then i=$((i + 1)); else kept+=("${arguments[i]}"); fi
  done
  start "${kept[@]}"
}

end() {
  local pid
  pid=$(cat "$dir/$name.pid")
  kill -s "${1:-TERM}" "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

case $verb in
  start) start "$@" ;;
  again) again ;;
  end) end "$@" ;;
  restart) end "$@"; again ;;
  *) echo "see the head of this file" >&2; exit 2 ;;
esac

#!/usr/bin/env bash
# Metrics of every system of a run and of its variants, the attention of its networks, and the report.
#   steps/report.sh --conf DIR --corpus NAME [--force] DATA EXP SYSTEM...
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [corpus]='' [force]=false)
parse_options o "force" "" "$@"
[ ${#words[@]} -ge 3 ] || die "steps/report.sh: expected DATA EXP SYSTEM..., found '${words[*]}'"
data=${words[0]} exp=${words[1]} systems=("${words[@]:2}")

mapfile -t names < <(python -m pyasp.bin.variants --config "${o[conf]}/backend.conf" --exp "$exp" "${systems[@]}")
[ ${#names[@]} -gt 0 ] || die "no system to report: see the message above"
made=()
for name in "${names[@]}"; do
  [ -d "$exp/$name/scores" ] || { log "$name: no scores, left out"; continue; }
  made+=("$name")
  python -m pyasp.bin.evaluate --force "${o[force]}" "$data/trials" "$exp/$name"
done
python -m pyasp.bin.attention --force "${o[force]}" "$data" "$exp"
python -m pyasp.bin.report --corpus "${o[corpus]}" --conf "${o[conf]}" "$data/trials" "$exp" "${made[@]}"

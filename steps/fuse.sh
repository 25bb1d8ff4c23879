#!/usr/bin/env bash
# The fusions of backend.conf whose members have scores: EXP/fusion:<a>+<b>/scores/<list>, calibrated.
#   steps/fuse.sh --conf backend.conf [--cmd C] [--force] DATA EXP SYSTEMS
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [cmd]=steps/run_jobs [force]=false)
parse_options o "force" "" "$@"
[ ${#words[@]} -eq 3 ] || die "steps/fuse.sh: expected DATA EXP SYSTEMS, found '${words[*]}'"
data=${words[0]} exp=${words[1]} systems=${words[2]}

# shellcheck disable=SC2086
python -m pyasp.bin.variants --config "${o[conf]}" --exp "$exp" --show fusions $systems | while read -r name members; do
  directories=()
  for member in $members; do directories+=("$exp/$member"); done
  "${o[cmd]}" "$exp/$name/log/fuse.log" python -m pyasp.bin.calibrate --config "${o[conf]}" --force "${o[force]}" \
    --train-on auto "$data" "$exp/$name" "${directories[@]}"
done

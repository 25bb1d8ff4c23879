#!/usr/bin/env bash
# One vector per utterance of a data directory: OUT/embedding.scp, by an i-vector system or a network.
#   steps/extract.sh --conf FILE [--conf FILE ...] [--reuse embedding.scp] [--device D] [--cmd C] [--nj N] [--force] SYSTEM DATA MODEL... OUT
#   MODEL is the UBM and the extractor directory for `ivector`, the network's .pt file for every other system.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [reuse]='' [device]=auto [cmd]=steps/run_jobs [nj]=1 [force]=false)
parse_options o "force" "conf" "$@"
[ ${#words[@]} -ge 4 ] || die "steps/extract.sh: expected SYSTEM DATA MODEL... OUT, found '${words[*]}'"
system=${words[0]} data=${words[1]} out=${words[-1]} models=("${words[@]:2:${#words[@]}-3}")
need "$data/vad.scp" features

tool_options=(--device "${o[device]}") o[within]=$data/vad.scp
map_shards extract extract "$data" "$out/shards/embedding" "$out/embedding.scp" "" "${models[@]}"

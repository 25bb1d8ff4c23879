#!/usr/bin/env bash
# Energy VAD of a data directory: vad.scp, utt2num_voiced, utt2num_silent. --clean-of names the clean set whose decisions the copies take over.
#   steps/vad.sh --conf vad.conf [--reuse vad.scp | --clean-of DIR] [--cmd C] [--nj N] [--force]
#     [--max-failed SHARE] DATA
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [reuse]='' [clean-of]='' [cmd]=steps/run_jobs [nj]=1 [force]=false [max-failed]=0)
parse_options o "force" "" "$@"
[ ${#words[@]} -eq 1 ] || die "steps/vad.sh: expected one DATA directory, found '${words[*]}'"
data=${words[0]}
need "$data/feats.scp" features

if [ -n "${o[clean-of]}" ]; then
  once "$data/vad.scp" python -m pyasp.bin.vad copy --force "${o[force]}" "${o[clean-of]}" "$data"
else
  tool_options=() o[within]=$data/feats.scp
  map_shards "vad compute" vad "$data" "$data/vad/vad" "$data/vad.scp" "utt2num_voiced utt2num_silent"
fi

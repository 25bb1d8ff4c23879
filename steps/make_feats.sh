#!/usr/bin/env bash
# Features of a data directory. MFCC: feats.scp, utt2num_frames, utt2dur; another kind, of the recordings that have MFCC: KIND/feats.scp.
#   steps/make_feats.sh --kind KIND --conf FILE [--reuse feats.scp] [--cmd C] [--nj N] [--force] [--allow-commands]
#     [--max-failed SHARE] DATA: recordings that cannot be used are dropped up to this share
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([kind]=mfcc [conf]='' [reuse]='' [cmd]=steps/run_jobs [nj]=1 [force]=false [allow-commands]=false [max-failed]=0)
parse_options o "force allow-commands" "" "$@"
[ ${#words[@]} -eq 1 ] || die "steps/make_feats.sh: expected one DATA directory, found '${words[*]}'"
data=${words[0]} kind=${o[kind]}
[ -f "pyasp/bin/make_$kind.py" ] || die "steps/make_feats.sh: --kind is '$kind', and there is no pyasp/bin/make_$kind.py"
need "$data/cuts.jsonl.gz" prepare

tool_options=(--allow-commands "${o[allow-commands]}")
if [ "$kind" = mfcc ]; then
  out=$data/feats.scp tables="utt2num_frames utt2dur"
else
  out=$data/$kind/feats.scp tables='' o[within]=$data/feats.scp
fi
map_shards "make_$kind" "make_$kind" "$data" "$data/$kind/raw_$kind" "$out" "$tables"

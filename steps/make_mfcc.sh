#!/usr/bin/env bash
# MFCCs of a data directory: feats.scp, utt2num_frames, utt2dur.
#   steps/make_mfcc.sh --conf mfcc.conf [--reuse feats.scp] [--cmd C] [--nj N] [--force] [--allow-commands]
#     [--max-failed SHARE] DATA: recordings that cannot be used are dropped up to this share
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [reuse]='' [cmd]=steps/run_jobs [nj]=1 [force]=false [allow-commands]=false [max-failed]=0)
parse_options o "force allow-commands" "" "$@"
[ ${#words[@]} -eq 1 ] || die "steps/make_mfcc.sh: expected one DATA directory, found '${words[*]}'"
data=${words[0]}
need "$data/cuts.jsonl.gz" prepare

tool_options=(--allow-commands "${o[allow-commands]}")
map_shards make_mfcc make_mfcc "$data" "$data/mfcc/raw_mfcc" "$data/feats.scp" \
  "utt2num_frames=$data/utt2num_frames utt2dur=$data/utt2dur"

#!/usr/bin/env bash
# Back end and scores of one system: EXP/backend/{mean.vec,transform.mat,plda} (unless one is given) and EXP/scores/<list>.
#   steps/score.sh --conf backend.conf [--backend DIR] [--cmd C] [--force] DATA EXP
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [backend]='' [cmd]=steps/run_jobs [nj]=1 [force]=false)
parse_options o "force" "" "$@"
[ ${#words[@]} -eq 2 ] || die "steps/score.sh: expected DATA EXP, found '${words[*]}'"
data=${words[0]} exp=${words[1]} backend=${o[backend]:-${words[1]}/backend}
for set in enroll test; do need "$exp/$set/embedding.scp" 8; done

if [ -z "${o[backend]}" ]; then
  need "$exp/train/embedding.scp" 8
  "${o[cmd]}" "$exp/log/train_backend.log" python -m pyasp.bin.train_backend --config "${o[conf]}" --force "${o[force]}" \
    --utt2clean "$data/train_sel/utt2clean" "$exp/train/embedding.scp" "$data/train_sel/utt2spk" "$backend"
fi
for trials in "$data"/trials/*; do
  case $trials in *.tsv | *.json) continue ;; esac
  list=${trials##*/}
  "${o[cmd]}" "$exp/log/score.$list.log" python -m pyasp.bin.score --config "${o[conf]}" --force "${o[force]}" \
    "$exp/enroll/embedding.scp" "$data/enroll/model2utts" "$exp/test/embedding.scp" "$backend" "$trials" "$exp/scores/$list"
done

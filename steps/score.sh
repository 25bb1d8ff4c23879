#!/usr/bin/env bash
# Back end and scores of one system: EXP/backend/{mean.vec,transform.mat,plda} (unless one is given) and EXP/scores/<list>, and
# EXP/dev/scores for the trials among dev speakers; then the variants of backend.conf, each in EXP+<chain>.
#   steps/score.sh --conf backend.conf [--backend DIR] [--cmd C] [--force] DATA EXP
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
. steps/common.sh

declare -A o=([conf]='' [backend]='' [cmd]=steps/run_jobs [nj]=1 [force]=false)
parse_options o "force" "" "$@"
[ ${#words[@]} -eq 2 ] || die "steps/score.sh: expected DATA EXP, found '${words[*]}'"
data=${words[0]} exp=${words[1]}
for set in enroll test; do need "$exp/$set/embedding.scp" embeddings; done
settings=(--config "${o[conf]}" --force "${o[force]}")

# train_backend OUT OPTION...: mean, transform and PLDA from the training vectors.
train_backend() {
  need "$exp/train/embedding.scp" embeddings
  "${o[cmd]}" "${1%/backend}/log/train_backend.log" python -m pyasp.bin.train_backend "${settings[@]}" "${@:2}" \
    --utt2clean "$data/train_sel/utt2clean" "$exp/train/embedding.scp" "$data/train_sel/utt2spk" "$1"
}

# score_lists BACKEND OUT OPTION...: OUT/scores/<list> of every list, OUT/dev/scores where there are dev trials.
score_lists() {
  local backend=$1 out=$2 trials list
  shift 2
  for trials in "$data"/trials/*; do
    case $trials in *.tsv | *.json) continue ;; esac
    list=${trials##*/}
    "${o[cmd]}" "$out/log/score.$list.log" python -m pyasp.bin.score "${settings[@]}" "$@" "$exp/enroll/embedding.scp" \
      "$data/enroll/model2utts" "$exp/test/embedding.scp" "$backend" "$trials" "$out/scores/$list"
  done
  [ -s "$data/dev/trials" ] && [ -s "$exp/dev/embedding.scp" ] || return 0
  "${o[cmd]}" "$out/log/score.dev.log" python -m pyasp.bin.score "${settings[@]}" "$@" "$exp/dev/embedding.scp" \
    "$data/dev/model2utts" "$exp/dev/embedding.scp" "$backend" "$data/dev/trials" "$out/dev/scores"
}

# left_out DIR: true of a variant that cannot be made; its tool has said why.
left_out() { grep -q '^\*' "$1/left_out.tsv" 2>/dev/null; }

declare -A unmade=() backend_of=([$exp]=${o[backend]:-$exp/backend}) scoring_of=([$exp]='') # by the system's directory
[ -n "${o[backend]}" ] || train_backend "$exp/backend"
score_lists "${backend_of[$exp]}" "$exp"

if [ -n "${o[backend]}" ]; then # its training vectors, and so the cohort, are not here
  log "${exp##*/}: the back end is given, no variants"
  exit 0
fi
chains=$(python -m pyasp.bin.variants --config "${o[conf]}" --show chains "${exp##*/}") # in a `for` its failure would be lost
for chain in $chains; do
  out=$exp+$chain
  source=${out%+*} step=${chain##*+}
  backend_of[$out]=${backend_of[$source]} scoring_of[$out]=${scoring_of[$source]}
  if [ -v "unmade[$source]" ] || left_out "$source"; then
    log "${out##*/} is left out: so is ${source##*/}"
    unmade[$out]=true
    continue
  fi
  case $step in
    lda) backend_of[$out]=$out/backend
      train_backend "$out/backend" --lda-dim "$(python -m pyasp.bin.variants --config "${o[conf]}" --show lda-dim any)" ;;
    adapt) backend_of[$out]=$out/backend
      set=$(python -m pyasp.bin.variants --config "${o[conf]}" --show adapt-to any)
      "${o[cmd]}" "$out/log/adapt_backend.log" python -m pyasp.bin.adapt_backend "${settings[@]}" --data "$data" \
        "${backend_of[$source]}" "$exp/$set/embedding.scp" "$out/backend" ;;
    cosine) scoring_of[$out]=--scoring=cosine ;;
    cal | calhalf)
      way=dev
      [ "$step" = cal ] || way=halves
      "${o[cmd]}" "$out/log/calibrate.log" python -m pyasp.bin.calibrate "${settings[@]}" --train-on $way "$data" "$out" "$source"
      continue ;;
    *)
      "${o[cmd]}" "$out/log/normalise_scores.log" python -m pyasp.bin.normalise_scores "${settings[@]}" --kind "$step" \
        ${scoring_of[$out]:+"${scoring_of[$out]}"} "$data" "$exp" "${backend_of[$out]}" "$source" "$out"
      continue ;;
  esac
  if left_out "$out"; then continue; fi
  score_lists "${backend_of[$out]}" "$out" ${scoring_of[$out]:+"${scoring_of[$out]}"}
done

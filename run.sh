#!/usr/bin/env bash
# Text-independent speaker verification: the five systems of Okabe, Koshinaka and Shinoda, "Attentive Statistics Pooling for
# Deep Speaker Embedding" (Interspeech 2018), from audio to a table of results. A bare ./run.sh does all of it on a toy corpus.
set -euo pipefail
caller=$PWD && export PYASP_CALLER=$PWD # what relative paths in wav.scp and manifests are relative to
cd "$(dirname "$0")"
. steps/common.sh

stages=(prepare check features augment select ubm extractor networks embeddings scores report) # in the order of a run

# ---- options: every one takes one value, `--a b` or `--a=b`; `./run.sh --help` explains them
declare -A opt=(
  [corpus]=toy [systems]="ivector average attention statistics attentive_statistics" [at-once]=auto [stage]=prepare [stop-stage]=${stages[-1]}
  [nj]=$(getconf _NPROCESSORS_ONLN) [cmd]=steps/run_jobs [device]=auto [seed]=1 [data]='' [exp]='' [conf]=''
  [force]=false [allow-commands]=false [help]=false [musan]='' [rirs]='' [kaldi-ivector]='' [kaldi-backend]='')
flags="force allow-commands help" lists='' corpus_options=() paths=()
take_corpus_options # adds what the preparations declare to these
arguments=("$@")
parse_options opt "$flags" "$lists" "$@"
from_caller data exp conf musan rirs kaldi-ivector kaldi-backend "${paths[@]}"
[ ${#words[@]} -eq 0 ] || die "unexpected word '${words[0]}'. Options: $(printf -- '--%s ' "${!opt[@]}")"
corpus=${opt[corpus]} conf=${opt[conf]:-conf/${opt[corpus]}}
if [ "${opt[help]}" = true ]; then print_help; exit 0; fi
check_options

systems=${opt[systems]} device=${opt[device]} seed=${opt[seed]} force=${opt[force]} data=${opt[data]:-data/$corpus} exp=${opt[exp]:-exp/$corpus}
first_of_systems=$(place_of ubm) first_stage=$(stage_number stage) last_stage=$(stage_number stop-stage) current_stage=$first_stage
jobs=(--cmd "${opt[cmd]}" --nj "${opt[nj]}" --force="$force") prep_options=() sounds=(--musan "${opt[musan]}" --rirs "${opt[rirs]}")
[ -f "$conf/prep.conf" ] && prep_options+=(--config "$conf/prep.conf")
for name in "${corpus_options[@]}"; do
  while IFS= read -r value; do
    [ -z "$value" ] || prep_options+=("--$name" "$value")
  done <<<"${opt[$name]}"
done

# system_stages SYSTEM: what needs nothing of the other systems, from its models to its scores.
system_stages() {
  local system=$1 backend='' models settings set source reuse
  if [ "$system" != ivector ]; then
    models=("$exp/$system/final.pt") settings=(--conf "$conf/tdnn.conf" --conf "$(system_conf "$system")")
    if stage networks "network: $system"; then
      need "$data/train_sel/feats.scp" select
      train "$exp/$system/final.pt" "$exp/$system/log/train_tdnn.log" python -m pyasp.bin.train_tdnn --config "$conf/tdnn.conf" \
        --config "$(system_conf "$system")" --device "$device" --seed "$seed" --force "$force" "$data/train_sel" "$exp/$system"
    fi
  else
    models=("${opt[kaldi-ivector]:-$exp/ubm}" "${opt[kaldi-ivector]:-$exp/ivector}") settings=(--conf "$conf/ivector.conf")
    backend=${opt[kaldi-backend]}
    if [ -z "${opt[kaldi-ivector]}" ] && stage ubm "UBM: diagonal, then full covariance"; then
      need "$data/train_ubm/feats.scp" select
      train "$exp/ubm/final.ubm" "$exp/ubm/log/train_ubm.log" python -m pyasp.bin.train_ubm --config "$conf/ubm.conf" \
        --frontend-config "$conf/ivector.conf" --device "$device" --seed "$seed" --force "$force" "$data/train_ubm" "$exp/ubm"
    fi
    if [ -z "${opt[kaldi-ivector]}" ] && stage extractor "total variability extractor"; then
      need "$exp/ubm/final.ubm" ubm
      train "$exp/ivector/final.ie" "$exp/ivector/log/train_ivector.log" python -m pyasp.bin.train_ivector --config "$conf/ivector.conf" \
        --device "$device" --seed "$seed" --force "$force" "$data/train_ubm" "$exp/ubm" "$exp/ivector"
    fi
  fi
  if stage embeddings "$system: one vector per recording"; then
    if [ "$system" = ivector ]; then need "${models[1]}/final.ie" extractor; else need "${models[0]}" networks; fi
    for set in train dev test enroll; do
      source=$set reuse=
      [ $set = dev ] && [ ! -s "$data/dev/trials" ] && continue
      [ $set = train ] && { source=train_sel; [ -z "$backend" ] || continue; }
      [ $set = enroll ] && reuse=$exp/$system/test/embedding.scp
      steps/extract.sh "${settings[@]}" --reuse "$reuse" --device "$device" "${jobs[@]}" \
        "$system" "$data/$source" "${models[@]}" "$exp/$system/$set"
    done
  fi
  if stage scores "$system: back end and scores"; then
    "${opt[cmd]}" "$exp/$system/log/score.log" python -m pyasp.bin.score system --config "$conf/backend.conf" --backend "$backend" --force "$force" "$data" "$exp/$system"
  fi
}

{ # bash reads to the closing brace before it runs any of it: editing this file does not disturb a run
. ./path.sh
hold_locks "$data" "$exp"
set -m # the stages are a process group of their own, which a signal stops at once, whatever they wait for
{
end_with $$; trap on_exit EXIT; trap '' TTIN TTOU # nor does the terminal stop them
[ "$first_stage" -le "$(place_of features)" ] || fit_conf
[ "$first_stage" -eq 0 ] || # what the skipped stages left was made with these settings
  python -m pyasp.bin.check made --conf "$conf" --seed "$seed" --corpus "$corpus" --systems "$systems" --skipped "${stages[*]:0:first_stage}" \
    --kaldi-ivector "${opt[kaldi-ivector]}" --kaldi-backend "${opt[kaldi-backend]}" "${sounds[@]}" "$data" "$exp" -- "${prep_options[@]}"

if stage prepare "prepare $corpus: $data/{train,enroll,test} and trials"; then
  python -m pyasp.bin.check environment conf/requirements.txt
  [ "$device" != cuda ] || "${opt[cmd]}" "$exp/log/device.log" python -m pyasp.bin.check device --device cuda
  python -m pyasp.bin.check settings --config "$conf/augment.conf" "${sounds[@]}" --systems "$systems" --kaldi-ivector "${opt[kaldi-ivector]}" "$conf" "$data" "$exp" # not hours later
  python "local/prep_$corpus.py" --data "$data" --seed "$seed" --force "$force" --trains "$([[ $systems == ivector && ${opt[kaldi-backend]} ]] && echo false || echo true)" \
    --allow-commands "${opt[allow-commands]}" --rate "0$(sed -nE 's/^--sample-frequency=([0-9]+).*/\1/p' "$conf/mfcc.conf")" "${prep_options[@]}"
  python -m pyasp.bin.check variants --select "$conf/select.conf" --systems "$systems" --kaldi-backend "${opt[kaldi-backend]}" "$conf/backend.conf" "$data"
fi

if stage check "check and fix the data, say what was dropped"; then
  need "$data/train/utt2spk" prepare
  python -m pyasp.bin.check data "$data"
fi

if stage features "features and energy VAD"; then
  for set in train test enroll; do
    reuse='' spare=0
    [ $set = enroll ] && reuse=$data/test # a recording in both sets is extracted once
    [ $set = train ] && spare=0.05        # as in stage check: a trial needs its recordings, training spares a few
    make_features "$data/$set" "$reuse" --max-failed $spare
    steps/vad.sh --conf "$conf/vad.conf" --reuse "${reuse:+$reuse/vad.scp}" "${jobs[@]}" --max-failed $spare "$data/$set"
  done
  python -m pyasp.bin.check voiced "$data"
  fit_conf
  "${opt[cmd]}" "$exp/log/time.log" python -m pyasp.bin.check time --conf "$conf" --systems "$systems" --device "$device" \
    --kaldi-ivector "${opt[kaldi-ivector]}" --stages "${stages[*]:current_stage:last_stage-current_stage+1}" "$data" "$exp"
fi

if stage augment "augmented copies of the training set, and their features"; then
  need "$data/train/vad.scp" features
  python -m pyasp.bin.augment --config "$conf/augment.conf" "${sounds[@]}" --seed "$seed" --force "$force" "$data/train" "$data/train_aug"
  make_features "$data/train_aug" "$data/train"
  steps/vad.sh --conf "$conf/vad.conf" --clean-of "$data/train" "${jobs[@]}" "$data/train_aug"
fi

if stage select "choose training material: clean for UBM and extractor, clean and augmented for TDNN and PLDA"; then
  need "$data/train_aug/vad.scp" augment
  python -m pyasp.bin.select train --config "$conf/select.conf" --seed "$seed" --force "$force" \
    "$data/train" "$data/train_aug" "$data/train_ubm" "$data/train_sel"
  python -m pyasp.bin.select dev --config "$conf/backend.conf" --seed "$seed" --force "$force" \
    "$data/train" "$data/train_sel/dev_speakers" "$data/dev" # nothing when no speaker is held out
  share_features "$data/train_aug" "$data/train_sel"
  share_features "$data/train" "$data/dev"
fi

if [ "$last_stage" -ge "$first_of_systems" ] && [ "$first_stage" -le "$(place_of scores)" ]; then
  current_stage=$((current_stage > first_of_systems ? current_stage : first_of_systems))
  # shellcheck disable=SC2086
  side_by_side system_stages $systems
fi
if grep -qs '^--fuse=' "$conf/backend.conf" && stage scores "fusions of systems"; then
  # shellcheck disable=SC2086
  "${opt[cmd]}" "$exp/log/fuse.log" python -m pyasp.bin.score fusions --config "$conf/backend.conf" --force "$force" "$data" "$exp" $systems
fi

# shellcheck disable=SC2086
if stage report "metrics and report"; then
  need_vectors $systems
  python -m pyasp.bin.report --conf "$conf" --corpus "$corpus" --force "$force" "$data/trials" "$exp" $systems
fi
trap end_stage EXIT
} </dev/null &
supervise $!
}

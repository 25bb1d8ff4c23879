#!/usr/bin/env bash
# Text-independent speaker verification: the five systems of Okabe, Koshinaka and Shinoda, "Attentive Statistics Pooling for
# Deep Speaker Embedding" (Interspeech 2018), from audio to a table of results. A bare ./run.sh does all of it on a toy corpus.
set -euo pipefail
cd "$(dirname "$0")"
. steps/common.sh

# ---- options: every one takes one value, `--a b` or `--a=b`; `./run.sh --help` explains them
declare -A opt=(
  [corpus]=toy [root]='' [systems]="ivector average attention statistics attentive_statistics" [stage]=0 [stop-stage]=10
  [nj]=$(getconf _NPROCESSORS_ONLN) [cmd]=steps/run_jobs [device]=auto [seed]=1 [data]='' [exp]='' [conf]=''
  [force]=false [allow-commands]=false [help]=false
  [tables]='' [recordings]='' [supervisions]='' [kaldi-data]='' [trials]='' [voxceleb2]='' [check-md5]=false
  [sre04]='' [sre05]='' [sre06]='' [sre08]='' [sre10]='' [swbd2p1]='' [swbd2p2]='' [swbd2p3]='' [swbcell1]='' [swbcell2]=''
  [fisher1]='' [fisher2]='' [mixer6]='' [cts]='' [musan]='' [rirs]='' [kaldi-ivector]='' [kaldi-backend]='')
corpus_options="root tables recordings supervisions kaldi-data trials voxceleb2 check-md5 sre04 sre05 sre06 sre08 sre10
  swbd2p1 swbd2p2 swbd2p3 swbcell1 swbcell2 fisher1 fisher2 mixer6 cts"
parse_options opt "force allow-commands check-md5 help" "trials" "$@"
[ ${#words[@]} -eq 0 ] || die "unexpected word '${words[0]}'. Options: $(printf -- '--%s ' "${!opt[@]}")"
if [ "${opt[help]}" = true ]; then print_help; exit 0; fi
corpus=${opt[corpus]} conf=${opt[conf]:-conf/${opt[corpus]}}
check_options

systems=${opt[systems]} device=${opt[device]} seed=${opt[seed]} force=${opt[force]}
data=${opt[data]:-data/$corpus} exp=${opt[exp]:-exp/$corpus}
first_stage=${opt[stage]} last_stage=${opt[stop-stage]} current_stage=${opt[stage]}
jobs=(--cmd "${opt[cmd]}" --nj "${opt[nj]}" --force="$force")
train=("${opt[cmd]}") # runs one job with all threads; its output is on the screen and in a log
prep_options=()
[ -f "$conf/prep.conf" ] && prep_options+=(--config "$conf/prep.conf")
for name in $corpus_options; do
  while IFS= read -r value; do
    [ -z "$value" ] || [ "$value" = false ] || prep_options+=("--$name" "$value")
  done <<<"${opt[$name]}"
done

{ # bash reads to the closing brace before it runs any of it: editing this file does not disturb a run
. ./path.sh
hold_locks "$data" "$exp"
{ # the stages, in a process that a signal stops at once, whatever it waits for
trap 'on_exit $? "$@"' EXIT
[ "$first_stage" -eq 0 ] || # what the skipped stages left was made with these settings
  python -m pyasp.bin.check_made --conf "$conf" --seed "$seed" --corpus "$corpus" --systems "$systems" --stage "$first_stage" \
    --kaldi-ivector "${opt[kaldi-ivector]}" --kaldi-backend "${opt[kaldi-backend]}" "$data" "$exp" -- "${prep_options[@]}"

if stage 0 "prepare $corpus: $data/{train,enroll,test} and trials"; then
  python -m pyasp.bin.check_environment conf/requirements.txt
  python -m pyasp.bin.check_augment --config "$conf/augment.conf" --musan "${opt[musan]}" --rirs "${opt[rirs]}" # not in stage 3
  python "local/prep_$corpus.py" --data "$data" --seed "$seed" --force "$force" "${prep_options[@]}"
fi

if stage 1 "check and fix the data, say what was dropped"; then
  need "$data/train/utt2spk" 0
  python -m pyasp.bin.check_data "$data"
fi

if stage 2 "features and energy VAD"; then
  for set in train test enroll; do
    reuse='' spare=0
    [ $set = enroll ] && reuse=$data/test # a recording in both sets is extracted once
    [ $set = train ] && spare=0.05        # as in stage 1: a trial needs its recordings, training spares a few
    make_features "$data/$set" "$reuse" --max-failed $spare
    steps/compute_vad.sh --conf "$conf/vad.conf" --reuse "${reuse:+$reuse/vad.scp}" "${jobs[@]}" --max-failed $spare "$data/$set"
  done
fi

if stage 3 "augmented copies of the training set, and their features"; then
  need "$data/train/vad.scp" 2
  python -m pyasp.bin.augment --config "$conf/augment.conf" --musan "${opt[musan]}" --rirs "${opt[rirs]}" --seed "$seed" \
    --force "$force" "$data/train" "$data/train_aug"
  make_features "$data/train_aug" "$data/train"
  steps/compute_vad.sh --conf "$conf/vad.conf" --clean-of "$data/train" "${jobs[@]}" "$data/train_aug"
fi

if stage 4 "choose training material: clean for UBM and extractor, clean and augmented for TDNN and PLDA"; then
  need "$data/train_aug/vad.scp" 3
  python -m pyasp.bin.select_train --config "$conf/select.conf" --seed "$seed" --force "$force" \
    "$data/train" "$data/train_aug" "$data/train_ubm" "$data/train_sel"
  python -m pyasp.bin.make_dev --config "$conf/backend.conf" --seed "$seed" --force "$force" \
    "$data/train" "$data/train_sel/dev_speakers" "$data/dev" # nothing when no speaker is held out
  share_features "$data/train_aug" "$data/train_sel"
  share_features "$data/train" "$data/dev"
fi

if wants ivector && stage 5 "UBM: diagonal, then full covariance"; then
  need "$data/train_ubm/feats.scp" 4
  "${train[@]}" "$exp/ubm/log/train_ubm.log" python -m pyasp.bin.train_ubm --config "$conf/ubm.conf" \
    --frontend-config "$conf/ivector.conf" --device "$device" --seed "$seed" --force "$force" "$data/train_ubm" "$exp/ubm"
fi

if wants ivector && stage 6 "total variability extractor"; then
  need "$exp/ubm/final.ubm" 5
  "${train[@]}" "$exp/ivector/log/train_ivector.log" python -m pyasp.bin.train_ivector --config "$conf/ivector.conf" \
    --device "$device" --seed "$seed" --force "$force" "$data/train_ubm" "$exp/ubm" "$exp/ivector"
fi

for system in $systems; do
  [ "$system" = ivector ] && continue
  if stage 7 "network: $system"; then
    need "$data/train_sel/feats.scp" 4
    "${train[@]}" "$exp/$system/log/train_tdnn.log" python -m pyasp.bin.train_tdnn --config "$conf/tdnn.conf" \
      --config "$(system_conf "$system")" --device "$device" --seed "$seed" --force "$force" "$data/train_sel" "$exp/$system"
  fi
done

for system in $systems; do
  if stage 8 "$system: one vector per recording"; then
    models=("$exp/$system/final.pt") settings=(--conf "$conf/tdnn.conf" --conf "$(system_conf "$system")")
    if [ "$system" = ivector ]; then
      models=("${opt[kaldi-ivector]:-$exp/ubm}" "${opt[kaldi-ivector]:-$exp/ivector}") settings=(--conf "$conf/ivector.conf")
      need "${models[1]}/final.ie" 6
    else
      need "${models[0]}" 7
    fi
    for set in train dev test enroll; do
      source=$set reuse=
      [ $set = dev ] && [ ! -s "$data/dev/trials" ] && continue
      [ $set = train ] && { source=train_sel; [ "$system:${opt[kaldi-backend]:+given}" = ivector:given ] && continue; }
      [ $set = enroll ] && reuse=$exp/$system/test/embedding.scp
      steps/extract.sh "${settings[@]}" --reuse "$reuse" --device "$device" "${jobs[@]}" \
        "$system" "$data/$source" "${models[@]}" "$exp/$system/$set"
    done
  fi
done

for system in $systems; do
  if stage 9 "$system: back end and scores"; then
    backend=
    [ "$system" = ivector ] && backend=${opt[kaldi-backend]}
    steps/score.sh --conf "$conf/backend.conf" --backend "$backend" --cmd "${opt[cmd]}" --force="$force" "$data" "$exp/$system"
  fi
done
if stage 9 "fusions of systems, where backend.conf has some"; then
  steps/fuse.sh --conf "$conf/backend.conf" --cmd "${opt[cmd]}" --force="$force" "$data" "$exp" "$systems"
fi

if stage 10 "metrics and report"; then
  for system in $systems; do need "$exp/$system/test/embedding.scp" 8; done
  # shellcheck disable=SC2086
  steps/report.sh --conf "$conf" --corpus "$corpus" --force="$force" "$data" "$exp" $systems
fi
finished=true
} &
supervise $! "$@"
}

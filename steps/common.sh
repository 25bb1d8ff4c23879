# Sourced by run.sh and the steps: messages, option parsing, stages, and mapping a tool over a data directory.

. "$(dirname "${BASH_SOURCE[0]}")/jobs.sh"

log() { echo "$(date '+%F %T') $*" >&2; }

die() { echo "error: $*" >&2; exit 1; }

# need FILE STAGE: stops unless FILE is there, and says from which stage on to run, on the screen and for the command that resumes.
need() {
  [ ! -s "$1" ] || return 0
  local from
  from=$(earliest "$2")
  [ -z "${PYASP_RERUN:-}" ] || echo "$from false" >>"$PYASP_RERUN"
  die "$1 is missing or empty: stage $2 makes it (./run.sh ... --stage $from)"
}

# earliest STAGE: the first of the stages in a row up to STAGE whose products are missing; those before it in run.sh, which has
#   `stages`, `data`, `exp` and perhaps `system`.
earliest() {
  local from='' each products=()
  [ ! -v stages ] || products=(prepare="$data/train/utt2spk" features="$data/train/vad.scp" augment="$data/train_aug/vad.scp" select="$data/train_sel/feats.scp")
  case ${stages:+${system:-}} in
    '') ;;
    ivector) [ -n "${opt[kaldi-ivector]}" ] || products+=(ubm="$exp/ubm/final.ubm" extractor="$exp/ivector/final.ie") ;;
    *) products+=(networks="$exp/$system/final.pt") ;;
  esac
  for each in "${products[@]}"; do
    [ ! -s "${each#*=}" ] || from=
    [ -s "${each#*=}" ] || from=${from:-${each%%=*}}
    [ "${each%%=*}" != "$1" ] || break
  done
  echo "${from:-$1}"
}

# need_vectors SYSTEM...: `need` of each system's vectors, before it stops for any.
need_vectors() {
  local system lacking=false
  for system in "$@"; do (need "$exp/$system/test/embedding.scp" embeddings) || lacking=true; done
  ! $lacking || exit 1
}

# parse_options TABLE FLAGS LISTS ARGS...: fills the associative array TABLE from `--a b` or `--a=b`; other words go to `words`.
#   FLAGS are options without a value (`--force`, also `--force=false`); values of LISTS add up, a newline after each.
# Nothing is evaluated. An unknown option or a missing value is an error that lists the options.
parse_options() {
  local -n _table=$1
  local flags=" $2 " lists=" $3 " known key value
  local -A given=()
  known=$(printf -- '--%s\n' "${!_table[@]}" | sort | tr '\n' ' ')
  shift 3
  words=()
  while [ $# -gt 0 ]; do
    [[ $1 == --* ]] || { words+=("$1"); shift; continue; }
    key=${1#--}
    value=${key#*=}
    [[ $key == *=* ]] && key=${key%%=*} || value=
    [[ $key =~ ^[a-z0-9][a-z0-9-]*$ && -v _table[$key] ]] || die "unknown option '$1'.$(near "$key" "${!_table[@]}") Options: $known"
    if [[ $1 != *=* ]]; then
      if [[ $flags == *" $key "* ]]; then
        value=true
        [[ ${2:-} == true || ${2:-} == false ]] && { value=$2; shift; }
      else
        [ $# -ge 2 ] || die "--$key needs a value. Options: $known"
        value=$2
        shift
      fi
    fi
    shift
    if [[ $lists == *" $key "* ]]; then _table[$key]+="$value"$'\n'; continue; fi
    [ "${given[$key]-$value}" = "$value" ] || echo "warning: --$key is given twice: '$value' counts, not '${given[$key]}'" >&2
    _table[$key]=$value given[$key]=$value
  done
}

# near WORD NAME...: which of some options a mistyped one may have meant, as the tools say it.
near() {
  python3 -c 'import difflib, sys; print(*(f" Did you mean --{name}?" for name in difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1)), end="")' "$@" 2>/dev/null || true
}

# check_number NAME VALUE [MIN [MAX]]: a whole number, or an error.
check_number() {
  [[ $2 =~ ^(0|[1-9][0-9]{0,9})$ ]] && [ "$2" -ge "${3:-0}" ] && [ "$2" -le "${4:-1000000000}" ] ||
    die "--$1 is '$2'; expected a whole number from ${3:-0}${4:+ to $4}"
}

# stage NAME TITLE: true when this stage is to be run; remembers it for the message on failure.
stage() {
  local number
  number=$(place_of "$1")
  [ "$first_stage" -le "$number" ] && [ "$number" -le "$last_stage" ] || return 1
  end_stage
  current_stage=$number stage_title=$2 stage_start=$EPOCHREALTIME
  export PYASP_STAGE=$1 PYASP_STAGE_TITLE=$2 # every tool adds a line with its time and memory
  log "stage $1: $2"
  say_state "$2"
}

# say_state TEXT: where a system of several is, for its line at the bottom of the screen; nothing: it has ended.
say_state() { [ "${PYASP_PROGRESS:-}" != lines ] || printf '\r%s\n' "${1:-}" >&2; }

# end_stage: the time of the stage that has just ended, as a line of EXP/log/stages.jsonl.
end_stage() {
  : || : # the first command of a trap on exit: where a signal ends bash as it waits, its status may be that of what it waited for
  [ -n "${stage_start:-}" ] || return 0
  local microseconds=$((${EPOCHREALTIME/[.,]/} - ${stage_start/[.,]/}))
  printf '{"stage": "%s", "title": "%s", "start": %s, "seconds": %d.%03d}\n' "$PYASP_STAGE" "${stage_title//[\"\\]/}" \
    "${stage_start/,/.}" $((microseconds / 1000000)) $((microseconds / 1000 % 1000)) >>"$exp/log/stages.jsonl" ||
    log "the time of stage $PYASP_STAGE could not be written to $exp/log/stages.jsonl"
  stage_start=
}

# spare_others EXP NAME...: a run writes over nothing that no run made: such names are an error; what else lies there is said.
spare_others() {
  local exp=$1 each over=() beside=()
  [ -d "$exp" ] && [ ! -e "$exp/.lock" ] || return 0
  [ -z "$(find "$exp" -maxdepth 4 -name '*.made.json' -print -quit 2>/dev/null)" ] || return 0 # of a run, copied
  for each in "${@:2}"; do # empty folders hold nothing
    [ -z "$(find "$exp/$each" ! -type d -print -quit 2>/dev/null)" ] || over+=("$each")
  done
  [ ${#over[@]} -eq 0 ] || die "--exp: $exp holds what no run made, and this one would write over (${over[*]}). Name another directory; nothing was changed"
  mapfile -t beside < <(ls -A "$exp")
  [ ${#beside[@]} -eq 0 ] || log "$exp: ${#beside[@]} files or folders that no run made (first: ${beside[0]}) stay as they are"
}

# hold_locks DATA EXP: one run at a time in these directories; the locks live as long as the stages and every job they started.
#   What a killed run left half-written is deleted.
hold_locks() {
  local each
  for each in "$1" "$2" "$2/log"; do
    mkdir -p "$each" 2>/dev/null && [ -w "$each" ] || die "$each cannot be made or cannot be written: $WRITABLE"
  done
  export PYASP_USAGE=$2/log/usage.jsonl PYASP_RERUN=$2/log/.rerun
  command -v flock >/dev/null || return 0
  exec 9>>"$1/.lock" 7>>"$2/.lock"
  flock --wait 5 9 || die "$1 is held by another run, or its jobs are still ending ($(tail -n 1 "$1/.lock")). Wait for it or stop it"
  flock --wait 5 7 || die "$2 is held by another run, or its jobs are still ending ($(tail -n 1 "$2/.lock")). Wait for it or stop it"
  rm -f "$PYASP_RERUN" "$2/log/.resume"
  find "$1" "$2" -regextype posix-extended -regex '.*/\.[^/]+\.[0-9]+\.tmp' -type f -delete # and no file of the user's own
  echo "process $$ since $(date '+%F %T')" | tee "$1/.lock" >"$2/.lock"
}

# once ARTEFACT COMMAND...: runs a command that makes an artefact, unless this very command has left it and nothing that it was
#   made from has changed since: known from its record alone, without what the command would import.
once() {
  local asked
  asked=$(python -m pyasp.core.records "$@") && return 0
  PYASP_ASKED=$asked "${@:2}"
}

# map_shards TOOL NAME DATA PREFIX OUT_SCP TABLES ARG...: the shards of DATA through a tool as a job array, then merged; `once`.
#   TOOL is a verb, with the word that names its command where it has several. The tool's positional arguments are DATA ARG...
#   PREFIX; TABLES are names of tables to merge beside the scp.
#   Reads from the caller: the options o (conf, reuse, cmd, nj, force, perhaps within, max-failed) and the array tool_options.
map_shards() {
  local tool=$1 name=$2 data=$3 prefix=$4 out=$5 tables=$6 table settings=() common
  while read -r table; do settings+=(--config "$table"); done <<<"${o[conf]%$'\n'}" # one, or one a line
  common=(--reuse "${o[reuse]}" --within "${o[within]:-}" --force "${o[force]}")
  once "$out" make_shards "$name" "$tables" "${o[max-failed]:-0}" "$data/dropped.tsv" "$tool" "${settings[@]}" "${common[@]}" "${tool_options[@]}" \
    "$data" "${@:7}" "$prefix"
}

# make_shards NAME TABLES MAX_FAILED DROPPED TOOL WORD...: of map_shards, whose variables it reads. Where another set holds all
#   recordings already, as that of the tests those of the enrolment, no job is started to find that out.
make_shards() {
  local job=JOB merge=()
  for table in $tables; do merge+=(--table "$table=$(dirname "$out")/$table"); done
  mkdir -p "$(dirname "$prefix")"
  while [[ "$* $out" == *"$job"* ]]; do job+=X; done # a word that is in no path
  holds_all "${o[reuse]}" "$data/utt2spk" || "${o[cmd]}" "$job=1:${o[nj]}" "$(dirname "$out")/log/$name.$job.log" python -m pyasp.bin.$tool --job "$job" --num-jobs "${o[nj]}" "${@:6}"
  python -m pyasp.bin.merge_shards "${common[@]}" --allow-fail-fraction "${o[max-failed]:-0}" "${merge[@]}" "$data" "$prefix" "$out"
}

# holds_all SCP UTT2SPK: whether every utterance is in a script file; no file holds none.
holds_all() { [ -s "$1" ] && awk 'NR == FNR {there[$1]; next} !($1 in there) {exit 1}' "$1" "$2"; }

# ---- of run.sh alone

# place_of STAGE: its place among the stages, counted from 0; fails for a name that is none. (In a trap on exit a bare
#   `return` would give the code of the exit.)
place_of() {
  local place
  for place in "${!stages[@]}"; do [ "${stages[place]}" != "$1" ] || { echo "$place"; return 0; }; done
  return 1
}

# stage_number OPTION: the place of the stage that --OPTION names, by name or number.
stage_number() {
  local value=${opt[$1]}
  if [[ $value =~ ^(0|[1-9][0-9]?)$ && -v stages[value] ]]; then echo "$value"; else
    place_of "$value" || die "--$1 is '$value'; expected one of: ${stages[*]}, or its number from 0 to $((${#stages[@]} - 1))"
  fi
}

# take_corpus_options: every option that a preparation declares becomes one of run.sh's, handed on to it as it is.
take_corpus_options() {
  local name kind
  while read -r name kind; do
    name=${name//_/-}
    [[ ! -v opt[$name] ]] || continue
    opt[$name]='' corpus_options+=("$name")
    case $kind in bool) flags+=" $name" ;; tuple) lists+=" $name" ;; esac
    [[ $kind != str && $kind != tuple || " size train-on lengths " == *" $name "* ]] || paths+=("$name")
  done < <(sed -nE 's/^    ([a-z0-9_]+): ([A-Za-z]+).* = option\(.*/\1 \2/p' local/*.py)
}

# from_caller NAME...: paths in these options mean what they mean in the directory in which run.sh was called; from elsewhere
#   they become absolute, so that messages show what works there.
from_caller() {
  local name
  [ "$caller" != "$PWD" ] || return 0
  log "relative paths in messages are below $PWD"
  for name in "$@"; do
    opt[$name]=$(while IFS= read -r value; do
      [[ -z $value || $value == /* ]] || value=$(realpath -ms -- "$caller/$value")
      echo "$value"
    done <<<"${opt[$name]}")
  done
}

# corpora: their names, from what prepares them.
corpora() { local each; for each in local/prep_*.py; do each=${each##*/prep_}; echo "${each%.py}"; done; }

# systems: `ivector`, and every network that has settings of its own in conf/systems or in the conf directory's systems/.
systems() {
  local each
  echo ivector
  for each in conf/systems/*.conf "$conf"/systems/*.conf; do [ ! -f "$each" ] || basename "$each" .conf; done | sort -u
}

# system_conf SYSTEM: its settings, read over the corpus's tdnn.conf; those in the conf directory come first.
system_conf() { if [ -f "$conf/systems/$1.conf" ]; then echo "$conf/systems/$1.conf"; else echo "conf/systems/$1.conf"; fi; }

# fit_conf: where conf files say `auto`, the training set decides; from here on they are read from DATA/conf.
fit_conf() {
  grep -rqsE '^--[a-z-]+=auto' "$conf" || return 0
  python -m pyasp.bin.fit "$conf" "$data/train" "$data/conf"
  conf=$data/conf
}

# check_options: the values of run.sh's options, before any work starts.
check_options() {
  local system name first last chosen exp=${opt[exp]:-exp/${opt[corpus]}}
  [ -f "local/prep_${opt[corpus]}.py" ] || die "--corpus is '${opt[corpus]}'; expected one of: $(corpora | xargs)"
  [ -d "$conf" ] || die "no conf directory $conf: give one of conf/* with --conf"
  for name in data musan rirs kaldi-ivector kaldi-backend "${paths[@]}"; do
    [[ $name != data && -z ${opt[$name]} ]] || [ "$(realpath -m "${opt[$name]:-data/${opt[corpus]}}")" != "$(realpath -m "$exp")" ] ||
      die "--$name and --exp are the same directory, $exp; give two"
  done
  read -rd '' -a chosen <<<"${opt[systems]}" || true # a word is no pattern of file names
  [ ${#chosen[@]} -gt 0 ] || die "--systems is empty; expected some of: $(systems | xargs)"
  for system in "${chosen[@]}"; do
    [[ $system == ivector || ($system =~ ^[A-Za-z0-9_-]+$ && ! $system =~ ^(ubm|log)$ && -f $(system_conf "$system")) ]] ||
      die "--systems has '$system'; expected some of: $(systems | xargs)." \
      "To add one, write its settings (--encoder, --pooling, ...) to $conf/systems/$system.conf"
  done
  opt[systems]=$(printf '%s\n' "${chosen[@]}" | awk '!seen[$0]++' | xargs)
  [ "$(wc -w <<<"${opt[systems]}")" -eq ${#chosen[@]} ] || echo "warning: --systems names one twice: '${opt[systems]}' are run" >&2
  # shellcheck disable=SC2086
  spare_others "$exp" ${opt[systems]} ubm log results.json RESULTS.md report.html det.png attention.npz
  first=$(stage_number stage)
  last=$(stage_number stop-stage)
  [ "$first" -le "$last" ] ||
    die "--stop-stage ${opt[stop-stage]} comes before --stage ${opt[stage]}: nothing would be run"
  given_models kaldi-ivector final.ubm final.ie
  given_models kaldi-backend mean.vec transform.mat plda
  check_number nj "${opt[nj]}" 1
  check_number seed "${opt[seed]}"
  [ "${opt[at-once]}" = auto ] || check_number at-once "${opt[at-once]}" 1
  [[ " auto cpu cuda " == *" ${opt[device]} "* ]] || die "--device is '${opt[device]}'; expected auto, cpu or cuda"
  [[ -f ${opt[cmd]} && -x ${opt[cmd]} ]] || die "--cmd is '${opt[cmd]}'; expected a job runner such as steps/run_jobs"
}

# given_models OPTION FILE...: models in place of trained ones are there before the hours that come before them.
given_models() {
  local name
  for name in "${@:2}"; do
    [ -z "${opt[$1]}" ] || [ -f "${opt[$1]}/$name" ] || die "--$1 is '${opt[$1]}'; expected a directory with ${*:2}: there is no $name in it"
  done
}

# feature_kinds: mfcc, which voice activity and i-vectors need, and what the settings of the chosen networks name beside it.
feature_kinds() {
  local system
  for system in $systems; do
    [ "$system" = ivector ] || sed -n 's/^--feature-type=\([a-z]*\).*/\1/p' "$conf/tdnn.conf" "$(system_conf "$system")" | tail -n 1
  done | awk 'BEGIN {print "mfcc"; seen["mfcc"] = 1} !seen[$0]++'
}

# make_features DATA FROM OPTION...: every kind of features; recordings of the data directory FROM, if any, are not made again.
make_features() {
  local kind sub
  for kind in $(feature_kinds); do
    [ "$kind" = mfcc ] && sub='' || sub=$kind/
    [ -f "$conf/$kind.conf" ] || die "no $conf/$kind.conf, which a system with --feature-type=$kind needs: copy one of conf/*/$kind.conf"
    steps/make_feats.sh --kind "$kind" --conf "$conf/$kind.conf" --reuse "${2:+$2/${sub}feats.scp}" "${jobs[@]}" "${@:3}" \
      --allow-commands="${opt[allow-commands]}" "$1"
  done
}

# train ARTEFACT LOG COMMAND...: `once`, one job with all threads; its output is on the screen and in the log.
train() { once "$1" "${opt[cmd]}" "${@:2}"; }

# share_features FROM DATA: the kinds beside MFCC for a data directory whose recordings are some of those of FROM.
share_features() {
  local kind
  [ -s "$2/utt2spk" ] || return 0
  for kind in $(feature_kinds | tail -n +2); do
    mkdir -p "$2/$kind"
    python -m pyasp.bin.merge_shards --reuse "$1/$kind/feats.scp" --force "$force" "$2" "$2/$kind/raw_$kind" "$2/$kind/feats.scp"
  done
}

# print_help: run.sh's own options; where a corpus was named, the options of that, which its preparation owns.
print_help() {
  local text numbered
  if [[ " ${arguments[*]}" == *" --corpus"* ]]; then
    . ./path.sh
    echo "./run.sh --corpus ${opt[corpus]} [--option value ...]; options that every corpus has: ./run.sh --help"
    python "local/prep_${opt[corpus]}.py" --help | tail -n +2
    return
  fi
  numbered=$(for each in "${!stages[@]}"; do printf '%d~%s  ' "$each" "${stages[each]}"; done)
  text=$(<steps/help.txt)
  text=${text/@corpora@/$(corpora | xargs | folded 47 33)}
  text=${text/@systems@/$(systems | xargs | folded 47 33)}
  echo "${text/@stages@/$(folded 66 14 <<<"$numbered" | tr '~' ' ')}"
}

# folded WIDTH INDENT: lines of at most so many characters, the first one without the indent.
folded() { fold -sw "$1" | sed "s/ *\$//; 2,\$s/^/$(printf "%$2s")/"; }

# share_machine SYSTEMS: sets `threads`, that each job of a system has, and `at_once`, how many systems work at the same time.
#   threads: by the cores and the number of systems, never by --at-once: results do not depend on that.
share_machine() {
  local memory
  memory=$(awk '/^MemAvailable/ {print int($2 / 3e6)}' /proc/meminfo 2>/dev/null)
  mapfile -t gpus < <(visible_gpus)
  threads=$((OMP_NUM_THREADS / $#)) at_once=${opt[at-once]}
  [ "$threads" -ge 1 ] || threads=1
  [ "$at_once" = auto ] || return 0
  at_once=$((OMP_NUM_THREADS / threads))
  [ "$at_once" -le "${memory:-1}" ] || at_once=$((memory > 1 ? memory : 1)) # 3 GB each
  [ ${#gpus[@]} -eq 0 ] || at_once=${#gpus[@]}
  [[ ${opt[cmd]} != *slurm_jobs ]] || at_once=$#
}

# visible_gpus: the GPUs of this machine that a run may use, one a line: those of CUDA_VISIBLE_DEVICES where that is set.
visible_gpus() {
  [[ ${opt[device]} != cpu && ${opt[cmd]} != *slurm_jobs ]] || return 0
  if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep . || true
  else nvidia-smi --list-gpus 2>/dev/null | sed -n 's/^GPU \([0-9]*\):.*/\1/p'; fi
}

screen=2 # where run.sh itself writes while systems work

# side_by_side FUNCTION NAME...: FUNCTION NAME for each, as many at a time as `at_once` says; then each line on the screen is
#   headed by the name, and on a terminal the lowest lines say where each is (not under Slurm, where logs do).
#   When one fails the others go on: what they finish is kept. Dies at the end, naming those that failed or were stopped.
side_by_side() {
  local run=$1 name slot most failed=() stopped=() slots=() names=() gpus=() painter='' others='' left
  shift
  end_stage # the last one before: each system has its own from here on
  share_machine "$@"
  most=$((at_once < $# ? at_once : $#))
  [ $# -eq 1 ] || log "$# systems, $most at a time, $threads of $OMP_NUM_THREADS threads each"
  if [ "$most" -gt 1 ] && [ -t 2 ] && [ "${TERM:-dumb}" != dumb ] && [[ ${opt[cmd]} != *slurm_jobs ]]; then
    exec {screen}> >(trap '' INT TERM; python -m pyasp.core.progress || exec cat >&2)
    painter=$!
  fi
  for name in "$@"; do
    slot=0
    while [ -n "${slots[slot]:-}" ] && ! dead "${slots[slot]}"; do # the first place that is free
      slot=$(((slot + 1) % most))
      [ "$slot" -ne 0 ] || sleep 0.3
    done
    end_of_slot
    if [ "$most" -eq 1 ]; then one_of_several "$run" "$name" "$slot" &
    else (one_of_several "$run" "$name" "$slot" 2>&1 | (trap '' TERM; exec sed -u "s/^/$name: /" >&"$screen")) & fi
    slots[slot]=$! names[slot]=$name
  done
  for slot in "${!slots[@]}"; do end_of_slot; done
  [ -z "$painter" ] || { exec {screen}>&-; screen=2; wait "$painter" || true; }
  left=$(($# - ${#stopped[@]} - ${#failed[@]}))
  [ "$left" -eq 0 ] || others="; the other systems went on to their end"
  [ ${#stopped[@]} -eq 0 ] || log "${stopped[*]}: asked to stop$others"
  [ ${#failed[@]} -eq 0 ] || die "${failed[*]} failed, see above$others"
  [ ${#stopped[@]} -eq 0 ] || exit 143
}

# end_of_slot: of side_by_side; how its process ended is asked for at once: a number may be another process's hours later.
end_of_slot() {
  [ -z "${slots[slot]:-}" ] || wait "${slots[slot]}" || case $? in
    143) stopped+=("${names[slot]}") ;;
    137) failed+=("${names[slot]} (killed)") ;;
    *) failed+=("${names[slot]}") ;;
  esac
}

# one_of_several FUNCTION NAME SLOT: in a process of its own, with its share of the machine.
one_of_several() (
  [ -z "$painter" ] || { exec {screen}>&-; export PYASP_PROGRESS=lines; }
  trap 'end_stage; say_state' EXIT
  export OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads
  [ ${#gpus[@]} -le 1 ] || export CUDA_VISIBLE_DEVICES=${gpus[$3 % ${#gpus[@]}]}
  jobs=(--cmd "${opt[cmd]}" --nj $(((opt[nj] + most - 1) / most)) --force="$force")
  "$1" "$2"
)

# resume_line: the command that goes on: from the stage that stopped, or from an earlier one and by force where a message said so.
resume_line() {
  local stage=$current_stage name forced place force='' word skip=false line=./run.sh
  [ "${caller:-$PWD}" = "$PWD" ] || printf -v line %q "$0" # as it was called, for the directory it was called in
  while read -r name forced; do
    place=$(place_of "$name") || place=$stage # a message from before the first stage
    [ "$place" -ge "$stage" ] || stage=$place
    [ "$forced" = false ] || force=' --force'
  done < <(cat "$PYASP_RERUN" 2>/dev/null)
  for word in "${arguments[@]}"; do
    if $skip; then skip=false; continue; fi
    case $word in
      --stage) skip=true ;;
      --stage=*) ;;
      --force) force=' --force' ;;
      *) printf -v line '%s %q' "$line" "$word" ;;
    esac
  done
  echo "  $line --stage ${stages[stage]}$force"
}

# on_exit: where the stages end before their end, whatever ends them: the command that goes on, which `supervise` prints.
on_exit() { end_stage; resume_line >"$exp/log/.resume"; }

# supervise GROUP: waits for the stages, a process group under its first process, and ends with its code. A signal to run.sh is
#   passed on; nothing of the run is alive behind it, or writes on behind a resumed one. The last words are the command that resumes.
supervise() {
  local group=$1 code=0 signal why resume told
  for signal in HUP INT TERM; do
    # shellcheck disable=SC2064
    trap "signal=$signal; kill -TERM -- -$group || true" "$signal"
  done
  signal=
  exec 7>&- 9>&- # the locks are the stages'
  exec {told}>&2 2>/dev/null # where bash shows the source of what a signal ended, at whichever command it hears of that
  until wait "$group"; code=$?; dead "$group"; do :; done
  trap '' HUP INT TERM
  if [ "$code" -ne 0 ]; then # what is left ends too (a training saves its checkpoint), within a minute: then the lock is free
    resume=$(grep . "$exp/log/.resume" || resume_line)
    kill -TERM -- "-$group" || true
    flock --wait 60 "$data/.lock" true || sleep 5
  fi
  kill -KILL -- "-$group" || true
  [ "$code" -ne 0 ] || exit 0
  [ -z "$signal" ] || code=$((128 + $(kill -l "$signal")))
  ! grep -qsx refused "$PYASP_RERUN" || exit "$code" # the command line itself is to be corrected: it leads nowhere as it was
  case $code in 129 | 130 | 143) why="asked to stop" ;; 137) why="a process was killed" ;; *) why="exit code $code" ;; esac
  printf '\nrun.sh stopped (%s). When the cause is mended, resume with:\n%s\n' "$why" "$resume" >&"$told" || true # the terminal may be gone
  exit "$code"
}

# Sourced by run.sh and the steps: messages, option parsing, stages, and mapping a tool over a data directory.

log() { echo "$(date '+%F %T') $*" >&2; }

die() { echo "error: $*" >&2; exit 1; }

# need FILE STAGE: stops unless FILE is there, and says which stage makes it.
need() { [ -s "$1" ] || die "$1 is missing or empty: stage $2 makes it (./run.sh ... --stage $2)"; }

# parse_options TABLE FLAGS LISTS ARGS...: fills the associative array TABLE from `--a b` or `--a=b`; other words go to `words`.
#   FLAGS are options without a value (`--force`, also `--force=false`); values of LISTS add up, a newline after each.
# Nothing is evaluated. An unknown option or a missing value is an error that lists the options.
parse_options() {
  local -n _table=$1
  local flags=" $2 " lists=" $3 " known key value
  known=$(printf -- '--%s\n' "${!_table[@]}" | sort | tr '\n' ' ')
  shift 3
  words=()
  while [ $# -gt 0 ]; do
    [[ $1 == --* ]] || { words+=("$1"); shift; continue; }
    key=${1#--}
    value=${key#*=}
    [[ $key == *=* ]] && key=${key%%=*} || value=
    [[ $key =~ ^[a-z0-9][a-z0-9-]*$ && -v _table[$key] ]] || die "unknown option '$1'. Options: $known"
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
    if [[ $lists == *" $key "* ]]; then _table[$key]+="$value"$'\n'; else _table[$key]=$value; fi
  done
}

# check_number NAME VALUE [MIN [MAX]]: a whole number, or an error.
check_number() {
  [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -ge "${3:-0}" ] && [ "$2" -le "${4:-1000000000}" ] ||
    die "--$1 is '$2'; expected a whole number from ${3:-0}${4:+ to $4}"
}

# stage N TITLE: true when stage N is to be run; remembers it for the message on failure.
stage() {
  [ "$first_stage" -le "$1" ] && [ "$1" -le "$last_stage" ] || return 1
  end_stage
  current_stage=$1 stage_title=$2 stage_start=$EPOCHREALTIME
  mkdir -p "$exp/log"
  export PYASP_USAGE=$exp/log/usage.jsonl PYASP_STAGE=$1 PYASP_STAGE_TITLE=$2 # every tool adds a line with its time and memory
  log "stage $1: $2"
}

# end_stage: the time of the stage that has just ended, as a line of EXP/log/stages.jsonl.
end_stage() {
  [ -n "${stage_start:-}" ] || return 0
  local microseconds=$((${EPOCHREALTIME/[.,]/} - ${stage_start/[.,]/}))
  printf '{"stage": %d, "title": "%s", "seconds": %d.%03d}\n' "$current_stage" "${stage_title//[\"\\]/}" \
    $((microseconds / 1000000)) $((microseconds / 1000 % 1000)) >>"$exp/log/stages.jsonl" ||
    log "the time of stage $current_stage could not be written to $exp/log/stages.jsonl"
  stage_start=
}

# hold_locks DATA EXP: one run at a time in these directories; the locks live as long as this run and every job it started.
#   What a killed run left half-written is deleted; what a killed run.sh leaves running is killed.
hold_locks() {
  local each
  for each in "$1" "$2"; do
    mkdir -p "$each" 2>/dev/null && [ -w "$each" ] ||
      die "$each cannot be made or cannot be written: mount it writable, mend its permissions, or name another (--data, --exp)"
  done
  command -v flock >/dev/null || return 0
  exec 9>>"$1/.lock" 7>>"$2/.lock"
  flock --wait 5 9 || die "$1 is held by another run, or its jobs are still ending ($(tail -n 1 "$1/.lock")). Wait for it or stop it"
  flock --wait 5 7 || die "$2 is held by another run, or its jobs are still ending ($(tail -n 1 "$2/.lock")). Wait for it or stop it"
  echo "process $$ since $(date '+%F %T')" | tee "$1/.lock" >"$2/.lock"
  export PYASP_RUN="$$ $EPOCHREALTIME"
  find "$1" "$2" -name '.*.tmp' -type f -delete
  kill_behind $$ "$1/.lock" >/dev/null 2>&1 </dev/null 7>&- 9>&- &
  watcher=$!
  disown "$watcher"
}

# map_shards TOOL NAME DATA PREFIX OUT_SCP TABLES ARG...: the shards of DATA through a tool as a job array, then merged.
#   The tool's positional arguments are DATA ARG... PREFIX; TABLES is a list of NAME=PATH to merge beside the scp.
#   Reads from the caller: the options o (conf, reuse, cmd, nj, force, perhaps within, max-failed) and the array tool_options.
map_shards() {
  local tool=$1 name=$2 data=$3 prefix=$4 out=$5 table common merge=() settings=()
  for table in $6; do merge+=(--table "$table"); done
  while read -r table; do settings+=(--config "$table"); done <<<"${o[conf]%$'\n'}" # one, or one a line
  shift 6
  common=(--reuse "${o[reuse]}" --within "${o[within]:-}" --force "${o[force]}")
  mkdir -p "$(dirname "$prefix")"
  "${o[cmd]}" JOB=1:"${o[nj]}" "$(dirname "$out")/log/$name.JOB.log" python -m "pyasp.bin.$tool" "${settings[@]}" \
    --job JOB --num-jobs "${o[nj]}" "${common[@]}" "${tool_options[@]}" "$data" "$@" "$prefix"
  python -m pyasp.bin.merge_shards "${common[@]}" --allow-fail-fraction "${o[max-failed]:-0}" "${merge[@]}" "$data" "$prefix" "$out"
}

# ---- of run.sh alone

# corpora: their names, from what prepares them.
corpora() { local each; for each in local/prep_*.py; do each=${each##*/prep_}; echo "${each%.py}"; done; }

# systems: `ivector`, and every network that has settings of its own in conf/systems or in the conf directory's systems/.
systems() {
  local each
  echo ivector
  for each in conf/systems/*.conf "$conf"/systems/*.conf; do [ ! -f "$each" ] || basename "$each" .conf; done
}

# system_conf SYSTEM: its settings, read over the corpus's tdnn.conf; those in the conf directory come first.
system_conf() { if [ -f "$conf/systems/$1.conf" ]; then echo "$conf/systems/$1.conf"; else echo "conf/systems/$1.conf"; fi; }

# check_options: the values of run.sh's options, before any work starts.
check_options() {
  local system
  [ -f "local/prep_${opt[corpus]}.py" ] || die "--corpus is '${opt[corpus]}'; expected one of: $(corpora | xargs)"
  [ -d "$conf" ] || die "no conf directory $conf: give one of conf/* with --conf"
  [ -n "${opt[systems]}" ] || die "--systems is empty; expected some of: $(systems | xargs)"
  for system in ${opt[systems]}; do
    [[ $system == ivector || ($system =~ ^[A-Za-z0-9_-]+$ && ! $system =~ ^(ubm|log)$ && -f $(system_conf "$system")) ]] ||
      die "--systems has '$system'; expected some of: $(systems | xargs)." \
      "To add one, write its settings (--encoder, --pooling, ...) to $conf/systems/$system.conf"
  done
  check_number stage "${opt[stage]}" 0 10
  check_number stop-stage "${opt[stop-stage]}" 0 10
  check_number nj "${opt[nj]}" 1
  check_number seed "${opt[seed]}"
  [[ " auto cpu cuda " == *" ${opt[device]} "* ]] || die "--device is '${opt[device]}'; expected auto, cpu or cuda"
  [[ -f ${opt[cmd]} && -x ${opt[cmd]} ]] || die "--cmd is '${opt[cmd]}'; expected a job runner such as steps/run_jobs"
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

# share_features FROM DATA: the kinds beside MFCC for a data directory whose recordings are some of those of FROM.
share_features() {
  local kind
  [ -s "$2/utt2spk" ] || return 0
  for kind in $(feature_kinds | tail -n +2); do
    mkdir -p "$2/$kind"
    python -m pyasp.bin.merge_shards --reuse "$1/$kind/feats.scp" --force "$force" "$2" "$2/$kind/raw_$kind" "$2/$kind/feats.scp"
  done
}

# print_help: run.sh's own options, then those of the corpus, which its preparation owns.
print_help() {
  cat steps/help.txt
  . ./path.sh
  echo
  echo "Options of --corpus ${opt[corpus]}, passed on to local/prep_${opt[corpus]}.py:"
  python "local/prep_${opt[corpus]}.py" --help
}

# wants SYSTEM: true when it is one of --systems, and its models are not given ready-made.
wants() { [[ " $systems " == *" $1 "* && -z ${opt[kaldi-ivector]} ]]; }

# resume_line STAGE ARGS...: the command that goes on from STAGE.
resume_line() {
  local stage=$1 word skip=false line=./run.sh
  for word in "${@:2}"; do
    if $skip; then skip=false; continue; fi
    case $word in
      --stage) skip=true ;;
      --stage=*) ;;
      *) printf -v line '%s %q' "$line" "$word" ;;
    esac
  done
  echo "  $line --stage $stage"
}

# on_exit CODE ARGS...: at the end of the stages; unless all are done, the command that resumes. A signal leaves code 0.
on_exit() {
  local code=$1 why="exit code $1"
  shift
  end_stage
  ${finished:-false} && return
  [ "$code" -ne 0 ] || why="asked to stop"
  { echo; echo "run.sh stopped in stage $current_stage ($why). When the cause is mended, resume with:"
    resume_line "$current_stage" "$@"; } >&2
}

# dead PID: true when a process has ended, even if nobody has waited for it yet.
dead() {
  local stat
  [ -r /proc/self/stat ] || { ! kill -0 "$1" 2>/dev/null; return; }
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  [[ ${stat##*) } == Z* ]]
}

# processes_of_run LOCK: every process but this shell that holds the lock: the stages, their steps, tools and jobs; and the
#   worker processes of Python tools, which do not hold it, by PYASP_RUN in their environment.
processes_of_run() {
  local found pid
  for found in /proc/[0-9]*/fd/9; do
    [ "$found" -ef "$1" ] || continue
    pid=${found#/proc/}
    [ "${pid%%/*}" = $$ ] || echo "${pid%%/*}"
  done
  while read -r found; do
    [[ $(readlink "${found%/environ}/exe") != *python* ]] || { pid=${found#/proc/}; echo "${pid%%/*}"; }
  done < <(grep -lzxaF "PYASP_RUN=${PYASP_RUN:-none}" /proc/[0-9]*/environ 2>/dev/null)
}

# stop_processes LOCK: asks what is left of the run to end (a training saves its checkpoint), and after a minute makes it.
stop_processes() {
  local turn pids
  for ((turn = 0; turn < 240; turn++)); do
    mapfile -t pids < <(processes_of_run "$1" 7>&- 9>&-)
    [ ${#pids[@]} -gt 0 ] || return 0
    [ "$turn" -gt 0 ] || kill -TERM "${pids[@]}" 2>/dev/null || true
    sleep 0.25 7>&- 9>&-
  done
  kill -KILL "${pids[@]}" 2>/dev/null || true
}

# kill_behind PID LOCK: waits until run.sh itself is dead, and kills what it left behind.
kill_behind() {
  local pids
  until dead "$1"; do sleep 0.5; done
  mapfile -t pids < <(processes_of_run "$2")
  [ ${#pids[@]} -eq 0 ] || kill -KILL "${pids[@]}" 2>/dev/null
}

# supervise PID ARGS...: waits for the process of the stages and ends with its code. A signal to run.sh is passed on; nothing
# of the run is alive behind it, or writes on behind a resumed one.
supervise() {
  local stages=$1 code=0 signal
  shift
  for signal in HUP INT TERM; do
    # shellcheck disable=SC2064
    trap "signal=$signal; kill -TERM $stages 2>/dev/null || true" "$signal"
  done
  signal=
  until wait "$stages"; code=$?; dead "$stages"; do :; done
  [ "$code" -eq 0 ] || stop_processes "$data/.lock"
  if [ "$code" -eq 137 ]; then # killed: it could not say so itself
    { echo; echo "run.sh: the process of the stages was killed. Resume with:"; resume_line "$first_stage" "$@"; } >&2
  fi
  [ -z "${watcher:-}" ] || kill -KILL "$watcher" 2>/dev/null || true
  [ -z "$signal" ] || code=$((128 + $(kill -l "$signal")))
  exit "$code"
}

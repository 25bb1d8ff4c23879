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
  export PYASP_USAGE=$exp/log/usage.jsonl PYASP_STAGE=$1 # every tool adds a line with its time and memory
  log "stage $1: $2"
}

# end_stage: the time of the stage that has just ended, as a line of EXP/log/stages.jsonl.
end_stage() {
  [ -n "${stage_start:-}" ] || return 0
  local microseconds=$((${EPOCHREALTIME/[.,]/} - ${stage_start/[.,]/}))
  printf '{"stage": %d, "title": "%s", "seconds": %d.%03d}\n' "$current_stage" "${stage_title//[\"\\]/}" \
    $((microseconds / 1000000)) $((microseconds / 1000 % 1000)) >>"$exp/log/stages.jsonl"
  stage_start=
}

# hold_locks DATA EXP: one run at a time in these directories; the locks live as long as this run and every job it started.
#   What a killed run left half-written is deleted.
hold_locks() {
  mkdir -p "$1" "$2"
  command -v flock >/dev/null || return 0
  exec 9>>"$1/.lock" 7>>"$2/.lock"
  flock --wait 5 9 || die "$1 is held by another run, or its jobs are still ending ($(tail -n 1 "$1/.lock")). Wait for it or stop it"
  flock --wait 5 7 || die "$2 is held by another run, or its jobs are still ending ($(tail -n 1 "$2/.lock")). Wait for it or stop it"
  echo "process $$ since $(date '+%F %T')" | tee "$1/.lock" >"$2/.lock"
  find "$1" "$2" -name '.*.tmp' -type f -delete
}

# map_shards TOOL NAME DATA PREFIX OUT_SCP TABLES ARG...: the shards of DATA through a tool as a job array, then merged.
#   The tool's positional arguments are DATA ARG... PREFIX; TABLES is a list of NAME=PATH to merge beside the scp.
#   Reads from the caller: the options o (conf, reuse, cmd, nj, force, perhaps within, max-failed) and the array tool_options.
map_shards() {
  local tool=$1 name=$2 data=$3 prefix=$4 out=$5 table common merge=()
  for table in $6; do merge+=(--table "$table"); done
  shift 6
  common=(--reuse "${o[reuse]}" --within "${o[within]:-}" --force "${o[force]}")
  mkdir -p "$(dirname "$prefix")"
  "${o[cmd]}" JOB=1:"${o[nj]}" "$(dirname "$out")/log/$name.JOB.log" python -m "pyasp.bin.$tool" --config "${o[conf]}" \
    --job JOB --num-jobs "${o[nj]}" "${common[@]}" "${tool_options[@]}" "$data" "$@" "$prefix"
  python -m pyasp.bin.merge_shards "${common[@]}" --allow-fail-fraction "${o[max-failed]:-0}" "${merge[@]}" "$data" "$prefix" "$out"
}

# ---- of run.sh alone

CORPORA="toy toy_sre12 folder voxceleb sre12"
SYSTEMS="ivector average attention statistics attentive_statistics"

# check_options: the values of run.sh's options, before any work starts.
check_options() {
  local system
  [[ " $CORPORA " == *" ${opt[corpus]} "* ]] || die "--corpus is '${opt[corpus]}'; expected one of: $CORPORA"
  [ -n "${opt[systems]}" ] || die "--systems is empty; expected some of: $SYSTEMS"
  for system in ${opt[systems]}; do
    [[ " $SYSTEMS " == *" $system "* ]] || die "--systems has '$system'; expected some of: $SYSTEMS"
  done
  check_number stage "${opt[stage]}" 0 10
  check_number stop-stage "${opt[stop-stage]}" 0 10
  check_number nj "${opt[nj]}" 1
  check_number seed "${opt[seed]}"
  [[ " auto cpu cuda " == *" ${opt[device]} "* ]] || die "--device is '${opt[device]}'; expected auto, cpu or cuda"
  [[ -f ${opt[cmd]} && -x ${opt[cmd]} ]] || die "--cmd is '${opt[cmd]}'; expected a job runner such as steps/run_jobs"
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

# on_exit CODE ARGS...: after a failure, the command that resumes.
on_exit() {
  local code=$1 word skip=false line=./run.sh
  shift
  end_stage
  [ "$code" -eq 0 ] && return
  for word in "$@"; do
    if $skip; then skip=false; continue; fi
    case $word in
      --stage) skip=true ;;
      --stage=*) ;;
      *) printf -v line '%s %q' "$line" "$word" ;;
    esac
  done
  { echo; echo "run.sh stopped in stage $current_stage (exit code $code). When the cause is mended, resume with:"
    echo "  $line --stage $current_stage"; } >&2
}

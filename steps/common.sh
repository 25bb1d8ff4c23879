# Sourced by run.sh and the steps: messages, option parsing, stages, and mapping a tool over a data directory.

log() { echo "$(date '+%F %T') $*" >&2; }

die() { echo "error: $*" >&2; exit 1; }

# need FILE STAGE: stops unless FILE is there, and says which stage makes it.
need() { [ -s "$1" ] || die "$1 is missing or empty: stage $2 makes it (./run.sh ... --stage $2)"; }

# parse_options TABLE FLAGS LISTS ARGS...: fills the associative array TABLE from `--a b` or `--a=b`.
#   FLAGS are options without a value (`--force`, also `--force=false`); values of LISTS add up, a newline between them.
# Nothing is evaluated. An unknown option, a missing value or a stray word is an error that lists the options.
parse_options() {
  local -n _table=$1
  local flags=" $2 " lists=" $3 " known key value
  known=$(printf -- '--%s\n' "${!_table[@]}" | sort | tr '\n' ' ')
  shift 3
  while [ $# -gt 0 ]; do
    [[ $1 == --* ]] || die "unexpected word '$1'. Options: $known"
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
  current_stage=$1
  log "stage $1: $2"
}

# map_shards NAME TOOL CONF DATA PREFIX OUT_SCP REUSE TABLES ARG...: TOOL over the shards of DATA as a job array, then merge.
#   The tool's positional arguments are DATA, ARG..., PREFIX; TABLES is a list of NAME=PATH; REUSE an scp or "".
#   Reads cmd nj force log_dir from the caller.
map_shards() {
  local name=$1 tool=$2 conf=$3 data=$4 prefix=$5 out=$6 reuse=$7 tables=$8 table
  shift 8
  local options=(--reuse "$reuse" --force "$force") merge=()
  for table in $tables; do merge+=(--table "$table"); done
  "$cmd" JOB=1:"$nj" "$log_dir/$name.JOB.log" python -m "pyasp.bin.$tool" --config "$conf" --job JOB --num-jobs "$nj" \
    "${options[@]}" "${tool_options[@]}" "$data" "$@" "$prefix"
  python -m pyasp.bin.merge_shards "${options[@]}" "${merge[@]}" "$data" "$prefix" "$out"
}

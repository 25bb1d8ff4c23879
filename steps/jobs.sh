# Sourced by common.sh and the job runners run_jobs and slurm_jobs: a runner's command line, [JOB=1:N] LOG COMMAND [ARG ...], what
# both say, and how processes end with those that started them.

WRITABLE="mount it writable, mend its permissions, or name another place (--data, --exp)"

usage_error() { echo "error: ${0##*/}: $*" >&2; exit 2; }

# parse_jobs WORDS...: sets job_name, first, last, array, log_pattern and command; makes the log's directory. As with Kaldi's
#   runners JOB may be called otherwise; a single command has no number, and its words stay what they are.
parse_jobs() {
  job_name='' first=1 last=1 array=false
  if [[ ${1:-} == JOB=* || ${1:-} =~ ^[A-Za-z][A-Za-z0-9]*=[0-9]+:[0-9]+$ ]]; then
    [[ $1 =~ ^([A-Za-z0-9]+)=([0-9]+):([0-9]+)$ ]] || usage_error "found '$1'; expected JOB=1:N"
    job_name=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]} array=true
    shift
  fi
  [ $# -ge 2 ] || usage_error "expected [JOB=1:N] LOG COMMAND [ARG ...]"
  log_pattern=$1 command=("${@:2}")
  mkdir -p "$(dirname "$log_pattern")" 2>/dev/null
  local job log
  for ((job = first; job <= last; job++)); do # a job without one would be told by what an older one says
    log=$(log_of "$job")
    [ ! -d "$log" ] || { echo "error: $log is a directory: move it away, a log is written there" >&2; exit 1; }
    { : >>"$log"; } 2>/dev/null || { echo "error: $log cannot be written: $WRITABLE" >&2; exit 1; }
  done
}

# words_for NAME NUMBER WORD...: sets `words`, with the number wherever the name stands between what is no letter and no digit:
#   split2/JOB/wav.scp, x.JOB.log, but not JOBS.
words_for() {
  local name=$1 number=$2 word before
  shift 2
  words=()
  for word in "$@"; do
    before='' word+=/ # then each match is the first place of its text
    while [[ -n $name && $word =~ (^|[^[:alnum:]])"$name"[^[:alnum:]] ]]; do
      before+=${word%%"${BASH_REMATCH[0]}"*}${BASH_REMATCH[1]}$number
      word=${BASH_REMATCH[0]: -1}${word#*"${BASH_REMATCH[0]}"}
    done
    words+=("$before${word%/}")
  done
}

# log_of NUMBER: the log of a job.
log_of() { local words; words_for "$job_name" "$1" "$log_pattern"; echo "${words[0]}"; }

report_failure() {
  local how="failed with exit code $2"
  [ "$2" -ne 143 ] || how="was asked to stop (exit code 143)"
  { echo; echo "A job $how. Its log: $1, last lines:"; tail -n 12 "$1" | sed 's/^/  | /'
    [ "$2" -ne 137 ] || echo "It was killed (SIGKILL): by the system if memory ran out (then lower --nj or --at-once, or --batch-size in tdnn.conf), else by hand."; } >&2
}

# dead PID [PARENT]: true when a process has ended, even if nobody has waited for it yet, or its parent has.
dead() {
  local stat
  if [ -r /proc/self/stat ]; then
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    stat=${stat##*) } # state, parent, ...
    [[ $stat == Z* || $stat != [A-Za-z]" ${2:+$2 }"* ]]
  else
    ! { kill -0 "$1" && kill -0 "${2:-$1}"; } 2>/dev/null
  fi
}

# end_with PID [PARENT]: the first act of a process group (of a subshell under `set -m`): a process in it kills all of it once PID,
#   or PID's parent, is dead. After a SIGTERM to the group the parent does not count: jobs may save what they have. Sets `watcher`.
end_with() {
  { trap '' HUP INT; trap 'set -- "$1"' TERM
    until dead "$@" && sleep 0.4 && dead "$@"; do sleep 0.4; done # twice: the signal may be on its way
    kill -KILL 0; } >/dev/null 2>&1 </dev/null 7>&- 9>&- &
  watcher=$!
  disown "$watcher"
}

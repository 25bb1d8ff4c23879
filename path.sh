# Environment only: sourced by run.sh, every step and tests/run.sh. Makes .venv from the pinned requirements on first use.

export LC_ALL=C
if [ -z "${OMP_NUM_THREADS:-}" ]; then
  OMP_NUM_THREADS=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
  export OMP_NUM_THREADS PYASP_THREADS="$OMP_NUM_THREADS" # a number that nobody asked for: a training may take another
fi
export MKL_NUM_THREADS="$OMP_NUM_THREADS" OPENBLAS_NUM_THREADS="$OMP_NUM_THREADS"
# glibc keeps up to 128 MB of freed memory: what each step frees would else be given back and faulted in again.
export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-33554432}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-134217728}"
PYASP_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || return 1
export PYASP_ROOT
export PYTHONPATH="$PYASP_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export MPLBACKEND=Agg

# Prints the first Python from 3.11 to 3.13 ($PYTHON if the user set it), or says what to install.
_find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  echo "error: no Python from 3.11 to 3.13 found (tried: ${PYTHON:-python3 python3.13 python3.12 python3.11};" \
       "python3 is $(python3 --version 2>&1 || true)). Install one (Debian 12, Ubuntu 24.04: apt install python3 python3-venv)" \
       "or name it: PYTHON=/path/to/python3.12 ./run.sh" >&2
  return 1
}

# _ready REQUIREMENTS: prints the marker that says these very requirements are installed completely.
_ready() { echo "$PYASP_ROOT/.venv/.ready-$(basename "$1" .txt)-$(sha256sum "$1" | cut -c 1-16)"; }

# _install REQUIREMENTS: into .venv, unless it is there already; a half-made environment is completed.
_install() {
  local marker
  marker=$(_ready "$1")
  [ -e "$marker" ] && return 0 # another process may have been faster
  echo "Installing the packages of ${1#"$PYASP_ROOT"/} into .venv (once; torch is large) ..." >&2
  if ! "$PYASP_ROOT/.venv/bin/python" -m pip install --disable-pip-version-check --requirement "$1" >&2; then
    echo "error: pip could not install ${1#"$PYASP_ROOT"/}; see its message above, then run the same command again" >&2
    return 1
  fi
  touch "$marker"
}

# _fault_of_venv: why this user cannot use the .venv of somebody else, and what the owner does: its python may lie where others
#   may not go, such as in a home directory of mode 700.
_fault_of_venv() {
  local python=$PYASP_ROOT/.venv/bin/python place
  place=$(readlink -m "$python")
  if [ -L "$python" ] && [ ! -x "$python" ]; then
    python=$place
    while [ "$place" != / ] && [ ! -e "$place" ]; do place=$(dirname "$place"); done # the last on the way that can be seen
    if [ -d "$place" ] && [ ! -x "$place" ]; then
      echo "cannot be used: its python is $python, and this user may not enter $place. Whoever owns it makes .venv with a Python that all may run (rm -r .venv; PYTHON=/usr/bin/python3 . ./path.sh) or opens $place (chmod o+x)"
      return
    fi
  fi
  echo "is not complete for this user: whoever owns it runs \`. ./path.sh\` there once"
}

# Makes .venv when it is missing or broken; only one process at a time does so.
_make_venv() {
  local python
  if ! "$PYASP_ROOT/.venv/bin/python" -c 'import pip' 2>/dev/null; then
    python=$(_find_python) || return 1
    echo "Making .venv with $("$python" --version) ..." >&2
    rm -rf "$PYASP_ROOT/.venv"
    if ! "$python" -m venv "$PYASP_ROOT/.venv" >&2; then
      echo "error: $python cannot make a virtual environment. Install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2
      rm -rf "$PYASP_ROOT/.venv"
      return 1
    fi
  fi
  _install "$PYASP_ROOT/conf/requirements.txt"
}

if [ ! -x "$PYASP_ROOT/.venv/bin/python" ] || [ ! -e "$(_ready "$PYASP_ROOT/conf/requirements.txt")" ]; then
  if command -v flock >/dev/null; then
    { exec 8>"$PYASP_ROOT/.venv.lock"; } 2>/dev/null || {
      echo "error: $PYASP_ROOT cannot be written, and its .venv $(_fault_of_venv), or clone it to a place of yours" >&2
      return 1
    }
    flock 8
    _make_venv || { exec 8>&-; return 1; }
    exec 8>&-
  else
    _make_venv || return 1
  fi
fi
export VIRTUAL_ENV="$PYASP_ROOT/.venv"
export PATH="$VIRTUAL_ENV/bin:$PATH"

# The command `pyasp <verb>`, in an interactive shell too, without installing the package.
pyasp() { python -m pyasp "$@"; }

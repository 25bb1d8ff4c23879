#!/usr/bin/env bash
# Sets up the environment and runs the tests in one process more than there are cores, of one thread each: some wait for a
# run that another makes. Arguments go to pytest (`tests/run.sh -k golden`, `-m slow`, `-n 0 --pdb`: in one process).
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
unset PYTHONDONTWRITEBYTECODE # hundreds of processes load what the first of them has compiled
. ./path.sh
_install "$PYASP_ROOT/conf/requirements-test.txt"
exec python -m pytest -n $(($(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile --no-loadscope-reorder "$@"

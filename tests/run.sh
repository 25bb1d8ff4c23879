#!/usr/bin/env bash
# Sets up the environment and runs the tests; arguments go to pytest (`tests/run.sh -k golden`, `tests/run.sh -m slow`).
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
_install "$PYASP_ROOT/conf/requirements-test.txt"
exec python -m pytest "$@"

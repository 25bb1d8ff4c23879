#!/usr/bin/env bash
# Form and structure of the code: format, a modest set of checks, types, shell scripts, and which package may import which.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
_install "$PYASP_ROOT/conf/requirements-lint.txt"
ruff format --check --quiet . || { echo "error: the files above are not formatted: run ruff format" >&2; exit 1; }
ruff check --quiet .
# Files that are sourced share variables: what is set in one is used in another (SC2034, SC2154).
shellcheck --shell=bash --severity=warning --exclude=SC2034,SC2154 --external-sources run.sh path.sh steps/*.sh steps/run_jobs steps/slurm_* tests/*.sh .ci/run
lint-imports --no-cache
python -m mypy

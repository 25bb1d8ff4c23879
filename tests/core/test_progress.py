"""Progress of several systems on one terminal."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from pyasp.core import progress

ROOT = Path(__file__).resolve().parents[2]


class Screen:
    """What a terminal shows: as much of one as `paint` uses; no line may be as wide as it or wider."""

    def __init__(self, columns=40):
        self.columns, self.rows, self.row = columns, [""], 0

    def write(self, text):
        for part in re.findall(r"\x1b\[\d*[AJ]|[\r\n]|[^\x1b\r\n]+", text):
            if part == "\n":
                self.row += 1
                self.rows += [""] * (self.row == len(self.rows))
            elif part.endswith("A") and part.startswith("\x1b"):
                self.row -= int(part[2:-1])
                assert self.row >= 0
            elif part == "\x1b[J":
                self.rows = [*self.rows[: self.row], ""]
            elif part != "\r":
                assert not self.rows[self.row] and len(part) < self.columns, part
                self.rows[self.row] = part

    def flush(self):
        pass


def test_each_system_has_one_line_below_what_is_said():
    screen, seen = Screen(), []

    def lines():
        for line in (
            "a: stage networks\n",
            "a: \rnetwork\n",
            "b: \rUBM 1%\n",
            "a: \repoch 1\n",
            "b: UBM: 64 Gaussians\n",
            "b: \n",
            f"b: \r{'long ' * 20}\n",
            "a: \r\n",
        ):
            yield line
            seen.append("\n".join(screen.rows).rstrip("\n"))

    progress.paint(lines(), screen, lambda: (40, 24))
    assert seen[3:] == [
        "a: stage networks\na: epoch 1\nb: UBM 1%",
        "a: stage networks\nb: UBM: 64 Gaussians\na: epoch 1\nb: UBM 1%",
        "a: stage networks\nb: UBM: 64 Gaussians\nb: \na: epoch 1\nb: UBM 1%",
        f"a: stage networks\nb: UBM: 64 Gaussians\nb: \na: epoch 1\n{('b: ' + 'long ' * 20)[:39]}",
        f"a: stage networks\nb: UBM: 64 Gaussians\nb: \n{('b: ' + 'long ' * 20)[:39]}",
    ]


def test_a_low_terminal_shows_as_many_lines_as_it_has():
    screen = Screen()
    progress.paint((f"{k}: \rworks\n" for k in range(9)), screen, lambda: (40, 4))
    assert screen.rows == [""]


def test_a_terminal_that_does_not_know_its_size_is_taken_for_a_usual_one():
    seen = []
    screen = Screen(80)
    screen.flush = lambda: seen.append("\n".join(screen.rows))
    progress.paint(["a: \rnetwork\n", f"b: \r{'long ' * 20}\n"], screen, lambda: (0, 0))
    assert "a: network\nb: long" in seen[1] and "long" * 20 not in seen[1]


@pytest.mark.parametrize("way, expected", [("lines", ["\rx:   0%", "\rx: 100%"]), ("", [])])
def test_states_of_a_bar_are_lines(monkeypatch, capsys, way, expected):
    monkeypatch.setenv("PYASP_PROGRESS", way)
    for _ in progress.bar(range(3), title="x"):
        pass
    assert [line.partition("|")[0] for line in capsys.readouterr().err.split("\n")[:-1]] == expected


SIDE_BY_SIDE = """
declare -A opt=([cmd]=steps/run_jobs [device]=cpu [at-once]=2 [nj]=2)
exp=$1 force=false OMP_NUM_THREADS=2 first_stage=0 last_stage=1 stages=(networks scores)
mkdir -p "$exp/log"
work() {
  stage networks "network: $1" || return 1
  "${opt[cmd]}" "$exp/log/$1.log" python -c "
from pyasp.core.progress import bar
for _ in bar(range(3), title='epoch'): pass
print('a detail')"
  "${opt[cmd]}" JOB=1:2 "$exp/log/$1.JOB.log" true
  [ "$1" != bad ]
}
side_by_side work good bad
"""


def on_a_terminal(script, *arguments, **environment):
    """(exit code, what a bash script with steps/common.sh writes on a terminal of 80 columns)."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", f"set -euo pipefail; stty cols 80 rows 24; . steps/common.sh; {script}", "bash", *arguments],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, **environment},
    ) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the last that held the terminal has ended
                break
            written += part
        code = process.wait(60)
    os.close(master)
    return code, written.decode().replace("\r\n", "\n")


def test_systems_side_by_side_on_a_terminal(tmp_path):
    code, written = on_a_terminal(SIDE_BY_SIDE, str(tmp_path / "exp"), TERM="xterm")
    screen = Screen(columns=1000)
    screen.write(written)
    shown = "\n".join(screen.rows)
    assert code == 1 and "error: bad failed" in screen.rows[-2]
    assert re.search(r"\x1b\[2A\r\x1b\[J", written)
    assert all(f"good: {state}" in written for state in ("network: good\n", "epoch: 100%", "1 of 2 jobs done\n"))
    assert "network: good\ngood" not in shown and "epoch" not in shown and "jobs done" not in shown
    log = (tmp_path / "exp/log/good.log").read_text()
    assert "a detail" in log and "epoch: " not in log and "\r" not in log


def test_the_command_that_resumes_stays_on_a_terminal(tmp_path):
    """Systems that are asked to stop still say where they are, below what run.sh says."""
    work = """work() { trap '' TERM; stage networks "network: $1"; : >"$exp/$1.begun"
        [ "$1" = good ] || { until [ -e "$exp/good.begun" ]; do sleep 0.05; done; kill -TERM $$; }
        for state in 1 2 3; do say_state "state $state"; sleep 0.2; done; }"""
    script = (
        SIDE_BY_SIDE[: SIDE_BY_SIDE.index("work()")]
        + work
        + """
        arguments=(--nj 2) current_stage=0 data=$exp/data; hold_locks "$data" "$exp"; set -m
        { end_with $$; trap on_exit EXIT; side_by_side work good bad; } </dev/null & supervise $!"""
    )
    _, written = on_a_terminal(script, str(tmp_path / "exp"), TERM="xterm")
    screen = Screen(columns=1000)
    screen.write(written)
    assert all(f"{name}: state 3" in written for name in ("good", "bad")) and "state" not in "".join(screen.rows)
    assert "  ./run.sh --nj 2 --stage networks" in screen.rows


@pytest.mark.parametrize("terminal", [True, False], ids=["a dumb terminal", "a file"])
def test_systems_side_by_side_where_no_line_can_be_rewritten(tmp_path, terminal):
    if terminal:
        _, written = on_a_terminal(SIDE_BY_SIDE, str(tmp_path / "exp"), TERM="dumb")
    else:
        command = ["bash", "-c", f"set -euo pipefail; . steps/common.sh; {SIDE_BY_SIDE}", "bash", str(tmp_path / "exp")]
        written = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60).stderr
    assert "\r" not in written and "\x1b" not in written
    heads = {line.partition(": ")[0] for line in written.splitlines() if "stage networks" in line}
    assert heads == {"good", "bad"} and "error: bad failed" in written

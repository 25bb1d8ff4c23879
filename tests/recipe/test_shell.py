"""The shell around the jobs: option parsing, the job runner, locks, messages on failure."""

import fcntl
import importlib
import importlib.util
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest
import torch
from faults import kills

from pyasp.core.options import REPEATABLE, option_fields, option_types

ROOT = Path(__file__).resolve().parents[2]


def bash(script, cwd=ROOT, **options):
    """Runs a bash script with steps/common.sh sourced; the finished process with its output."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; . {ROOT}/steps/common.sh; {script}"],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=60,
        **options,
    )


def parse(*words, flags="force", lists="trials"):
    quoted = " ".join(f"'{word}'" for word in words)
    return bash(
        f"declare -A o=([stage]=0 [root]='' [force]=false [trials]=''); parse_options o '{flags}' '{lists}' {quoted}; "
        'echo "stage=${o[stage]} root=${o[root]} force=${o[force]} words=${words[*]}"; printf \'%s\' "${o[trials]}"'
    )


def test_options_with_space_and_equals():
    assert parse("--stage", "3", "--root=a b=c", "--force").stdout == "stage=3 root=a b=c force=true words=\n"
    assert parse("--force=false", "--root", "--odd", "w").stdout == "stage=0 root=--odd force=false words=w\n"
    assert parse("--force", "true", "w").stdout == "stage=0 root= force=true words=w\n"
    assert parse("--trials", "a b", "--trials=c").stdout.splitlines()[1:] == ["a b", "c"]


def test_option_values_are_never_evaluated(tmp_path):
    for words in (("--root", f"$(touch {tmp_path}/evil)"), ("--root=`touch evil`;touch evil",)):
        assert parse(*words).returncode == 0 and not list(tmp_path.iterdir())


def test_of_an_option_given_twice_the_last_counts_and_that_is_said():
    assert not parse("--root", "a", "--root=a").stderr
    result = parse("--root", "a", "--root=b")
    assert result.returncode == 0 and "warning: --root is given twice: 'b' counts, not 'a'" in result.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        (["--stages", "3"], "unknown option '--stages'. Did you mean --stage? Options: "),
        (["--Stage", "3"], "unknown option '--Stage'. Did you mean --stage?"),
        (["--nothing", "3"], "unknown option '--nothing'. Options: "),
        (["--x[$(id)]=1"], "unknown option"),
        (["--stage"], "--stage needs a value"),
    ],
)
def test_bad_options_list_the_known_ones(words, message):
    result = parse(*words)
    assert result.returncode == 1 and message in result.stderr and "--root --stage --trials" in result.stderr


def run_jobs(*words, cwd):
    return subprocess.run([ROOT / "steps/run_jobs", *words], cwd=cwd, text=True, capture_output=True, timeout=60)


def test_an_array_of_jobs_writes_a_log_each(tmp_path):
    result = run_jobs("JOB=1:3", "log/x.JOB.log", "bash", "-c", "echo this is JOB; echo $OMP_NUM_THREADS", cwd=tmp_path)
    assert result.returncode == 0
    for job in "123":
        lines = (tmp_path / f"log/x.{job}.log").read_text().splitlines()
        assert lines[0].startswith("# bash -c") and lines[2:4] == [f"this is {job}", "1"]
        assert lines[-1].startswith("# ended with exit code 0 after")


@pytest.mark.parametrize(
    "word, became",
    [
        ("JOB", "7"),
        ("split2/JOB/wav.scp", "split2/7/wav.scp"),
        ("ark:x.JOB.ark", "ark:x.7.ark"),
        ("JOB.JOB-JOB_JOB/JOB", "7.7-7_7/7"),
        ("/data/JOBS/JOB", "/data/JOBS/7"),
        ("/JOB1/MYJOB/JOBs/OBJOB", "/JOB1/MYJOB/JOBs/OBJOB"),
        ("a JOB; b", "a 7; b"),
        ("*JOB/", "*7/"),
        ("", ""),
    ],
)
def test_the_word_job_becomes_the_number_and_no_part_of_a_word_does(word, became):
    assert (
        bash(f"log_pattern=x.JOB.log; . {ROOT}/steps/jobs.sh; words_for JOB 7 '{word}'; echo \"${{words[*]}}\"").stdout
        == f"{became}\n"
    )


def test_words_of_a_single_command_stay_and_the_number_may_have_another_name(tmp_path):
    assert run_jobs("x.JOB.log", "bash", "-c", "echo JOB > JOB", cwd=tmp_path).returncode == 0
    assert (tmp_path / "JOB").read_text() == "JOB\n" and (tmp_path / "x.JOB.log").exists()
    assert run_jobs("N=1:2", "x.N.log", "bash", "-c", "echo JOB N > N", cwd=tmp_path).returncode == 0
    assert (tmp_path / "2").read_text() == "JOB 2\n" and (tmp_path / "x.1.log").exists()


def test_paths_of_a_user_hold_whatever_they_hold(tmp_path):
    """A folder called JOB, or as the number is called."""
    place = tmp_path / "JOB" / "JOBX"
    script = (
        f"cd {tmp_path}; python() {{ [[ $2 != *records ]]; }}; export -f python; "
        "declare -A o=([cmd]="
        + str(ROOT)
        + "/steps/run_jobs [nj]=2 [reuse]='' [force]=false [conf]=''); tool_options=(); "
        f"map_shards make x '{place}' '{place}/x' '{place}/feats.scp' ''"
    )
    result = bash(script)
    logs = sorted(path.name for path in (place / "log").iterdir())
    assert result.returncode == 0 and logs == ["x.1.log", "x.2.log"], result.stderr
    assert all(
        f"--job {job} --num-jobs 2" in log and str(place) in log
        for job, log in zip("12", [(place / "log" / name).read_text() for name in logs])
    )


def test_a_log_whose_name_a_directory_has_is_told_before_any_job_starts(tmp_path):
    (tmp_path / "x.2.log").mkdir()
    result = run_jobs("JOB=1:2", "x.JOB.log", "touch", "JOB", cwd=tmp_path)
    assert result.returncode == 1 and "x.2.log is a directory: move it away" in result.stderr
    assert not (tmp_path / "1").exists()


def test_a_failed_job_is_shown_with_its_log_and_the_others_finish(tmp_path):
    script = "sleep 0.$((JOB * 2)); echo reason JOB; touch done.JOB; [ JOB != 2 ]"
    result = run_jobs("JOB=1:3", "x.JOB.log", "bash", "-c", script, cwd=tmp_path)
    assert result.returncode == 1
    assert "exit code 1. Its log: x.2.log" in result.stderr and "| reason 2" in result.stderr
    assert "1 of 3 jobs failed" in result.stderr and (tmp_path / "done.3").exists()


def test_a_screen_that_is_a_file_keeps_every_line_in_order(tmp_path):
    script = f"echo before; {ROOT}/steps/run_jobs log bash -c 'echo one; echo two >&2; echo three >&2'; echo after"
    with open(tmp_path / "screen", "w") as screen:
        subprocess.run(["bash", "-c", script], stdout=screen, stderr=subprocess.STDOUT, cwd=tmp_path, timeout=60)
    assert (tmp_path / "screen").read_text().split() == ["before", "two", "three", "after"]
    assert sorted((tmp_path / "log").read_text().splitlines()[2:5]) == [
        "one",
        "three",
        "two",
    ]  # details are there alone


def test_a_single_job_is_on_the_screen_and_in_the_log_without_progress_bars(tmp_path):
    result = run_jobs("x.log", "bash", "-c", r"printf '10%%\r50%%\rlast\n' >&2; echo error >&2; exit 3", cwd=tmp_path)
    assert result.returncode == 1 and "exit code 3" in result.stderr and "error" in result.stderr
    log = (tmp_path / "x.log").read_text().splitlines()
    assert log[2:4] == ["last", "error"] and "exit code 3" in log[-1]


def test_bad_calls_of_the_runner(tmp_path):
    assert "expected JOB=1:N" in run_jobs("JOB=1", "log", "true", cwd=tmp_path).stderr
    assert "expected [JOB=1:N] LOG COMMAND" in run_jobs("log", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    "victim, sign", [("caller", signal.SIGKILL), ("runner", signal.SIGKILL), ("runner", signal.SIGTERM)]
)
def test_no_job_outlives_its_run(tmp_path, victim, sign):
    """Whoever is killed, the jobs are gone soon: nothing writes on behind a resumed run."""
    script = f"{ROOT}/steps/run_jobs JOB=1:2 log.JOB bash -c 'echo $$ > pid.JOB; sleep 50; touch survived'; true"
    caller = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, stderr=subprocess.DEVNULL)
    pids = [wait_for_number(tmp_path / f"pid.{job}") for job in (1, 2)]
    target = caller.pid if victim == "caller" else parent_of(parent_of(pids[0]))
    os.kill(target, sign)
    assert wait_until(lambda: not any(alive(pid) for pid in pids))
    caller.kill()
    caller.wait()


def test_a_runner_that_is_stopped_waits_for_what_its_job_saves(tmp_path):
    """A run is over when its runners are: a training saves its checkpoint first, though nobody waits for the runner."""
    job = 'trap "sleep 1.5; touch saved; exit 143" TERM; echo $$ > pid; while :; do sleep 0.1; done'
    script = f"{ROOT}/steps/run_jobs log bash -c '{job}' & echo $! > runner; wait"
    caller = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for_number(tmp_path / "pid")
    runner = wait_for_number(tmp_path / "runner")
    os.kill(runner, signal.SIGTERM)
    caller.kill()
    caller.wait()
    assert wait_until(lambda: not alive(runner), 60) and (tmp_path / "saved").exists()
    assert "ended with exit code 143" in (tmp_path / "log").read_text()


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def wait_for_number(path):
    assert wait_until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_second_run_in_the_same_directory_says_who_holds_it(tmp_path):
    holder = subprocess.Popen(
        ["bash", "-c", f". {ROOT}/steps/common.sh; hold_locks {tmp_path}/data {tmp_path}/exp; sleep 50"],
        start_new_session=True,
    )
    try:
        assert wait_until(lambda: (tmp_path / "exp/.lock").exists() and (tmp_path / "exp/.lock").read_text())
        result = bash(f"hold_locks {tmp_path}/data {tmp_path}/exp")
        assert (
            result.returncode == 1
            and "held by another run" in result.stderr
            and f"process {holder.pid}" in result.stderr
        )
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    (tmp_path / "data" / ".feats.scp.123.tmp").write_text("half")
    assert bash(f"hold_locks {tmp_path}/data {tmp_path}/exp").returncode == 0
    assert not list(tmp_path.rglob("*.tmp"))


STAGES = """
. {root}/steps/common.sh
data={place}/data exp={place}/exp stages=(a b c d) current_stage=2 arguments=("$@")
hold_locks "$data" "$exp"
set -m
{{
end_with $$; trap on_exit EXIT; trap '' TTIN TTOU
current_stage=3
echo begun >&2
{work}
trap end_stage EXIT
}} </dev/null &
echo $! > {place}/stages
supervise $!
"""
STEP = """
bash -c 'python3 -c "import time; time.sleep(60)" 7>&- 9>&- & echo $! > {place}/worker; echo $$ > {place}/step; sleep 60; true'
"""
WORKERS = """
declare -A opt=([cmd]=steps/run_jobs [nj]=1 [device]=cpu [at-once]=2); OMP_NUM_THREADS=2 force=false
work() {{ {root}/steps/run_jobs {place}/log.$1 python3 -c "
import os, time
open('{place}/$1.tmp', 'w').write(str(os.getpid()))
os.rename('{place}/$1.tmp', '{place}/$1')
while not os.path.exists('{place}/go'): time.sleep(0.05)"; }}
side_by_side work x y
"""


RESUME = (
    "stages=(prepare features select); current_stage=2; arguments=({words}); PYASP_RERUN={place}/rerun; resume_line"
)


@pytest.mark.parametrize(
    "words, noted, line",
    [
        ("--stage select", "", "--stage select"),
        ("--stage=2 --nj 'a b' --force", "", "--nj a\\ b --stage select --force"),
        ("--stage select", "features false", "--stage features"),
        ("--stage select", "select true", "--stage select --force"),
        ("", "features false\nprepare true\nselect false", "--stage prepare --force"),
        ("--stage select", "- true", "--stage select --force"),
    ],
)
def test_the_command_that_resumes_goes_on_where_the_messages_said(tmp_path, words, noted, line):
    (tmp_path / "rerun").write_text(f"{noted}\n" if noted else "")
    assert bash(RESUME.format(words=words, place=tmp_path)).stdout == f"  ./run.sh {line}\n"


def test_paths_mean_what_the_shell_that_typed_them_means(tmp_path):
    """From another directory they become absolute, which is said; words, numbers and absolute paths stay."""
    run = (
        "declare -A opt=([data]=mine [trials]=$'a b\\n/x/y\\n' [root]=/abs [exp]=''); caller={}; cd {}; "
        "from_caller data trials root exp; declare -p opt"
    )
    script = f"{run.format(tmp_path, tmp_path)}; {run.format(tmp_path, ROOT)}; {run.format(ROOT / 'tests', ROOT)}"
    ran = bash(script)
    assert ran.stderr.count(f"relative paths in messages are below {ROOT}") == 2
    stay, go, below = ran.stdout.replace("$'a b\\n/x/y\\n'", '"a b\n/x/y\n"').split("declare -A")[1:]
    assert '[data]="mine"' in stay and '[root]="/abs"' in stay
    assert f'[data]="{tmp_path}/mine"' in go and f"{tmp_path}/a b" in go and "/x/y" in go and '[exp]=""' in go
    assert f'[data]="{ROOT}/tests/mine"' in below


def test_the_command_that_resumes_is_called_as_it_was(tmp_path):
    (tmp_path / "rerun").write_text("")
    script = f"caller={tmp_path}; {RESUME.format(words='', place=tmp_path)}"
    run = subprocess.run(
        ["bash", "-c", f". {ROOT}/steps/common.sh; {script}", "../a b/run.sh"], text=True, capture_output=True, cwd=ROOT
    )
    assert run.stdout == "  ../a\\ b/run.sh --stage select\n"


def test_blanks_in_directories_stay_in_the_words_of_a_step(tmp_path):
    """Tables are merged under the data directory's name, whatever that holds."""
    script = (
        "python() { [[ $2 != *records ]] || return 1; printf '%s\\n' \"$@\"; }; run() { :; }; declare -A o=([cmd]=run [nj]=1 [reuse]='' [force]=false [conf]=''); "
        f"tool_options=(); map_shards make x '{tmp_path}/my data' '{tmp_path}/my data/x' '{tmp_path}/my data/feats.scp' 'one two'"
    )
    words = bash(script).stdout.splitlines()
    assert [word for word in words if "=" in word] == [f"{name}={tmp_path}/my data/{name}" for name in ("one", "two")]
    assert words[-3:] == [f"{tmp_path}/my data{name}" for name in ("", "/x", "/feats.scp")]


def test_a_command_is_run_once_and_again_where_its_words_changed(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import sys; from pyasp.core.records import *; made = describe('t', {}, [])\n"
        "if not is_current(sys.argv[1], made):\n  with making(sys.argv[1], made) as path: path.write_text('')\n"
        "print('ran')\n"
    )
    script = f"once {tmp_path}/a python {tool} {tmp_path}/a"
    run = bash(
        f"export PYTHONPATH={ROOT}; set -e; {script}; {script}; {script} more; {script} more; once x false; echo never"
    )
    assert run.stdout == "ran\nran\n" and run.stderr.count("a: up to date") == 3 and run.returncode == 1


def test_no_job_is_started_for_what_another_set_holds(tmp_path):
    """Vectors of the test's recordings are the enrolment's too: merged, with no tool in between."""
    (tmp_path / "utt2spk").write_text("a-1 a\nb-1 b\n")
    (tmp_path / "other.scp").write_text("a-1 x.ark:4\nb-1 x.ark:44\nc-1 x.ark:84\n")
    script = f"""declare -A o=([conf]='' [reuse]={tmp_path}/other.scp [cmd]=job [nj]=2 [force]=false); tool_options=()
        job() {{ echo started; return 1; }}; cd {ROOT}; export PYTHONPATH={ROOT}
        map_shards extract extract {tmp_path} {tmp_path}/shards/e {tmp_path}/e.scp ''"""
    done = bash(script)
    assert done.returncode == 0 and "started" not in done.stdout, done.stderr
    assert (tmp_path / "e.scp").read_text() == "a-1 x.ark:4\nb-1 x.ark:44\n"
    for known in ("a-1 x.ark:4\n", ""):
        (tmp_path / "other.scp").write_text(known)
        assert "started" in bash(script).stdout


def test_what_is_missing_is_said_to_the_command_that_resumes(tmp_path):
    result = bash(f"export PYASP_RERUN={tmp_path}/rerun; need {tmp_path}/feats.scp features")
    assert result.returncode == 1 and "feats.scp is missing or empty: stage features makes it" in result.stderr
    assert (tmp_path / "rerun").read_text() == "features false\n"


@pytest.mark.parametrize(
    "there, stage, first",
    [
        ("", "extractor", "prepare"),
        ("train/utt2spk train/vad.scp train_aug/vad.scp", "extractor", "select"),
        ("train_sel/feats.scp", "extractor", "ubm"),  # what it was made from may be gone
        ("train_sel/feats.scp ubm/final.ubm", "extractor", "extractor"),
        ("train_sel/feats.scp", "select", "select"),  # another file of the stage is missing
        ("train_sel/feats.scp ubm/final.ubm ivector/final.ie", "embeddings", "embeddings"),
        ("train_sel/feats.scp", "embeddings", "ubm"),
        ("", "features", "prepare"),
    ],
)
def test_the_first_stage_of_those_whose_products_are_missing_is_said(tmp_path, there, stage, first):
    for name in there.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    run_sh = f"declare -A opt=([kaldi-ivector]=''); stages=(prepare) data={tmp_path} exp={tmp_path} system=ivector"
    assert bash(f"{run_sh}; earliest {stage}").stdout == f"{first}\n"
    assert bash(f"data=a; earliest {stage}").stdout == f"{stage}\n"  # in a step


def test_a_failure_in_a_function_still_prints_the_command_that_resumes(tmp_path):
    """A trap on exit has the code of the exit as that of a bare `return`."""
    script = (
        f"stages=(prepare features select); current_stage=2 arguments=(--nj 2) data={tmp_path}/data exp={tmp_path}/exp; "
        f"hold_locks $data $exp; failing() {{ need {tmp_path}/x prepare; }}; set -m; {{ trap on_exit EXIT; failing; }} & supervise $!"
    )
    last = "stopped (exit code 1). When the cause is mended, resume with:\n  ./run.sh --nj 2 --stage prepare\n"
    assert bash(script).stderr.endswith(last)


def test_every_stage_that_a_message_names_is_one_of_run_sh():
    listed = re.search(r"^stages=\((.*?)\)", (ROOT / "run.sh").read_text(), re.M)[1].split()
    named = [
        name
        for path in [*ROOT.glob("pyasp/**/*.py"), *ROOT.glob("local/*.py")]
        for name in re.findall(r'\brerun\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    ]
    assert len(named) > 30 and set(named) <= set(listed)


def test_stages_by_name_and_by_number():
    run = "declare -A opt=([stage]={}); stages=(prepare check features); stage_number stage"
    assert [bash(run.format(value)).stdout for value in ("prepare", "features", "1")] == ["0\n", "2\n", "1\n"]
    for bad in ("3", "08", "feature", "-1", "''"):
        result = bash(run.format(bad))
        assert result.returncode == 1 and "expected one of: prepare check features" in result.stderr


def test_every_option_of_a_preparation_is_one_of_run_sh():
    """What `./run.sh --corpus X --help` lists can be given."""
    for corpus in bash("corpora").stdout.split():
        declared = importlib.import_module(f"local.prep_{corpus}").main.options
        known = bash(
            "declare -A opt=(); corpus_options=() flags='' lists=''; take_corpus_options; echo ${!opt[@]}:$flags:$lists"
        )
        names, flags, lists = (part.split() for part in known.stdout.split(":"))
        for key, field in option_fields(declared).items():
            kind = option_types(declared)[field.name]
            assert key in names and (kind is bool) == (key in flags) and (kind == REPEATABLE) == (key in lists), key


def test_the_help_fits_on_a_screen_and_a_half():
    """Of 24 lines of 80 columns; it says all that run.sh takes but what a corpus owns."""
    script = (ROOT / "run.sh").read_text()
    table = re.search(r"^declare -A opt=\(\n.*?\)$", script, re.M | re.S)[0]
    stages = re.search(r"^stages=\(.*?\)", script, re.M)[0]
    shown = bash(f"{stages}; conf=conf/toy arguments=(--help); {table}; print_help").stdout
    assert len(shown.splitlines()) <= 36 and max(map(len, shown.splitlines())) <= 80
    names = re.findall(r"\[([a-z-]+)\]=", table)
    assert len(names) > 15 and [name for name in names if f"--{name}" not in shown] == []


def test_the_help_of_a_corpus_is_its_preparations():
    script = "declare -A opt=([corpus]=folder); arguments=(--help --corpus=folder); print_help"
    lines = bash(script, env={**os.environ, "COLUMNS": "120"}).stdout.splitlines()
    assert lines[0].startswith("./run.sh --corpus folder") and "Must be given: one of --root" in "".join(lines[:9])
    assert "usage: python" not in "".join(lines)


@pytest.mark.parametrize("corpus", bash("corpora").stdout.split())
def test_the_help_of_a_preparation_begins_with_what_must_be_given(corpus, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert importlib.import_module(f"local.prep_{corpus}").main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = [line for line in lines[:24] if "ust be given" in line]
    assert len(first) == 1 and ("--root" in first[0]) == ("toy" not in corpus)
    assert len(lines) <= 66 and max(map(len, lines)) <= 120
    heads = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert len(heads) >= 3 and heads[-2:] == ["Of every preparation:", "of every tool:"]


def hear_signals():
    """A shell cannot trap what its parent ignores: tests behind `nohup` or in the background."""
    for sign in (signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_DFL)


@pytest.mark.parametrize(
    "victim, sign, code",
    [
        ("run", signal.SIGHUP, 129),
        ("run", signal.SIGINT, 130),
        ("run", signal.SIGTERM, 143),
        ("run", signal.SIGKILL, -9),
        ("group", signal.SIGKILL, -9),
        ("group", signal.SIGINT, 130),
        ("stages", signal.SIGKILL, 137),
        ("step", signal.SIGKILL, 137),
    ],
)
def test_a_signal_stops_the_run_at_once_with_all_its_processes(tmp_path, victim, sign, code):
    """Whoever is killed, nothing of the run is alive behind it; who can still speak says how to resume."""
    run, numbers = start_stages(tmp_path, stderr=subprocess.PIPE, preexec_fn=hear_signals)
    os.kill({"run": run.pid, "group": -run.pid, **numbers}[victim], sign)
    told = run.communicate(timeout=30)[1]
    assert run.returncode == code and wait_until(lambda: not any(map(alive, numbers.values())), 60)
    if code != -9:
        assert f"esume with:\n  ./run.sh --nj a\\ b --stage {'c' if victim == 'stages' else 'd'}\n" in told
    assert bash(f"hold_locks {tmp_path}/data {tmp_path}/exp").returncode == 0


def start_stages(place, work=STEP, names=("step", "stages", "worker"), **streams):
    """A run whose last stage sleeps, with its step and the step's worker: the process, their numbers."""
    script = STAGES.format(root=ROOT, place=place, work=work.format(root=ROOT, place=place))
    (place / "run.sh").write_text("set -euo pipefail\n" + script)
    words = ["bash", place / "run.sh", "--nj", "a b"]
    run = subprocess.Popen(words, text=True, cwd=ROOT, start_new_session=True, **streams)
    return run, {name: wait_for_number(place / name) for name in names}


@pytest.mark.parametrize(
    "victim, sign, code",
    [
        ("group", signal.SIGINT, 130),  # Ctrl-C, to the group that a terminal has in front
        ("run", signal.SIGTERM, 143),
        ("x", signal.SIGTERM, 143),
        ("system of x", signal.SIGTERM, 143),
        ("x", signal.SIGKILL, 1),
    ],
)
def test_a_stop_of_systems_side_by_side_is_no_failure(tmp_path, victim, sign, code):
    """A stopped system is named, and those that were left alone go on."""
    run, numbers = start_stages(tmp_path, WORKERS, ("x", "y"), stderr=subprocess.PIPE, preexec_fn=hear_signals)
    system = parent_of(parent_of(parent_of(numbers["x"])))  # job, runner, system
    os.kill({"run": run.pid, "group": -run.pid, "system of x": system, **numbers}[victim], sign)
    if victim.endswith("x"):
        assert wait_until(lambda: not alive(numbers["x"])) and alive(numbers["y"])
        (tmp_path / "go").touch()
    told = run.communicate(timeout=60)[1]
    assert run.returncode == code and not any(map(alive, numbers.values()))
    why = "exit code 1" if code == 1 else "asked to stop"
    last = f"run.sh stopped ({why}). When the cause is mended, resume with:\n  ./run.sh --nj a\\ b --stage d\n"
    assert told.endswith(last) and ("failed, see above" in told) == (code == 1)
    assert "on_exit" not in told  # bash shows the source of what a signal ended
    assert ("x: asked to stop; the other systems went on" in told) == (victim.endswith("x") and code == 143)


def test_a_stop_says_how_to_resume_and_shows_no_source(tmp_path):
    """Even when run.sh hears of the stages' end at another command than its `wait`: bash then shows their source."""
    late = 'eval "$(declare -f dead | sed 1s/dead/is_dead/)"; dead() { sleep 0.5; is_dead "$@"; }'
    script = STAGES.replace("set -m\n", f"{late}\nset -m\n".replace("{", "{{").replace("}", "}}"))
    (tmp_path / "run.sh").write_text("set -euo pipefail\n" + script.format(root=ROOT, place=tmp_path, work="sleep 50"))
    words = ["bash", tmp_path / "run.sh"]
    run = subprocess.Popen(words, text=True, cwd=ROOT, stderr=subprocess.PIPE, preexec_fn=hear_signals)
    wait_for_number(tmp_path / "stages")
    assert run.stderr.readline() == "begun\n"
    run.terminate()
    told = run.communicate(timeout=60)[1]
    last = "\nrun.sh stopped (asked to stop). When the cause is mended, resume with:\n  ./run.sh --stage d\n"
    assert told in (last, f"Terminated\n{last}")  # the step's end, where its shell hears of that before its own signal


def test_a_run_that_is_killed_at_its_start_leaves_nothing(tmp_path):
    """At the instant after the stages began, and at many drawn ones: none is left, and the lock is free."""
    places = [tmp_path / str(number) for number in range(30)]
    rng, runs = random.Random(1), []
    for number, place in enumerate(places):
        place.mkdir()
        script = STAGES.format(root=ROOT, place=place, work=STEP.format(place=place))
        if number == 0:
            script = script.replace(f"echo $! > {place}/stages", "kill -KILL $$")
        (place / "run.sh").write_text("set -euo pipefail\n" + script)
        runs.append(subprocess.Popen(["bash", place / "run.sh"], cwd=ROOT, stderr=subprocess.DEVNULL))
        if number:
            wait_until((place / "exp/.lock").exists)
            time.sleep(0.03 * rng.random())
            runs[-1].kill()
    for place, run in zip(places, runs):
        assert run.wait(60) == -signal.SIGKILL and kills.left_alive(place, 40) == {}
        assert bash(f"hold_locks {place}/data {place}/exp").returncode == 0


def test_a_runner_that_is_killed_at_its_start_leaves_no_job(tmp_path):
    """Its first act behind the start of its jobs."""
    text = (ROOT / "steps/run_jobs").read_text()
    assert text.count("  pids+=($!)\ndone\n") == 1
    (tmp_path / "run_jobs").write_text(text.replace("  pids+=($!)\ndone\n", "done\nkill -KILL $$\n"))
    (tmp_path / "jobs.sh").write_text((ROOT / "steps/jobs.sh").read_text())
    run = subprocess.run(["bash", tmp_path / "run_jobs", "JOB=1:3", tmp_path / "log.JOB", "sleep", "60"], cwd=tmp_path)
    assert run.returncode == -signal.SIGKILL and kills.left_alive(tmp_path, 30) == {}


# A cluster in a directory: jobs begin at once. While there is a file `kill`, their runner is killed when they are taken.
SLURM = {
    "sbatch": """
while [[ $1 == --* ]]; do case $1 in --output=*) log=${1#*=} ;; --array=*) tasks=${1#*=} ;; esac; shift; done
export SLURM_JOB_ID=$$ ${tasks:+SLURM_ARRAY_JOB_ID=$$}
(for task in $(tr , ' ' <<<"${tasks:-0}"); do SLURM_ARRAY_TASK_ID=$task "$@" >>"${log//%a/$task}" 2>&1; done; touch "$FAKE/over.$$") >/dev/null 2>&1 &
[ ! -e "$FAKE/kill" ] || kill -KILL $PPID
echo $$
""",
    "squeue": """
for word in "$@"; do case $word in --jobs=*) id=${word#*=} ;; esac; done
[ ! -e "$FAKE/over.$id" ] || { echo "Invalid job id specified" >&2; exit 1; }
echo "RUNNING None"
""",
    "scancel": 'echo "$@" >>"$FAKE/cancelled"; for id in "$@"; do :; done; touch "$FAKE/over.$id"',
}


@pytest.fixture
def slurm_jobs(tmp_path):
    """Starts steps/slurm_jobs in a directory with such a cluster."""
    for name, script in SLURM.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    more = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAKE": str(tmp_path), "PYASP_SLURM_POLL": "0.1"}
    environment = {**os.environ, **more, "PYASP_SLURM_WAIT": "2", "PYASP_SLURM_RETRIES": "0"}
    return lambda *words: subprocess.Popen(
        [ROOT / "steps/slurm_jobs", *words], cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE
    )


def test_each_task_of_an_array_has_its_number_and_its_log(slurm_jobs, tmp_path):
    run = slurm_jobs("JOB=1:3", "x.JOB.log", "bash", "-c", "echo task JOB")
    assert run.wait(60) == 0, run.stderr.read()
    assert [(tmp_path / f"x.{task}.log").read_text().splitlines()[2] for task in (1, 2, 3)] == [
        f"task {task}" for task in (1, 2, 3)
    ]


def test_a_job_that_is_taken_from_a_killed_runner_does_not_begin(slurm_jobs, tmp_path):
    """Killed after Slurm has its job and before it knows the job's number."""
    (tmp_path / "kill").touch()
    assert slurm_jobs("x.log", "touch", "begun").wait(60) == -signal.SIGKILL
    assert wait_until(lambda: list(tmp_path.glob("over.*")))
    assert (
        not (tmp_path / "begun").exists()
        and "did not begin: ./.x.log.job does not name it" in (tmp_path / "x.log").read_text()
    )
    (tmp_path / "kill").unlink()
    again = slurm_jobs("x.log", "touch", "begun")
    assert again.wait(60) == 0 and (tmp_path / "begun").exists(), again.stderr.read()
    assert not (tmp_path / ".x.log.job").exists() and not (tmp_path / "cancelled").exists()


def test_a_resumed_runner_cancels_what_a_killed_one_left(slurm_jobs, tmp_path):
    """By its number and its name: the number may be another's job by now."""
    (tmp_path / ".x.log.job").write_text("17\n")
    assert slurm_jobs("x.log", "true").wait(60) == 0
    assert (tmp_path / "cancelled").read_text() == "--name=pyasp-x 17\n" and not (tmp_path / ".x.log.job").exists()


def test_a_run_started_at_once_after_a_killed_one_is_not_ended_with_it(tmp_path):
    """It waits until what was left is dead, and what ends that does not reach it."""
    run, numbers = start_stages(tmp_path, stderr=subprocess.DEVNULL)
    run.kill()
    script = f"data={tmp_path}/data exp={tmp_path}/exp; hold_locks $data $exp; set -m; {{ sleep 2; echo through; }} & supervise $!"
    assert bash(script).stdout == "through\n" and not any(map(alive, numbers.values()))
    run.wait()


@pytest.mark.parametrize("end", ["interrupt", "close"])
def test_a_terminal_never_stops_the_stages_and_ends_them(tmp_path, end):
    """Stages write to a terminal that stops background writers (`stty tostop`); Ctrl-C and closing it end the run."""

    def take_terminal():
        hear_signals()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        subprocess.run(["stty", "tostop"])

    master, terminal = pty.openpty()
    run, numbers = start_stages(
        tmp_path, preexec_fn=take_terminal, **dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    )
    os.close(terminal)
    assert b"begun" in os.read(master, 1000)
    if end == "interrupt":
        os.write(master, b"\x03")
    else:
        os.close(master)
    assert run.wait(30) == {"interrupt": 130, "close": 129}[end]
    assert wait_until(lambda: not any(map(alive, numbers.values())))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--corpus", "nowhere"], "--corpus is 'nowhere'; expected one of: folder"),
        (["--stage", "11"], "--stage is '11'; expected one of: prepare check "),
        (["--stage", "1;id"], "--stage is '1;id'; expected one of"),
        (["--systems", "xvector"], "--systems has 'xvector'"),
        (["--device", "tpu"], "expected auto, cpu or cuda"),
        (["--cmd", "rm"], "--cmd is 'rm'; expected a job runner"),
        (["--conf", "absent"], "no conf directory absent"),
        (["--nj", "0"], "--nj is '0'"),
        (["--nj", "08"], "--nj is '08'"),  # which the shell would read as octal
        (["--at-once", "99999999999999999999"], "--at-once is '99999999999999999999'"),
        (["--systems", " \t "], "--systems is empty"),
        (["--systems", "*"], "--systems has '*'"),
        (["toy"], "unexpected word 'toy'"),
        (["--stage", "select", "--stop-stage", "1"], "--stop-stage 1 comes before --stage select"),
        (
            ["--kaldi-ivector", "/nowhere"],
            "--kaldi-ivector is '/nowhere'; expected a directory with final.ubm final.ie",
        ),
        (
            ["--kaldi-backend", "conf"],
            "--kaldi-backend is 'conf'; expected a directory with mean.vec transform.mat plda",
        ),
    ],
)
def test_run_sh_checks_its_options_before_any_work(words, message):
    """The error is all: no command that resumes repeats what was refused."""
    result = subprocess.run([ROOT / "run.sh", *words], text=True, capture_output=True, timeout=60)
    assert result.returncode == 1 and message in result.stderr and "stage prepare" not in result.stderr
    assert result.stderr.count("\n") == 1 and "resume" not in result.stderr


def test_a_system_that_is_named_twice_is_run_once(tmp_path):
    places = [f"--data={tmp_path}/data", f"--exp={tmp_path}/exp"]
    words = [ROOT / "run.sh", "--systems", "average  attention\naverage", *places, "--stage", "report"]
    result = subprocess.run(words, text=True, capture_output=True, timeout=60)
    assert "warning: --systems names one twice: 'average attention' are run" in result.stderr
    assert [line for line in result.stderr.splitlines() if "is missing" in line] == [
        f"error: {tmp_path}/exp/{system}/test/embedding.scp is missing or empty: stage embeddings makes it "
        "(./run.sh ... --stage prepare)"
        for system in ("average", "attention")
    ]
    assert result.stderr.rstrip().endswith("--stage prepare")


@pytest.mark.parametrize("name", ["RESULTS.md", "average/notes", "log/old.log"])
def test_no_run_writes_over_what_lies_in_a_directory_given_as_exp(tmp_path, name):
    """What it would not write over stays, and is said; so is what a run left, which goes on."""
    mine, exp = tmp_path / "exp" / name, tmp_path / "exp"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (exp / ".draft.tmp").write_text("mine")
    words = [ROOT / "run.sh", "--exp", exp, "--data", tmp_path / "data", "--systems", "average", "--nj", "0"]
    ran = subprocess.run(words, text=True, capture_output=True, timeout=60)
    told = f"--exp: {exp} holds what no run made, and this one would write over ({name.split('/')[0]}). Name another"
    assert ran.returncode == 1 and told in ran.stderr and "resume" not in ran.stderr
    assert {path.name: path.read_text() for path in exp.rglob("*") if path.is_file()} == {
        mine.name: "mine",
        ".draft.tmp": "mine",
    }
    assert not (tmp_path / "data").exists()
    exp.rename(tmp_path / "beside")
    (exp / "thesis").mkdir(parents=True)
    ran = subprocess.run(words, text=True, capture_output=True, timeout=60)
    assert f"{exp}: 1 files or folders that no run made (first: thesis) stay as they are" in ran.stderr
    assert "--nj is '0'" in ran.stderr
    (exp / ".lock").touch()
    assert "no run made" not in subprocess.run(words, text=True, capture_output=True, timeout=60).stderr


def test_a_directory_that_is_read_is_no_place_for_an_experiment(tmp_path):
    words = [ROOT / "run.sh", "--corpus", "folder", "--root", tmp_path, "--exp", f"{tmp_path}/x/.."]
    ran = subprocess.run(words, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 1 and "--root and --exp are the same directory" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_only_files_of_a_killed_run_are_deleted(tmp_path):
    for name in ("exp/.draft.tmp", "exp/notes.1.tmp", "exp/a/.final.pt.77.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert bash(f"hold_locks {tmp_path}/data {tmp_path}/exp").returncode == 0
    assert sorted(path.name for path in tmp_path.rglob("*.tmp")) == [".draft.tmp", "notes.1.tmp"]


@pytest.mark.parametrize(
    "words, message",
    [
        ("--corpus folder --root {} --max-bad 20", "--max-bad: found 20; expected 0 to 1"),
        ("--corpus folder --targets=0", "--targets: found 0"),
        ("--corpus voxceleb --root {} --train-on=mine", "--train-on"),
        ("--corpus folder", "command line: found "),
        pytest.param(
            "--device cuda",
            "no usable CUDA device; expected one, for --device cuda",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it is there"),
        ),
    ],
)
def test_what_a_preparation_refuses_of_the_command_line_is_no_command_to_resume_with(tmp_path, words, message):
    (tmp_path / "wav").mkdir()
    places = ["--data", tmp_path / "data", "--exp", tmp_path / "exp", "--systems", "ivector"]
    ran = [ROOT / "run.sh", *places, *words.format(tmp_path / "wav").split()]
    result = subprocess.run(ran, text=True, capture_output=True, timeout=300)
    assert result.returncode and message in result.stderr and "resume with" not in result.stderr, result.stderr
    assert "Traceback" not in result.stderr and not (tmp_path / "data/prep.json").exists()


def test_run_sh_is_a_table_of_contents():
    lines = (ROOT / "run.sh").read_text().splitlines()
    named = next(line for line in lines if line.startswith("stages=("))[len("stages=(") :].partition(")")[0].split()
    stages = [found[1] for line in lines if (found := re.search(r"\bstage ([a-z]+) \".*; then$", line))]
    assert len(lines) <= 150 and set(stages) == set(named)


@pytest.fixture
def bare_root(tmp_path):
    """A project root with nothing but path.sh, requirements that need no network, and a `python3` whose new environments
    have our pip: to install one takes seconds each time."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "path.sh").write_text((ROOT / "path.sh").read_text())
    pip = Path(importlib.util.find_spec("pip").origin).parent
    (tmp_path / "python3").write_text(f"""#!/bin/sh
python={Path(sys.executable).resolve()}
[ "$2" != venv ] || {{ "$python" -m venv --without-pip "$3" && exec ln -s "{pip}" "$3"/lib/python3.*/site-packages/; }}
exec "$python" "$@"
""")
    (tmp_path / "python3").chmod(0o755)
    return tmp_path


def source_path(root, **environment):
    return subprocess.run(
        ["bash", "-c", f"set -e; . {root}/path.sh; command -v python"],
        text=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_the_environment_is_made_once_and_repaired(bare_root):
    python = {"PYTHON": str(bare_root / "python3")}
    first = source_path(bare_root, **python)
    assert (
        first.returncode == 0
        and "Making .venv" in first.stderr
        and first.stdout.strip() == f"{bare_root}/.venv/bin/python"
    )
    assert source_path(bare_root).stderr == ""
    (bare_root / ".venv" / "bin" / "python").unlink()
    (bare_root / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    repaired = source_path(bare_root, **python)
    assert repaired.returncode == 0 and "Making .venv" in repaired.stderr
    assert subprocess.run([bare_root / ".venv/bin/python", "-c", "import pip"]).returncode == 0
    (bare_root / "conf" / "requirements.txt").write_text("# changed\n")
    assert "Installing the packages of conf/requirements.txt" in source_path(bare_root).stderr


def test_a_missing_or_old_python_is_named_with_the_cure(bare_root):
    old = bare_root / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = source_path(bare_root, PYTHON=str(old))
    assert (
        result.returncode != 0
        and "no Python from 3.11 to 3.13 found" in result.stderr
        and "apt install" in result.stderr
    )
    assert not (bare_root / ".venv").exists()


def test_a_clone_that_cannot_be_written_says_so(bare_root):
    (bare_root / ".venv.lock").mkdir()  # which root cannot write either
    result = source_path(bare_root)
    assert result.returncode != 0 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        f"error: {bare_root} cannot be written, and its .venv is not complete for this user"
    )


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root, to be another user")
def test_a_python_that_this_user_may_not_reach_is_named_with_its_directory(bare_root):
    """As pyenv's below /root, of mode 700: the owner running path.sh again would change nothing."""
    with tempfile.TemporaryDirectory() as place:  # not below pytest's, where others may not go
        root = Path(place, "clone")
        shutil.copytree(bare_root, root)
        home = root / "home"
        (home / "bin").mkdir(parents=True)
        (home / "bin/python3.12").touch(0o755)
        (root / ".venv/bin").mkdir(parents=True)
        (root / ".venv/bin/python").symlink_to(home / "bin/python3.12")
        for path, mode in ((Path(place), 0o755), (root, 0o755), (home, 0o700)):
            path.chmod(mode)
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", f"cd /; . {root}/path.sh"]
        ran = subprocess.run(words, text=True, capture_output=True, timeout=60)
    assert ran.returncode != 0 and ran.stderr.count("\n") == 1
    cause = f"its python is {home}/bin/python3.12, and this user may not enter {home}. Whoever owns it makes .venv with"
    assert f"error: {root} cannot be written, and its .venv cannot be used: {cause}" in ran.stderr
    assert f"or opens {home} (chmod o+x), or clone it" in ran.stderr and "once" not in ran.stderr


SYSTEMS = """
declare -A opt=([cmd]=run [nj]=4 [device]=cpu [at-once]={at_once}) exp={place}
force=false stages=(a b) first_stage=0 last_stage=1 current_stage=0 PYASP_RERUN={place}/rerun
work() {{ echo "$1 $OMP_NUM_THREADS ${{jobs[*]}}"; touch {place}/$1; sleep 0.4; ls {place}/?* | wc -l >{place}/seen.$1; [ "$1" != "{bad}" ]; }}
export OMP_NUM_THREADS=4
side_by_side work x y z
"""


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_systems_side_by_side(tmp_path, at_once):
    """As many at a time as asked for, with the same threads whatever that number is; each line says whose it is."""
    result = bash(SYSTEMS.format(place=tmp_path, at_once=at_once, bad=""))
    assert result.returncode == 0, result.stderr
    said = [line for line in (result.stderr + result.stdout).splitlines() if line.startswith(("x", "y", "z"))]
    head = "{0}: {0}" if at_once > 1 else "{0}"
    assert sorted(said) == [f"{head.format(name)} 1 --cmd run --nj {-(-4 // at_once)} --force=false" for name in "xyz"]
    assert f"3 systems, {at_once} at a time, 1 of" in result.stderr


@pytest.mark.parametrize("visible, devices", [(None, {"0", "1"}), ("3,5", {"3", "5"}), ("3", {"3"})])
def test_a_gpu_each(tmp_path, visible, devices):
    """Two systems at a time on two GPUs, on those alone that the user left visible."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A (UUID: y)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    script = SYSTEMS.format(place=tmp_path, at_once="auto", bad="").replace("[device]=cpu", "[device]=auto")
    script = script.replace('echo "$1 $OMP', f'echo "$CUDA_VISIBLE_DEVICES" > {tmp_path}/gpu.$1; echo "$1 $OMP')
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    result = bash(script, env=environment)
    assert f"3 systems, {len(devices)} at a time" in result.stderr, result.stderr
    assert {path.read_text().strip() for path in tmp_path.glob("gpu.*")} == devices


def test_the_end_of_a_system_is_asked_for_before_the_next_starts(tmp_path):
    """Hours later its process number may be another's, and the shell no longer know how it ended."""
    ask = 'wait() { echo "asked for $1"; builtin wait "$@"; }\n'
    result = bash(ask + SYSTEMS.format(place=tmp_path, at_once=1, bad="x"))
    said = [line.partition(" ")[0] for line in result.stdout.splitlines()]
    assert said[:4] == ["x", "asked", "y", "asked"] and sorted(said[4:]) == ["asked", "z"]
    assert result.returncode == 1 and "error: x failed, see above" in result.stderr


def test_a_failed_system_is_named_and_the_others_end(tmp_path):
    result = bash(SYSTEMS.format(place=tmp_path, at_once=2, bad="y"))
    assert result.returncode == 1 and "error: y failed, see above" in result.stderr
    assert {"x", "y", "z", "seen.x", "seen.y", "seen.z"} <= {path.name for path in tmp_path.iterdir()}
    assert "the other systems went on to their end" in result.stderr
    result = bash(SYSTEMS.format(place=tmp_path, at_once=2, bad="").replace('[ "$1" != "" ]', "false"))
    assert re.search("error: [xyz] [xyz] [xyz] failed, see above\n", result.stderr)
    killed = SYSTEMS.format(place=tmp_path, at_once=2, bad="").replace('[ "$1" != "" ]', "kill -KILL $BASHPID")
    assert re.search("error: ([xyz] .killed. ?){3} failed, see above\n", bash(killed).stderr)


def test_each_stage_has_one_time_where_systems_work_side_by_side(tmp_path):
    """The last stage before them is theirs no more: it ended once, under its own name."""
    script = f"""
declare -A opt=([cmd]=run [nj]=4 [device]=cpu [at-once]=2) exp={tmp_path}
force=false stages=(select networks) first_stage=0 last_stage=1 current_stage=0
mkdir "$exp/log"
work() {{ if stage networks "network: $1"; then :; fi; }}
if stage select "choose"; then :; fi
current_stage=1
side_by_side work x y
"""
    result = bash(script)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "log/stages.jsonl").read_text().splitlines()]
    assert sorted((row["stage"], row["title"]) for row in rows) == [
        ("networks", "network: x"),
        ("networks", "network: y"),
        ("select", "choose"),
    ]
    assert all(row["start"] > 1e9 and row["seconds"] >= 0 for row in rows)

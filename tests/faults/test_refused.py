"""What the system refuses - disk, permission, open files, memory - is told with the file and the way out; nothing under
a final name is damaged, and the same command completes the work afterwards."""

import contextlib
import importlib
import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import kills
import pytest
import recipe

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write

CONF = recipe.ROOT / recipe.CONF
QUICK = ("merge_shards", "vad copy", "select train", "score train", "score list", "evaluate", "check")
FULL = (
    "make_mfcc",
    "vad compute",
    "augment",
    "select dev",
    "train_ubm",
    "train_ivector",
    "train_tdnn",
    "extract ivector",
    "extract network",
    "score adapt",
    "score normalise",
    "score calibrate",
    "report",
    "prep_toy",
)


@contextlib.contextmanager
def limited(kind, value):
    """A lower limit on this process, for a while."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def conf(name):
    return ["--config", str(CONF / f"{name}.conf")]


def copied(source, target, *names):
    """Some files of a directory, elsewhere."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(source / name, target / name)
    return target


def commands(d, e, out):
    """{tool: its words}: every tool of the recipe that writes, from the files of a finished run into `out`."""
    x = e / "statistics"
    aug = copied(d / "train_aug", out / "aug", "utt2clean", "utt2num_frames")
    (out / "speakers").write_text("".join(f"{speaker}\n" for speaker in sorted(set(kills_speakers(d / "train")))[:4]))
    copied(x / "scores", out / "exp/statistics/scores", "veri_test", "veri_test.made.json")
    copied(e / "attention", out / "exp/attention", "final.pt")
    for name in ("train", "enroll", "test", "trials"):
        shutil.copytree(d / name, out / "data" / name, ignore=shutil.ignore_patterns("*.ark", "log"))
    (out / "data/train/spk2utt").unlink()  # which the check makes again
    return {
        "check": ["data", out / "data"],
        "make_mfcc": [*conf("mfcc"), d / "test", out / "mfcc/raw"],
        "vad compute": [*conf("vad"), d / "test", out / "vad/vad"],
        "merge_shards": [
            "--table",
            f"utt2dur={out}/utt2dur",
            d / "train",
            d / "train/mfcc/raw_mfcc",
            out / "feats.scp",
        ],
        "augment": [*conf("augment"), d / "train", out / "train_aug"],
        "vad copy": [d / "train", aug],
        "select train": [*conf("select"), d / "train", d / "train_aug", out / "train_ubm", out / "train_sel"],
        "select dev": [*conf("backend"), "--dev-min-voiced=10", d / "train", out / "speakers", out / "dev"],
        "train_ubm": [*conf("ubm"), "--frontend-config", CONF / "ivector.conf", d / "train_ubm", out / "ubm"],
        "train_ivector": [*conf("ivector"), d / "train_ubm", e / "ubm", out / "ivector"],
        "train_tdnn": [*conf("tdnn"), "--epochs=1", d / "train_sel", out / "net"],
        "extract ivector": [*conf("ivector"), d / "test", e / "ubm", e / "ivector", out / "ivectors/x"],
        "extract network": [*conf("tdnn"), d / "test", x / "final.pt", out / "embeddings/x"],
        "score train": [*conf("backend"), x / "train/embedding.scp", d / "train_sel/utt2spk", out / "backend"],
        "score adapt": [*conf("backend"), x / "backend", x / "test/embedding.scp", out / "adapted"],
        "score list": [
            *conf("backend"),
            x / "enroll/embedding.scp",
            d / "enroll/model2utts",
            x / "test/embedding.scp",
            x / "backend",
            d / "trials/veri_test",
            out / "scores/veri_test",
        ],
        "score normalise": [*conf("backend"), d, x, x / "backend", x, out / "snorm"],
        "score calibrate": [*conf("backend"), "--train-on=halves", d, out / "calhalf", x],
        "evaluate": ["--replicates=0", d / "trials", out / "exp/statistics"],
        "report": ["--replicates=0", d / "trials", out / "exp", "statistics"],
        "prep_toy": ["--size=tiny", "--data", out / "prepared"],
    }


def kills_speakers(data):
    return [line.split()[1] for line in (data / "utt2spk").read_text().splitlines()]


def call(tool, words):
    """The exit code of a tool, in this process."""
    package = "local" if tool.startswith("prep_") else "pyasp.bin"
    verb, *action = tool.split()
    main = importlib.import_module(f"{package}.{verb}").main
    return (main.actions[action[0]] if action else main)([str(word) for word in words])


def files(where):
    """{name: bytes} of what a tool leaves; `.make_toy` says that the toy is in the making, and goes at its end."""
    return {path: path.read_bytes() for path in where.rglob("*") if path.is_file() and path.name != ".make_toy"}


def grown(path, before, after):
    """True for a log that went on: what it held is still there."""
    if path.name == "likelihood.json":
        old, new = json.loads(before), json.loads(after)
        return all(new[name] == value for name, value in old.items())
    return path.suffix in (".jsonl", ".tsv") and after.startswith(before)


def check_refused(capsys, tool, words, out, limit, *texts):
    """The tool fails with one message that holds `texts`; then, unlimited, it completes and what was there stays."""
    if tool == "report":
        assert call("evaluate", [*words[:2], out / "exp/statistics"]) == 0
    capsys.readouterr()
    with limit:
        code = call(tool, words)
    told = capsys.readouterr().err
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in told, told
    assert all(re.search(text, errors[0]) for text in texts), errors
    assert re.search(r"(Raise|Make room|Mend|Free).*run the same command again", errors[0]), errors
    before = files(out)
    assert not [path for path in before if path.name.endswith(".tmp")]
    assert call(tool, words) == 0, capsys.readouterr().err
    after = files(out)
    assert set(before) <= set(after)
    damaged = [path for path in before if before[path] != after[path] and not grown(path, before[path], after[path])]
    assert damaged == [] or tool in ("check", "report"), damaged


@pytest.mark.parametrize("tool", [*QUICK, *(pytest.param(tool, marks=pytest.mark.reliability) for tool in FULL)])
def test_no_room_for_a_file(finished, tmp_path, capsys, tool):
    """A limit on the size of files stands for the full disk: the first file that is larger cannot be written."""
    words = commands(finished[0] / "data", finished[0] / "exp", tmp_path)[tool]
    limit = limited(resource.RLIMIT_FSIZE, 60)
    check_refused(capsys, tool, words, tmp_path, limit, str(tmp_path), "limit on the size of files")


def test_too_many_open_files(finished, tmp_path, capsys):
    words = commands(finished[0] / "data", finished[0] / "exp", tmp_path)["score list"]
    call("score list", ["--help"])  # everything is imported
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    limit = limited(resource.RLIMIT_NOFILE, free + 1)
    check_refused(capsys, "score list", words, tmp_path, limit, r"/\S+: found too many open files", "ulimit -n")


def test_too_little_memory(finished, tmp_path, capsys):
    """What is allocated at once is more than the limit on the address space leaves."""
    words = commands(finished[0] / "data", finished[0] / "exp", tmp_path)["train_ivector"]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    with limited(resource.RLIMIT_AS, pages * resource.getpagesize() + (64 << 20)):
        code = call("train_ivector", ["--ivector-dim=6000", *words[2:]])
    told = capsys.readouterr().err
    assert code == 1 and "Traceback" not in told
    assert re.search(rf"error: {tmp_path}/ivector: found too little memory.*lower --nj", told)
    assert {path.name for path in (tmp_path / "ivector").iterdir()} <= {"0.ie", "0.ie.made.json", "likelihood.json"}
    assert call("train_ivector", ["--force", *words]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
def test_no_permission(tmp_path_factory):
    """Root may do everything, so another user tries."""
    where = tmp_path_factory.mktemp("other")
    for each in (path for path in (where, *where.parents) if "pytest-of-" in str(path)):  # pytest's own
        each.chmod(0o755)
    os.seteuid(65534)
    try:
        told = rf"{where}/feats.scp: found no permission \(Permission denied\).*Mend its permissions"
        with pytest.raises(InputError, match=told), atomic_write(where / "feats.scp", "w") as stream:
            stream.write("a b\n")
    finally:
        os.seteuid(0)
    assert not list(where.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own: a function sets its size and whether it is read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4096k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")

    def change(options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)

    yield place, change
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_read_only_directory_stops_the_run_before_any_work(small_disk):
    place, change = small_disk
    (place / "data").mkdir()
    (place / "exp").mkdir()
    change("ro")
    process = recipe.run(place)
    assert process.returncode == 1
    assert re.search(rf"error: {place}/data .*cannot be written.*--data", process.stderr), process.stderr


def test_logs_that_cannot_be_written_are_named_and_no_older_one_is_shown(small_disk):
    place, change = small_disk
    for name in ("data", "exp/log"):
        (place / name).mkdir(parents=True)
    (place / "data/x.1.log").write_text("all was well\n")
    runner = [recipe.ROOT / "steps/run_jobs", "JOB=1:2", place / "data/x.JOB.log", "echo", "JOB"]
    assert subprocess.run(runner, capture_output=True).returncode == 0
    change("ro")
    process = subprocess.run(runner, text=True, capture_output=True)
    told = f"error: {place}/data/x.1.log cannot be written: mount it writable, mend its permissions, or name another"
    assert process.returncode == 1 and process.stderr.startswith(told) and process.stderr.count("\n") == 1
    change("rw")
    subprocess.run(["mount", "--bind", place / "exp/log", place / "exp/log"], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place / "exp/log"], check=True)
        process = recipe.run(place)
        assert process.returncode == 1 and f"error: {place}/exp/log cannot be made or cannot be" in process.stderr
        assert len(process.stderr.splitlines()) <= 2 and "rm:" not in process.stderr
    finally:
        subprocess.run(["umount", place / "exp/log"], check=True)


def test_a_job_killed_for_memory_is_said_to_be(tmp_path):
    words = [recipe.ROOT / "steps/run_jobs", "log", "bash", "-c", "kill -KILL $$"]
    process = subprocess.run(words, cwd=tmp_path, text=True, capture_output=True)
    assert process.returncode == 1 and "exit code 137" in process.stderr
    assert "by the system if memory ran out" in process.stderr


@pytest.mark.reliability
def test_a_run_whose_disk_fills_up_again_and_again(small_disk, tmp_path):
    """The whole recipe on a disk that is enlarged by a step whenever it is full: the printed command completes it."""
    place, change = small_disk
    systems = ("--systems", "ivector attentive_statistics")
    reference = recipe.run(tmp_path / "reference", *systems)
    assert reference.returncode == 0, reference.stderr[-3000:]
    run, stops, size = kills.Run(place / "run", recipe.command(place / "run", *systems), {}), [], 1024
    run.screen = tmp_path / "screen"
    while True:
        change(f"size={size}k")
        outcome = kills.Outcome(None)
        process = run.start()
        outcome.code = process.wait(timeout=3600)
        if outcome.code == 0:
            break
        run.resume_with(outcome)
        text = run.screen.read_text()
        assert "Traceback" not in text and "No space left on device" in text, text[-3000:]
        stops.append((run.stage(), size))
        size = size * 4 // 3
    print(f"{len(stops)} times full (stage, KiB): {stops}")
    assert len(stops) >= 5
    assert kills.differences(kills.contents(place / "run"), kills.contents(tmp_path / "reference")) == []

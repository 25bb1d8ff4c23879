"""About how long a run will take: that it grows as the work does, leaves out what is made, and is said in words."""

from pathlib import Path

import pytest
import torch

from pyasp.bin import _estimate as estimate
from pyasp.bin.check import main
from pyasp.bin.fit import main as fit
from pyasp.core import costs, device
from pyasp.core.costs import Work, in_words
from pyasp.data.datadir import write_table

ROOT = Path(__file__).parents[2]
SYSTEMS = ["ivector", "average", "attentive_statistics"]
STAGES = ["augment", "select", "ubm", "extractor", "networks", "embeddings", "scores", "report"]
PARTS = ["augmented copies", "UBM and extractor", "networks", "vectors, scores and report"]


def data_of(path, speakers=20, recordings=10, frames=200):
    """A data directory as after its voice activity; the evaluation has a tenth of the recordings."""
    for name, count in (("train", recordings), ("test", max(1, recordings // 10)), ("enroll", 1)):
        utts = {f"{name}{k}-{i}": f"{name}{k}" for k in range(speakers) for i in range(count)}
        for table, value in (("utt2spk", None), ("utt2num_voiced", str(frames)), ("utt2dur", str(frames / 80))):
            (path / name).mkdir(parents=True, exist_ok=True)
            write_table(path / name / table, utts if value is None else dict.fromkeys(utts, value))
    (path / "trials").mkdir()
    (path / "trials" / "all").write_text("a b target\n" * 100)
    return path


def plan_of(tmp_path, **changed):
    """Of fitted settings, with lines of conf files changed: {option: value}."""
    data, conf = data_of(tmp_path / "data"), tmp_path / "conf"
    assert fit([str(ROOT / "conf" / "folder"), str(data / "train"), str(conf)]) == 0
    for path in conf.glob("*.conf"):
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
        keys = [line.split("=")[0] for line in lines]
        path.write_text("\n".join(f"{k}={changed[k]}" if k in changed else line for k, line in zip(keys, lines)))
    return estimate.Plan.of(str(conf), str(data))


def operations(tmp_path, **changed):
    return {
        k: w.operations
        for k, w in estimate.parts(plan_of(tmp_path, **changed), Path("x"), Path("x"), SYSTEMS, STAGES).items()
    }


def test_twice_the_epochs_are_twice_the_networks_time(tmp_path):
    one, two = (operations(tmp_path / str(n), **{"--epochs": n, "--num-gauss": 8}) for n in (10, 20))
    assert list(one) == PARTS and two["networks"] == pytest.approx(2 * one["networks"], rel=0.01)
    assert all(one[name] == two[name] for name in PARTS if name != "networks")


@pytest.mark.parametrize("option, part", [("--num-iters", "UBM and extractor"), ("--copies", "augmented copies")])
def test_another_setting_costs_in_its_own_part(tmp_path, option, part):
    one, two = (operations(tmp_path / str(n), **{option: n, "--epochs": 10}) for n in (5, 10))
    assert 1.3 * one[part] < two[part] <= 2 * one[part]


def test_a_networks_work_is_its_batches_times_their_operations(tmp_path):
    """--steps-per-epoch=7, 3 epochs, 64 chunks of 200 frames: the network's own count of operations, at half the pace."""
    plan = plan_of(tmp_path, **{"--steps-per-epoch": 7, "--epochs": 3, "--min-chunk": 200, "--max-chunk": 200})
    net = plan._net(plan._network("average"))
    reading = plan.trained.recordings * estimate.READ
    assert plan.network("average").operations - reading == pytest.approx(3 * 7 * 64 * 6 * net.multiply_adds(200) * 2)
    assert (plan.trained.recordings, plan.trained.frames, plan.ubm.recordings) == (400, 80000, 200)  # with a copy each


def test_recordings_that_are_all_too_short_are_no_work(tmp_path):
    """Stage select says so: an estimate stops no run."""
    found = operations(tmp_path, **{"--min-voiced": 9999, "--min-voiced-ubm": 9999, "--epochs": 3, "--copies": 0})
    assert found["networks"] == found["augmented copies"] == 0


def test_what_is_made_or_not_asked_for_is_left_out(tmp_path):
    plan, data, exp = plan_of(tmp_path), tmp_path / "data", tmp_path / "exp"
    assert list(estimate.parts(plan, data, exp, ["ivector"], STAGES)) == [PARTS[k] for k in (0, 1, 3)]
    assert list(estimate.parts(plan, data, exp, ["ivector"], STAGES, given=True)) == [PARTS[k] for k in (0, 3)]
    assert list(estimate.parts(plan, data, exp, SYSTEMS, STAGES[:2])) == PARTS[:1]
    for made in (data / "train_sel" / "utt2spk", exp / "ivector" / "final.ie", exp / "ivector" / "metrics.json"):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.touch()
    assert estimate.parts(plan, data, exp, ["ivector"], STAGES) == {}


@pytest.mark.parametrize(
    "seconds, told",
    [
        ({"copies": 20, "networks": 100}, "about 2 minutes: copies less than 1, networks 2"),
        ({"copies": 5}, "about less than 1 minute: copies less than 1"),
        ({"copies": 3600, "networks": 5 * 3600}, "about 6 hours: copies 1, networks 5"),
        ({"networks": 86400 * 35}, "about 35 days: networks 35"),
    ],
)
def test_a_time_in_words(seconds, told):
    assert in_words(seconds) == told


def test_seconds_are_starts_and_operations():
    assert (Work(2, 3e9) + Work(1, 1e9)).seconds(start=1.5, pace=2e9) == 3 * 1.5 + 2


def test_the_pace_is_a_mean_over_the_time_it_took(monkeypatch):
    """A clock that ticks whenever it is read: two products until 2 s are over, and the third tick is the end."""
    monkeypatch.setattr(device.torch, "get_num_threads", lambda: 1)
    ticks = iter(range(100))
    assert device.pace(torch.device("cpu"), 2.0, lambda: next(ticks)) == 2 * 2 * 1024**3 / 3


def test_a_run_says_its_time_once_and_names_the_rate(tmp_path, capsys, monkeypatch):
    plan_of(tmp_path, **{"--epochs": 1000})
    capsys.readouterr()
    monkeypatch.setattr(device, "pace", lambda *_: 50e9)
    monkeypatch.setattr(costs, "seconds_since_start", lambda: 2.0)
    words = ["--conf", str(tmp_path / "conf"), "--systems", " ".join(SYSTEMS), "--stages", " ".join(STAGES)]
    assert main(["time", *words, str(tmp_path / "data"), str(tmp_path / "exp")]) == 0
    told = capsys.readouterr().err
    assert told.startswith("time left on this machine, an estimate: about ") and told.count("\n") == 1
    assert "0.11 h of voice, 50 GFLOP/s and 3.0 s a program's start now" in told and all(part in told for part in PARTS)
    assert main(["time", *words[:-1], "", str(tmp_path / "data"), str(tmp_path / "exp")]) == 0
    assert capsys.readouterr().err == ""

"""Two processes joined by gloo: the network, the UBM and the extractor of one process, up to the order of sums."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stored_models
import torch
from tdnn_data import SMALL, tiny_data
from test_trainer import records

from pyasp.core.errors import InputError
from pyasp.core.processes import part_of, sum_statistics, together, world
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.ivector.files import read_extractor
from pyasp.network import checkpoint
from pyasp.training.chunks import ChunkOptions, Sampler

TDNN = [*SMALL, "--epochs=2", "--steps-per-epoch=6", "--dropout=0.2", "--mask-frames=4"]
STEPS = ["--optimiser=sgd", "--learning-rate=0.05"]  # AdamW makes whole steps of gradients that are only rounding
WIDE = [
    "--frame-dim=256",
    "--steps-per-epoch=2",
    "--learning-rate=0.01",
    "--dropout=0",
]  # in one pass; steps: rounding grows
HELD = [
    "--loss=am",
    "--learning-rate=0.002",
    "--freeze-encoder-epochs=1",
]  # another loss: a new output layer, which learns alone at first
UBM = [
    "--num-gauss=4",
    "--num-frames=2000",
    "--num-iters-init=4",
    "--num-iters-diag=2",
    "--num-iters-full=2",
    "--subsample=1",
    "--gselect-diag=3",
    "--gselect-full=3",
    "--min-occupancy-full=20",
    "--device=cpu",
]
IVECTOR = [
    "--num-ceps=2",
    "--delta-order=1",
    "--cmn-window=0",
    "--ivector-dim=3",
    "--num-iters=2",
    "--gselect=3",
    "--gaussian-min-count=5",
]


def jobs(data, out, conf):
    """[tool, words] of everything that several processes can train, into `out`."""
    return [
        ["train_tdnn", [*TDNN, *STEPS, *WIDE, data, f"{out}/one_pass"]],
        ["train_tdnn", [*TDNN, *STEPS, "--attention-heads=2", data, f"{out}/plain"]],
        [
            "train_tdnn",
            [*TDNN, *STEPS, "--attention-heads=2", *HELD, f"--init={Path(out).parent}/two/plain", data, f"{out}/held"],
        ],
        ["train_tdnn", [*TDNN, "--sync-batch-norm=false", "--epochs=1", data, f"{out}/apart"]],
        ["train_ubm", [*UBM, f"--frontend-config={conf}", data, f"{out}/ubm"]],
        ["train_ivector", [f"--config={conf}", "--device=cpu", data, f"{out}/ubm", f"{out}/ie"]],
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with what one process made in one/ and two in two/."""
    where = tmp_path_factory.mktemp("processes")
    data, conf = tiny_data(where / "data", utts=6), where / "ivector.conf"
    conf.write_text("\n".join(IVECTOR) + "\n")
    (where / "jobs.json").write_text(json.dumps(jobs(str(data.path), str(where / "two"), str(conf))))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).parents[1] / "run_together.py"
    words = ["--standalone", "--nproc-per-node=2", str(script), str(where / "jobs.json")]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        env=environment,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for tool, words in jobs(str(data.path), str(where / "one"), str(conf)):
        assert importlib.import_module(f"pyasp.bin.{tool}").main(words) == 0
    torch.set_num_threads(before)
    return where


@pytest.mark.parametrize("name", ["one_pass", "plain", "held"])
def test_two_processes_train_the_network_that_one_trains(trained, name):
    """Equal losses, equal weights to 1e-5, with dropout, masks and batch norm over both; one pass and plain layers.

    Running variances are squares: to 1e-4 of their value.
    """
    two, one = (records(trained / which / name) for which in ("two", "one"))
    assert [record["epoch"] for record in two] == [1, 2]
    for ours, other in zip(two, one, strict=True):
        assert ours == {key: pytest.approx(value, rel=1e-4) for key, value in other.items()}
    weights = [checkpoint.load(trained / which / name / "final.pt")["model"] for which in ("one", "two")]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4 if "running" in key else 0.0, atol=1e-5, msg=key)


def test_batch_norm_of_each_process_alone_is_another_training(trained):
    two, one = (records(trained / which / "apart")[0]["loss"] for which in ("two", "one"))
    assert two == pytest.approx(one, rel=0.3) and abs(two - one) > 1e-4 * one


def test_two_processes_estimate_the_ubm_and_the_extractor_that_one_estimates(trained):
    for name in ("1.dubm", "final.dubm", "1.ubm", "final.ubm"):
        kind = DiagGmm if name.endswith(".dubm") else FullGmm
        one, two = (stored_models.read(kind, trained / which / "ubm" / name) for which in ("one", "two"))
        for ours, other in ((two.weights, one.weights), (two.means, one.means)):
            np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-5)
    one, two = (read_extractor(trained / which / "ie" / "final.ie") for which in ("one", "two"))
    np.testing.assert_allclose(np.abs(two.projections), np.abs(one.projections), rtol=1e-3, atol=1e-4)
    logs = [json.loads((trained / which / "ubm/likelihood.json").read_text()) for which in ("one", "two")]
    assert logs[0].keys() == logs[1].keys() and logs[0]["2.ubm"]["frames"] == logs[1]["2.ubm"]["frames"]
    assert logs[0]["2.ubm"]["loglike"] == pytest.approx(logs[1]["2.ubm"]["loglike"], rel=1e-6)


def test_only_the_first_process_writes(trained):
    one, two = (trained / which for which in ("one", "two"))
    names = [{path.relative_to(each) for path in each.rglob("*") if path.name != "threads"} for each in (one, two)]
    assert names[0] == names[1]  # several processes settle no threads


# ---------------------------------------------------------------- alone, and bad input


def test_alone_nothing_is_shared():
    assert world() == 1 and part_of(7) == slice(0, 7)
    sum_statistics(object)  # not even looked at


def test_a_batch_that_cannot_be_shared_evenly(monkeypatch):
    monkeypatch.setattr("pyasp.training.chunks.world", lambda: 3)
    with pytest.raises(InputError, match="--batch-size: found 8; expected a multiple of the 3 processes"):
        Sampler(None, ChunkOptions(8, 20, 30), 1)


def test_half_an_environment_of_processes(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match="without MASTER_ADDR.*torchrun"):
        with together("cpu"):
            pass

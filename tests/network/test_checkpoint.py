"""Checkpoints: everything or nothing, nothing in them ever run."""

import json
import os
import pickle

import pytest
import torch

from pyasp.core.errors import InputError
from pyasp.network import checkpoint
from pyasp.network.model import ArchitectureOptions, Network

OPTIONS = {
    "pooling": "attention",
    "frame_dim": 5,
    "pooling_dim": 6,
    "attention_dim": 3,
    "embedding_dim": 4,
    "segment_dim": 4,
    "dropout": 0.0,
}
BEST = {"epoch": 3, "valid_loss": 0.5, "valid_accuracy": 0.9}


def network(seed=0):
    torch.manual_seed(seed)
    return Network(ArchitectureOptions(**OPTIONS), 7, 3).eval()


@pytest.fixture
def saved(tmp_path):
    net = network()
    state = checkpoint.network_state(net.in_dim, net.state_dict(), OPTIONS, ["a", "b", "c"], BEST)
    checkpoint.save(tmp_path / "final.pt", state)
    return tmp_path / "final.pt"


def test_a_network_comes_back_as_it_was(saved):
    net, options = checkpoint.load_network(saved, torch.device("cpu"))
    x = torch.randn(2, 20, 7)
    assert torch.equal(net(x), network()(x)) and options == OPTIONS and not net.training
    state = checkpoint.load(saved)
    assert {key: state[key] for key in BEST} == BEST and state["speakers"] == ["a", "b", "c"]


def test_the_same_state_gives_the_same_bytes(saved, tmp_path):
    checkpoint.save(tmp_path / "other.pt", checkpoint.load(saved))
    assert (tmp_path / "other.pt").read_bytes() == saved.read_bytes()


class Unsavable:
    def __reduce__(self):
        raise RuntimeError("disk full")


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(saved):
    before = saved.read_bytes()
    with pytest.raises(RuntimeError, match="disk full"):
        checkpoint.save(saved, {"model": torch.zeros(1000), "options": Unsavable()})
    assert saved.read_bytes() == before and os.listdir(saved.parent) == ["final.pt"]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state, protocol=2))])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, write):
    write({"model": Bomb(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="evil.pt: found an unreadable file"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_truncated_checkpoint(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(InputError, match="final.pt: found an unreadable file.*stage networks"):
        checkpoint.load_network(saved, torch.device("cpu"))


def test_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="no such file.*stage networks"):
        checkpoint.load(tmp_path / "final.pt")


@pytest.mark.parametrize("state", [{"options": {}}, [1, 2]])
def test_something_else_than_a_checkpoint(tmp_path, state):
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(InputError, match="no 'model'"):
        checkpoint.load(tmp_path / "x.pt", "model", "options")


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_are_loaded_strictly(saved, change):
    state = checkpoint.load(saved)
    name = "output.weight"
    changes = {
        "missing": lambda m: m.pop(name),
        "extra": lambda m: m.update(other=torch.zeros(1)),
        "shape": lambda m: m.update({name: torch.zeros(9, 4)}),
    }
    changes[change](state["model"])
    checkpoint.save(saved, state)
    with pytest.raises(InputError, match="weights of another network"):
        checkpoint.load_network(saved, torch.device("cpu"))


def test_an_option_that_the_checkpoint_lacks(saved):
    state = checkpoint.load(saved)
    del state["options"]["frame_dim"]
    checkpoint.save(saved, state)
    with pytest.raises(InputError, match="no option 'frame_dim'"):
        checkpoint.load_network(saved, torch.device("cpu"))


def test_random_numbers_go_on_where_they_were():
    torch.manual_seed(4)
    state = checkpoint.rng_state()
    first = torch.rand(5)
    torch.rand(3)
    checkpoint.set_rng_state(state)
    assert torch.equal(torch.rand(5), first)


def write_records(path, count, tail=""):
    path.write_text("".join(json.dumps({"epoch": k}) + "\n" for k in range(1, count + 1)) + tail)


@pytest.mark.parametrize("tail", ["", '{"epoch": 5, "lo'])
def test_lines_beyond_the_checkpoint_are_cut(tmp_path, tail):
    path = tmp_path / "train.jsonl"
    write_records(path, 4, tail)
    checkpoint.truncate_records(path, 3)
    checkpoint.append_record(path, {"epoch": 4, "loss": 1.5})
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert found == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}, {"epoch": 4, "loss": 1.5}]


@pytest.mark.parametrize("text", ['{"epoch": 2}\n', "{}\n", "nonsense\n", "[1]\n", ""])
def test_a_line_that_is_not_its_epoch_s(tmp_path, text):
    (tmp_path / "train.jsonl").write_text(text)
    with pytest.raises(InputError, match="train.jsonl: line 1: .*Delete last.pt"):
        checkpoint.truncate_records(tmp_path / "train.jsonl", 1)

"""diff: what is only in one, the largest deviation and its place, and the exit code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pyasp.backend.files import write_plda
from pyasp.backend.plda import Plda
from pyasp.bin.diff import main
from pyasp.inspect.diff import compare_files
from pyasp.kaldi import ArkWriter, save


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def archive(name, **entries):
    with ArkWriter(f"{name}.ark", f"{name}.scp") as writer:
        for key, value in entries.items():
            writer.write(key, np.asarray(value, np.float32))


def test_named_arrays_of_numpy_numbers_and_words(folder, capsys):
    np.savez("a.npz", x=np.arange(3.0), names=np.array(["u", "v"]), y=np.ones(2))
    np.savez("b.npz", x=np.array([0, 1, 4.0]), names=np.array(["u", "w"]))
    found = compare_files("a.npz", "b.npz", 0.0)
    assert found.only_a == ["y"] and found.differing == ["x", "names"] and found.largest[:2] == (2.0, "x")
    assert main(["a.npz", "a.npz"]) == 0 and capsys.readouterr().out == "equal\n"


def test_archives_key_by_key(folder, capsys):
    archive("a", u1=[[1, 2], [3, 4]], u2=[1, 2], u3=[7])
    archive("b", u1=[[1, 2], [3, 4.5]], u2=[1, 2, 3], u4=[7])
    for form in ("ark", "scp"):
        found = compare_files(f"a.{form}", f"b.{form}", 0.0)
        assert (found.only_a, found.only_b, found.common) == (["u3"], ["u4"], 2)
        assert found.largest == (0.5, "u1", (1, 1)) and found.mean == pytest.approx(0.5 / 4)
        assert found.differing == ["u1", "u2"] and "shapes (2,) and (3,)" in found.reasons["u2"]
    assert main(["a.ark", "b.scp"]) == 1
    assert "largest deviation 0.5 at u1[1, 1]" in capsys.readouterr().out
    assert main(["a.ark", "a.scp"]) == 0 and capsys.readouterr().out == "equal\n"


def test_the_tolerance_decides(folder, capsys):
    archive("a", u1=[1, 2])
    archive("b", u1=[1, 2.25])
    assert main(["a.ark", "b.ark"]) == 1 and main(["--tolerance", "0.25", "a.ark", "b.ark"]) == 0
    assert "within the tolerance" in capsys.readouterr().out


def test_nan_and_infinity(folder):
    archive("a", same=[np.nan, np.inf], one=[np.nan, 1])
    archive("b", same=[np.nan, np.inf], one=[0, 1])
    found = compare_files("a.ark", "b.ark", 1e9)
    assert found.differing == ["one"] and found.largest == (np.inf, "one", (0,))


def test_models_checkpoints_scores_tables_and_options(folder):
    for name, value in (("a", 1.0), ("b", 1.5)):
        write_plda(f"{name}.plda", Plda(np.full(2, value), np.eye(2), np.ones(2)))
        torch.save({"model": {"w": torch.full((2, 2), value)}, "epoch": 3}, f"{name}.pt")
        Path(f"{name}.scores").write_text(f"m t {value}\nm u 2\n")
        Path(f"{name}.conf").write_text(f"--scale={value}  # why\n--kind={name}\n")
        Path(f"{name}.table").write_text(f"u1 {value}\nu2 s\n")
        save(f"{name}.vec", np.full(3, value))
        np.save(f"{name}.npy", np.full(3, value))
        Path(f"{name}.json").write_text(json.dumps({"x": {"y": [value, 2]}}))
    for kind, key in (
        ("plda", "<Plda>"),
        ("pt", "model.w"),
        ("scores", "m t"),
        ("conf", "--scale"),
        ("table", "u1"),
        ("vec", ""),
        ("npy", ""),
        ("json", "x.y"),
    ):
        found = compare_files(f"a.{kind}", f"b.{kind}", 0.0)
        assert found.largest[:2] == (0.5, key), kind
        assert compare_files(f"a.{kind}", f"a.{kind}", 0.0).equal, kind
    assert compare_files("a.conf", "b.conf", 1.0).reasons == {"--kind": "'a' and 'b'"}


def test_directories(folder, capsys):
    for name, loss in (("x", 1.0), ("y", 2.0)):
        Path(name, "scores").mkdir(parents=True)
        Path(name, "log").mkdir()
        Path(name, "log/job").write_text(name)
        Path(name, "options.conf").write_text("--a=1\n")
        Path(name, "options.conf.made.json").write_text(f'{{"v": "{name}"}}')
        Path(name, "train.jsonl").write_text(json.dumps({"epoch": 1, "loss": 1.0, "seconds": loss}) + "\n")
        Path(name, "scores/list").write_text("m t 1\n")
    assert main(["x", "y"]) == 0 and capsys.readouterr().out == "equal\n"
    Path("y/scores/list").write_text("m t 2\n")
    Path("y/final.ie").write_text("")
    assert main(["x", "y"]) == 1
    text = capsys.readouterr().out
    assert "only in y: 1: final.ie" in text and "scores/list: different" in text and "at m t" in text
    assert main(["--all", "x", "x"]) == 0 and "options.conf: equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["gone", "a.ark"], "gone"),
        (["a.ark", "t"], "Compare like with like"),
        (["a.ark", "."], "directory and a file"),
        (["--tolerance", "-1", "a.ark", "a.ark"], "at least 0"),
        (["a.ark"], "B is missing"),
        (["bin", "bin"], "bin"),
    ],
)
def test_trouble_is_two(folder, capsys, words, message):
    archive("a", u=[1])
    Path("t").write_text("m t target\n")
    Path("bin").write_bytes(b"\x01\0\x02")
    assert main(words) == 2 and message in capsys.readouterr().err

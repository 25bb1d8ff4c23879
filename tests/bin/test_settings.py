"""Mistakes in conf files, and what they contradict, are told in stage prepare before any audio is read."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyasp.bin import check

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "conf" / "folder"


@pytest.fixture
def conf(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "conf")
    (tmp_path / "conf/systems").mkdir()
    return tmp_path / "conf"


def change(conf, name, *lines):
    """Sets options of a conf file."""
    path, keys = conf / name, [line.partition("=")[0] for line in lines]
    old = path.read_text().splitlines() if path.is_file() else []
    path.write_text("\n".join([*(line for line in old if re.split("[= ]", line)[0] not in keys), *lines]) + "\n")


def told(conf, systems, capsys):
    """The exit code of the check and what it said."""
    code = check.main(
        [
            "settings",
            "--copies=0",
            f"--systems={systems}",
            str(conf),
            str(conf.parent / "data"),
            str(conf.parent / "exp"),
        ]
    )
    return code, capsys.readouterr().err


MISTAKES = [  # file, lines, system, what is said
    ("mine", ["--pooling=foo"], "mine.conf:1: --pooling: found 'foo'; expected "),
    ("mine", ["--encoder=foo"], "mine.conf:1: --encoder: found 'foo'; expected "),
    ("mine", ["--encoder=onnx"], "mine.conf: network options: --model: found ; expected the file of a network"),
    ("mine", ["--encoder=onnx", "--model=nofile.onnx"], "mine.conf: network options: --model: found nofile.onnx"),
    ("mine", ["--init=nofile"], "mine.conf: nofile: --init: found no such file"),
    ("mine", ["--feature-type=plp"], "mine.conf:1: --feature-type: found 'plp'; expected mfcc or fbank"),
    ("mine", ["--learning-rate=-1"], "mine.conf:1: --learning-rate: found -1; expected more than 0"),
    ("mine", ["--num-gauss=5"], "mine.conf:1: found unknown option --num-gauss"),
    ("mine", ["--num-ceps=31"], "mine.conf: --num-ceps: found 31; expected at most 30, what "),
    ("mine", ["--min-chunk=400"], "mine.conf over "),  # --max-chunk=auto is 300 at most
    ("mine", ["--attention-heads=7"], "mine.conf over "),  # --pooling-dim=auto is 384 or 1500
    ("tdnn.conf", ["--min-chunk=50", "--max-chunk=40"], "chunk options: --max-chunk: found 40; expected min <= max"),
    ("tdnn.conf", ["--cmn-window=50"], "found --cmn-window=50; expected at least --min-cmn-window=100"),
    ("tdnn.conf", ["--learning-rate=auto"], "tdnn.conf:"),
    ("ubm.conf", ["num-gauss=3"], "found 'num-gauss=3'; expected --key=value"),
    ("ubm.conf", ["--num-gauss=0"], "--num-gauss: found 0; expected at least 1"),
    ("ivector.conf", ["--ivector-dim=0"], "--ivector-dim: found 0; expected at least 1"),
    ("ivector.conf", ["--allow-fail-fraction=0.1"], "found unknown option --allow-fail-fraction"),  # to the UBM's tool
    ("vad.conf", ["--vad-proportion-threshold=2"], "--vad-proportion-threshold: found 2; expected a number in (0, 1)"),
    ("mfcc.conf", ["--num-ceps=13"], "ivector.conf: --num-ceps: found 20; expected at most 13, what "),
    (
        "mfcc.conf",
        ["--high-freq=9000"],
        "--high-freq: found --high-freq=9000.0; expected at most 8000 Hz, half of --sam",
    ),
    ("mfcc.conf", ["--sample-frequency=8000"], "--high-freq: found --high-freq=7600.0; expected at most 4000 Hz"),
    ("mfcc.conf", ["--num-mel-bins=300"], "mfcc.conf: mfcc options: --num-mel-bins: found no FFT bin in mel bin"),
    (
        "fbank.conf",
        ["--snip-edges=true"],
        "fbank.conf: --snip-edges: found True; expected False, as mfcc.conf beside it",
    ),
    ("backend.conf", ["--fuse=ivector+nosuch"], "--fuse=ivector+nosuch: found 'nosuch'; expected a system of "),
    ("backend.conf", ["--variant=calhalf+snorm"], "expected back ends, then at most one normalisation"),
]


@pytest.mark.parametrize("name, lines, message", MISTAKES)
def test_a_mistake_in_a_conf_file_is_told_with_file_and_option(conf, capsys, name, lines, message):
    systems = "ivector average mine" if name == "mine" else "ivector average resnet34"
    change(conf, "systems/mine.conf" if name == "mine" else name, *lines)
    code, said = told(conf, systems, capsys)
    assert code == 1 and said.count("error: ") == 1 and message in said, said
    assert f"{conf}" in said or name == "backend.conf", said


def test_what_the_run_does_not_read_is_not_looked_at(conf, capsys):
    change(conf, "ivector.conf", "--ivector-dim=0")
    change(conf, "fbank.conf", "--snip-edges=true")
    assert told(conf, "average", capsys)[0] == 0
    assert told(conf, "resnet34", capsys)[0] == 1
    change(conf, "fbank.conf", "--snip-edges=false", "--frame-length=20")  # as many frames
    assert told(conf, "resnet34", capsys)[0] == 0
    (conf / "fbank.conf").unlink()
    code, said = told(conf, "average resnet34", capsys)
    assert code == 1 and f"{conf}/fbank.conf: found no such file" in said and "Copy one of conf/*/fbank.conf" in said


def test_a_fusion_of_systems_that_do_not_run_is_said(conf, capsys):
    change(conf, "backend.conf", "--fuse=ivector+average")
    code, said = told(conf, "ivector", capsys)
    assert code == 0 and "--fuse=ivector+average will be left out: average not among --systems, nor scored" in said
    (conf.parent / "exp/average/scores").mkdir(parents=True)
    assert told(conf, "ivector", capsys) == (0, "")


def test_a_network_to_start_from_may_be_one_that_the_run_makes(conf, capsys):
    change(conf, "systems/mine.conf", f"--init={conf.parent}/exp/average")
    assert told(conf, "average mine", capsys) == (0, "")
    change(conf, "systems/mine.conf", f"--init={conf.parent}/elsewhere/average")
    assert told(conf, "average mine", capsys)[0] == 1


def test_a_file_that_is_no_network_is_told(conf, capsys):
    pytest.importorskip("onnxruntime")
    soundfile.write(conf.parent / "fake.wav", np.zeros(100), 16000)
    change(conf, "systems/mine.conf", "--encoder=onnx", f"--model={conf.parent}/fake.wav", "--feature-type=fbank")
    code, said = told(conf, "mine", capsys)
    assert code == 1 and "mine.conf: " in said and "found no usable ONNX model" in said


@pytest.mark.parametrize("corpus", sorted(path.parent.name for path in (ROOT / "conf").glob("*/mfcc.conf")))
def test_the_conf_files_of_every_corpus_pass(corpus, tmp_path, capsys):
    every = " ".join(["ivector", *(path.stem for path in sorted((ROOT / "conf/systems").glob("*.conf")))])
    assert told(shutil.copytree(ROOT / "conf" / corpus, tmp_path / "conf"), every, capsys)[0] == 0


def test_only_what_has_changed_is_looked_at_again(conf, capsys, monkeypatch):
    from pyasp.bin import _settings

    looked = []
    monkeypatch.setattr(_settings, "check", looked.append)
    for systems in ("ivector", "ivector", "ivector average", "average", "ivector"):
        assert told(conf, systems, capsys)[0] == 0
    assert [run.systems for run in looked] == [("ivector",), ("ivector", "average")]
    change(conf, "vad.conf", "--vad-frames-context=3")
    assert told(conf, "ivector average", capsys)[0] == 0 and len(looked) == 3


def test_a_run_stops_before_its_preparation_and_says_how_to_go_on(conf):
    change(conf, "mfcc.conf", "--num-ceps=13")
    place = conf.parent
    words = ["--conf", conf, "--data", place / "data", "--exp", place / "exp", "--systems", "ivector"]
    ran = subprocess.run([ROOT / "run.sh", *words], text=True, capture_output=True, timeout=300)
    assert ran.returncode == 1 and "ivector.conf: --num-ceps: found 20; expected at most 13" in ran.stderr
    assert re.search(r"resume with:\n +\S*run.sh .*--stage prepare\n", ran.stderr)
    assert not (place / "data/prep.json").exists() and "Traceback" not in ran.stderr

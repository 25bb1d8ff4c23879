"""Manifests, ids and checkpoints that would reach outside their place."""

import numpy as np
import pytest

from pyasp.core.errors import InputError
from pyasp.data import datadir, manifests
from pyasp.kaldi import ArkWriter


def refused_manifest(tmp_path, custom, message):
    """to_kaldi says `message` of a supervision with these `custom` fields and writes nothing."""
    recording = {
        "id": "r",
        "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
        "sampling_rate": 8000,
        "num_samples": 800,
        "duration": 0.1,
        "channel_ids": [0],
    }
    supervision = {
        "id": "r",
        "recording_id": "r",
        "start": 0.0,
        "duration": 0.1,
        "channel": 0,
        "speaker": "r",
        "custom": custom,
    }
    manifests.write_jsonl(tmp_path / "r.jsonl.gz", [recording])
    manifests.write_jsonl(tmp_path / "s.jsonl.gz", [supervision])
    with pytest.raises(InputError, match=message):
        manifests.to_kaldi(tmp_path / "r.jsonl.gz", tmp_path / "s.jsonl.gz", tmp_path / "run" / "data")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"r.jsonl.gz", "s.jsonl.gz"}


@pytest.mark.parametrize("speaker", [None, ""])
def test_supervisions_without_a_speaker_are_told(tmp_path, capsys, speaker):
    whole = {"sampling_rate": 8000, "num_samples": 800, "duration": 0.1, "channel_ids": [0]}
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    times = {"recording_id": "r", "start": 0.0, "duration": 0.1, "channel": 0, "gender": "f"}
    manifests.write_jsonl(tmp_path / "r.jsonl.gz", [{"id": "r", "sources": [source], **whole}])
    known = {"id": "t", "speaker": "ann", "custom": {"kaldi/spk/note": "x"}, **times}
    nobody = {"id": "r", "speaker": speaker, "custom": {"kaldi/spk/note": "y"}, **times}
    manifests.write_jsonl(tmp_path / "s.jsonl.gz", [nobody, known])
    manifests.to_kaldi(tmp_path / "r.jsonl.gz", tmp_path / "s.jsonl.gz", tmp_path / "k")
    assert datadir.read_table(tmp_path / "k/spk2gender") == {"r": "f", "ann": "f"}
    assert datadir.read_table(tmp_path / "k/note") == {"r": "y", "ann": "x"}
    assert "s.jsonl.gz: 1 without a speaker are speakers of their own (first: r)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["../../escaped", "/tmp/escaped", "a/b", ".hidden", "utt2spk", "cuts.jsonl.gz", "-x", ""]
)
def test_a_manifest_names_no_file_outside_its_directory(tmp_path, name):
    refused_manifest(tmp_path, {f"kaldi/utt/{name}": "x"}, "the name of a Kaldi table")


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"kaldi/utt/language": 1.5}, "a text"),
        ({"kaldi/info/channel": 2}, "a text"),
        ({"kaldi/model/m": "first"}, "a number"),
    ],
)
def test_a_manifest_s_entries_have_their_types(tmp_path, entry, message):
    refused_manifest(tmp_path, entry, message)


def test_ids_with_dots_and_slashes_write_nowhere_else(tmp_path):
    """What is named after an id is an entry of a table, never a file."""
    for name in ("../../escaped", "a/b"):
        with pytest.raises(InputError, match="id"):
            datadir.check_id(name, "utterance", "x")
    with ArkWriter(tmp_path / "run" / "x.ark", tmp_path / "run" / "x.scp") as writer:
        writer.write("../../escaped", np.ones(2, np.float32))
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"x.ark", "x.scp"}


def test_checkpoints_are_loaded_as_weights_alone():
    """Every torch.load of the tree says so, and nothing else unpickles."""
    import re
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    for path in [*root.glob("pyasp/**/*.py"), *root.glob("local/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\([^)]*\)", text)), path
        assert not re.search(
            r"pickle\.loads?\(|\bdill\b|joblib|allow_pickle=True|(?<![.\w])(eval|exec)\(|shell=True|os\.system|yaml\.load\(",
            text,
        ), path

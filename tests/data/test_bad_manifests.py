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


def of_one_recording(tmp_path, recording, *supervisions):
    """to_kaldi of manifests of a recording of 0.1 s and supervisions of it, with what is given of them."""
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    whole = {"id": "r", "sources": [source], "sampling_rate": 8000, "num_samples": 800, "duration": 0.1}
    times = {"recording_id": "r", "start": 0.0, "duration": 0.1, "channel": 0, "speaker": "ann"}
    manifests.write_jsonl(tmp_path / "r.jsonl.gz", [{**whole, "channel_ids": [0], **recording}])
    manifests.write_jsonl(tmp_path / "s.jsonl.gz", [{**times, **each} for each in supervisions])
    manifests.to_kaldi(tmp_path / "r.jsonl.gz", tmp_path / "s.jsonl.gz", tmp_path / "k")


@pytest.mark.parametrize(
    "recording, supervision, told",
    [
        ({}, {"channel": 1}, "s.jsonl.gz: u: found channel 1; expected channels of its recording r, .0."),
        ({}, {"channel": [0, 1]}, "found channel .0, 1.; expected channels of its recording r"),
        ({}, {"duration": -1.0}, "s.jsonl.gz: u: found 0.000 s to -1.000 s of a recording of 0.100 s"),
        ({"transforms": [{"name": "Speed", "kwargs": {"factor": 1.5}}]}, {}, "found a recording with transforms"),
    ],
)
def test_what_wav_scp_cannot_say_of_a_manifest_is_refused(tmp_path, recording, supervision, told):
    with pytest.raises(InputError, match=told):
        of_one_recording(tmp_path, recording, {"id": "u", **supervision})
    assert not (tmp_path / "k/wav.scp").exists()


def test_which_of_several_channels_is_meant_is_told(tmp_path, capsys):
    source = {"type": "file", "channels": [0, 1], "source": "a.wav"}
    of_one_recording(tmp_path, {"sources": [source], "channel_ids": [0, 1]}, {"id": "u", "channel": 1})
    assert "k: 1 utterances are of recordings with several channels: reco2file_and_channel" in capsys.readouterr().out


@pytest.mark.parametrize("speaker", [None, ""])
def test_supervisions_without_a_speaker_are_told(tmp_path, capsys, speaker):
    known = {"id": "t", "gender": "f", "custom": {"kaldi/spk/note": "x"}}
    nobody = {"id": "r", "gender": "f", "custom": {"kaldi/spk/note": "y"}, "speaker": speaker}
    of_one_recording(tmp_path, {}, nobody, known)
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

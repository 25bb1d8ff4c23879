"""The checker and fixer of data directories: what is dropped is listed, what cannot be mended stops."""

import json

import lhotse
import numpy as np
import pytest
import soundfile
from prep_trees import refused

from pyasp.audio.cut_files import read_cuts, write_cuts
from pyasp.bin import check
from pyasp.bin.data import main as fix_data
from pyasp.core.errors import InputError
from pyasp.data.checks import Checker
from pyasp.data.datadir import DataDir


@pytest.fixture
def corpus(tmp_path):
    """train, enroll and test of two speakers with three recordings each, and one trial list."""
    for name in ("train", "enroll", "test"):
        data, lines = DataDir(tmp_path / name), []
        for spk in ("s1", "s2"):
            for k in range(3):
                path = tmp_path / "audio" / f"{spk}-u{k}.wav"
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, np.zeros(1600), 16000)
                cut = lhotse.Recording.from_file(path, recording_id=path.stem).to_cut().with_id(path.stem)
                lines.append(json.dumps(cut.to_dict()))
        data.write_speakers({f"{spk}-u{k}": spk for spk in ("s1", "s2") for k in range(3)})
        data.write("utt2dur", {utt: "0.1" for utt in data.utt2spk})
        write_cuts(data / "cuts.jsonl.gz", lines)
    DataDir(tmp_path / "enroll").write("model2utts", {"m1": "s1-u0 s1-u1", "m2": "s2-u0"})
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "trials").write_text("m1 s1-u2 target\nm1 s2-u1 nontarget\nm2 s2-u2 target\n")
    return tmp_path


def shorten(directory, *utts):
    """Makes recordings too short to be used."""
    lines = [(utt, json.loads(line)) for utt, line in read_cuts(directory / "cuts.jsonl.gz")]
    cuts = [{**cut, "duration": 0.01} if utt in utts else cut for utt, cut in lines]
    write_cuts(directory / "cuts.jsonl.gz", [json.dumps(cut) for cut in cuts])


def test_sound_data_pass_unchanged(corpus, capsys):
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file() and path.name != "dropped.tsv"}
    assert check.main(["data", str(corpus)]) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert "kept 6 of 6 utterances of 2 speakers, dropped 0" in capsys.readouterr().err


def test_unusable_recordings_are_dropped_with_their_reason(corpus):
    shorten(corpus / "train", "s1-u1")
    data = DataDir(corpus / "train")
    lines = [line for utt, line in read_cuts(data / "cuts.jsonl.gz") if utt != "s2-u2"]
    write_cuts(data / "cuts.jsonl.gz", lines)
    checker = Checker(corpus / "train")
    checker.check()
    checker.fix()
    fixed = DataDir(corpus / "train")
    assert list(fixed.utt2spk) == ["s1-u0", "s1-u2", "s2-u0", "s2-u1"] == list(dict(read_cuts(fixed / "cuts.jsonl.gz")))
    assert list(fixed.read("utt2dur")) == list(fixed.utt2spk)
    rows = (fixed / "dropped.tsv").read_text().splitlines()
    assert rows[0] == "utt\treason" and rows[1] == "s1-u1\t0.010 s is shorter than one analysis window"
    assert rows[2] == "s2-u2\tno entry in cuts.jsonl.gz"


def test_audio_that_is_not_there_now_is_no_bad_recording(corpus, capsys):
    """A disk is unmounted: nothing is dropped, nothing changes, and the files are named."""
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    (corpus / "audio").rename(corpus / "elsewhere")
    assert check.main(["data", str(corpus)]) == 1
    assert "6 recordings that are not there" in capsys.readouterr().err
    assert fix_data(["fix", str(corpus / "train")]) == 1
    assert "kept 6 of 6 utterances of 2 speakers, dropped 0, kept 6 recordings that are not" in capsys.readouterr().out
    (corpus / "elsewhere").rename(corpus / "audio")
    (corpus / "train" / "dropped.tsv").unlink()
    assert {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()} == before
    assert check.main(["data", str(corpus)]) == 0


def test_unsorted_tables_are_put_in_order(corpus):
    data = DataDir(corpus / "train")
    (data / "utt2dur").write_text("".join(f"{utt} 1\n" for utt in reversed(data.utt2spk)) + "zz-u9 1\n")
    checker = Checker(data.path)
    checker.check()
    checker.fix()
    assert list(data.read("utt2dur")) == list(data.utt2spk) and checker.repaired == {"utt2dur": ["zz-u9"]}


def test_a_model_loses_a_dropped_recording_but_not_the_last(corpus):
    enroll = Checker(corpus / "enroll")
    shorten(corpus / "enroll", "s1-u0")
    enroll.check()
    enroll.fix()
    assert DataDir(corpus / "enroll").model2utts["m1"] == ["s1-u1"]
    shorten(corpus / "enroll", "s1-u1")
    again = Checker(corpus / "enroll")
    again.check()
    with pytest.raises(InputError, match="m1: found no usable recording .s1-u1: 0.010 s is shorter than"):
        again.fix()


def test_a_test_recording_that_cannot_be_used_is_named_with_its_reason(corpus, capsys):
    shorten(corpus / "test", "s1-u2")
    assert check.main(["data", "--max-dropped-fraction=0.5", str(corpus)]) == 1
    refused(
        capsys, "1 recordings that cannot be used (s1-u2: 0.010 s is shorter than", "take it out", "prepare --force"
    )
    (corpus / "trials" / "trials").write_text("m1 s1-u1 target\nm1 s2-u1 nontarget\n")  # without it
    assert check.main(["data", "--max-dropped-fraction=0.5", str(corpus)]) == 0


def test_too_many_unusable_recordings_are_refused_each_time_until_they_are_mended(corpus, capsys):
    """The first check drops none of them: the second would know of none, and go on with what is left."""
    before = {path: path.read_bytes() for path in (corpus / "train").rglob("*") if path.is_file()}
    good = (corpus / "audio/s1-u0.wav").read_bytes()
    (corpus / "audio/s1-u0.wav").write_bytes(good[:900])
    for _ in range(2):
        assert check.main(["data", str(corpus)]) == 1
        told = f"1 of 6 utterances unusable (s1-u0: {corpus}/audio/s1-u0.wav: found 856 bytes of samples"
        refused(capsys, told, f"all of them in {corpus}/train/unusable.tsv", "Then run stage prepare again")
    assert "s1-u0" in (corpus / "train/unusable.tsv").read_text()
    (corpus / "audio/s1-u0.wav").write_bytes(good)
    assert check.main(["data", str(corpus)]) == 0
    after = {path: path.read_bytes() for path in (corpus / "train").rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before and {path.name for path in after.keys() - before} <= {
        "dropped.tsv"
    }


def test_recordings_without_voice_are_named_once_voice_activity_is_known(corpus, capsys):
    """Before anything is trained, whose vectors they would stop."""
    for name in ("enroll", "test"):
        data = DataDir(corpus / name)
        for table, value in (("utt2num_frames", "10"), ("utt2num_voiced", "5"), ("utt2num_silent", "2")):
            data.write(table, dict.fromkeys(data.utt2spk, value))
    assert check.main(["voiced", str(corpus)]) == 0
    data.write("wav.scp", {utt: f"{utt}.wav" for utt in data.utt2spk})
    data.write("utt2num_voiced", dict.fromkeys(data.utt2spk, "5") | {"s1-u0": "0", "s2-u0": "0"})
    data.write("utt2num_silent", dict.fromkeys(data.utt2spk, "2") | {"s1-u0": "10"})
    assert check.main(["voiced", str(corpus)]) == 1
    told = "(s1-u0: s1-u0.wav: digital silence (all zeros), s2-u0: s2-u0.wav: no voiced frame"
    refused(capsys, "test: found 2 recordings that cannot be used", told, "--stage prepare --force")
    data.write("utt2num_voiced", dict.fromkeys(data.utt2spk, "0"))  # no recording is at fault
    assert check.main(["voiced", str(corpus)]) == 1
    many = len(data.utt2spk)
    cure = (
        f"finds no speech in {many - 1} of {many} recordings: lower --vad-energy-threshold (vad.conf) where they hold"
    )
    refused(capsys, cure, "Then run stage features again (./run.sh ... --stage features --force)")


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "empty|no trial"),
        ("m1 s1-u2 target\n", "one class|nontarget|non-target"),
        ("m1 nobody target\nm1 s2-u1 nontarget\n", "nobody"),
        ("m9 s1-u2 target\nm1 s2-u1 nontarget\n", "m9"),
        ("m1 s1-u2 maybe\n", "maybe"),
    ],
)
def test_bad_trial_lists_stop_the_stage(corpus, capsys, content, message):
    import re

    (corpus / "trials" / "trials").write_text(content)
    assert check.main(["data", str(corpus)]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_speaker_must_be_a_prefix_and_one_word(corpus):
    (corpus / "train" / "utt2spk").write_text("s1-u0 zz\n")
    with pytest.raises(InputError, match="a prefix of the utterance id"):
        Checker(corpus / "train").check()


def test_damaged_cuts_are_named(corpus):
    path = corpus / "train" / "cuts.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cuts.jsonl.gz: found no whole gzip file.*--stage prepare"):
        Checker(corpus / "train").check()


def test_too_many_drops_stop_the_stage(corpus, capsys):
    shorten(corpus / "train", *(f"s2-u{k}" for k in range(3)))
    assert check.main(["data", str(corpus)]) == 1
    assert "3 of 6 utterances unusable" in capsys.readouterr().err

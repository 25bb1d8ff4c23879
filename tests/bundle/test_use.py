"""verify, enroll, identify, embed, export: answers, warnings and mistakes, with a tiny random network."""

import http.client
import json
import math
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from bundle_data import CEPS, DIM, RATE, make_bundle, network, speech, write_sound
from scipy.signal import resample_poly

from pyasp import SpeakerModel
from pyasp.audio.recording import Sound, band_edge, clipped_share, complaints
from pyasp.backend.options import ScoreOptions
from pyasp.bin import embed, enroll, export, identify, verify
from pyasp.bundle import enrolled
from pyasp.bundle.format import write_manifest
from pyasp.bundle.verify import scale_text
from pyasp.core.conf import write_conf
from pyasp.core.errors import InputError
from pyasp.kaldi import ScpReader, read_ark
from pyasp.network.embed import Embedder, EmbedOptions
from pyasp.network.pooling import POOLINGS

ROOT = str(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_bundle(tmp_path_factory.mktemp("use") / "model"))


@pytest.fixture(scope="module")
def wavs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wavs")
    return [write_sound(folder / f"{name}.wav", speech(seed=seed)) for name, seed in (("a", 1), ("b", 2), ("c", 3))]


def answer(capsys, *arguments):
    assert verify.main(["--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_verify_says_same_or_different_with_score_threshold_and_durations(model, wavs, capsys):
    assert verify.main(["--model", model, wavs[0], wavs[0]]) == 0
    text = capsys.readouterr().out
    assert text.startswith("same speaker: log-likelihood ratio +") and "threshold 0.00 (prior 0.5" in text
    assert "has no calibration" in text and "2.00" in text
    found = answer(capsys, "--model", model, wavs[0], wavs[1], "--", wavs[2], wavs[0])
    loaded = SpeakerModel.load(model)
    vectors = [loaded.embed(soundfile.read(path, dtype="int16")[0], RATE) for path in wavs]
    assert found["tests"][0]["llr"] == pytest.approx(loaded.score(vectors[:2], vectors[2]))
    assert [each["same"] for each in found["tests"]] == [each["llr"] >= 0 for each in found["tests"]]
    assert len(found["enrol"]) == 2 and found["enrol"][0]["seconds"] == 2.0 and not found["calibrated"]


def test_cosines_without_a_calibration_decide_nothing(model, wavs, tmp_path, capsys):
    """Any two voices have a cosine above the threshold 0 of a ratio."""
    shutil.copytree(model, tmp_path / "m")
    write_conf(tmp_path / "m/backend.conf", ScoreOptions(scoring="cosine"))
    write_manifest(tmp_path / "m", "network", {})  # as it is made: a change by hand is another system
    named, pairs = ["--model", str(tmp_path / "m")], tmp_path / "pairs"
    assert verify.main([*named, wavs[0], wavs[1]]) == 1
    said = capsys.readouterr()
    assert not said.out and "which have no threshold" in said.err and "pyasp evaluate --calibration" in said.err
    assert enroll.main([*named, str(tmp_path / "s"), "ann", wavs[0]]) == 0
    assert identify.main([*named, str(tmp_path / "s"), wavs[1]]) == 1 and "no threshold" in capsys.readouterr().err
    with pytest.raises(InputError, match="no threshold"):
        SpeakerModel.load(tmp_path / "m").identify(tmp_path / "s", *soundfile.read(wavs[1]))
    pairs.write_text(f"{wavs[0]} {wavs[1]}\n")
    assert verify.main([*named, "--pairs", str(pairs)]) == 0
    said = capsys.readouterr()
    assert "rank and decide nothing" in said.err and "same speaker" not in said.err and len(said.out.split()) == 3
    (tmp_path / "m/calibration.json").write_text(json.dumps({"scale": 9.0, "offset": -5.0}))
    assert verify.main([*named, wavs[0], wavs[0]]) == 0 and "same speaker" in capsys.readouterr().out


def test_verify_says_what_its_ratio_is_worth(model, wavs, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "m")
    values = {"scale": 0.5, "offset": -2.0, "n_target": 3, "n_nontarget": 200, "speakers": 7, "separable": False}
    (tmp_path / "m/calibration.json").write_text(json.dumps({**values, "doubts": ["3 target trials, fewer than 30"]}))
    assert verify.main(["--model", str(tmp_path / "m"), wavs[0], wavs[1]]) == 0
    assert (
        "(calibrated log-likelihood ratio, trained on 3 target and 200 nontarget trials of 7 speakers; a ratio below -1.1 "
        "or above +5.3 is beyond what they can show. To be taken with care: trained on 3 target trials, fewer than 30)"
    ) in capsys.readouterr().out
    told = answer(capsys, "--model", str(tmp_path / "m"), wavs[0], wavs[1])
    assert told["calibrated"] and told["scale"].endswith("trained on 3 target trials, fewer than 30")
    facts = json.loads((tmp_path / "m/bundle.json").read_text())
    facts["files"]["calibration.json"] = "0" * 64  # of the one that it was made with
    (tmp_path / "m/bundle.json").write_text(json.dumps(facts))
    assert verify.main(["--model", str(tmp_path / "m"), wavs[0], wavs[1]]) == 0
    assert "calibration.json is not the one that the bundle was made with" in capsys.readouterr().out
    wild = SimpleNamespace(calibration=None, decides=True)
    assert "for ranks, not for ratios" in scale_text(wild, [3.0, -16008.0])
    assert "ranks" not in scale_text(wild, [3.0, -8.0])


def test_a_first_answer_waits_for_no_library_that_it_does_not_need(model, wavs):
    code = (
        f"import sys; from pyasp.__main__ import main; main(['show', {model!r}]); main(['show', {model + '/network.ark'!r}]); "
        f"print({{'torch', 'lhotse', 'scipy'}} & set(sys.modules)); main(['verify', '--model', {model!r}, {wavs[0]!r}, {wavs[1]!r}]); "
        "print({'lhotse', 'scipy', 'matplotlib', 'pyasp.audio.cuts', 'pyasp.training.trainer'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert done.stdout.count("set()\n") == 2 and "log-likelihood ratio" in done.stdout, done.stdout + done.stderr


def test_prior_and_costs_move_the_threshold(model, wavs, capsys):
    found = answer(capsys, "--model", model, "--prior", "0.01", "--c-fa", "2", wavs[0], wavs[1])
    assert found["threshold"] == pytest.approx(math.log(2 * 99))


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["a.wav"], 2, "ENROL... is missing"),
        (["W", "W", "--"], 2, "nothing stands behind the `--`: TEST... is missing"),
        (["--channel", "-2", "W", "W"], 1, "--channel: found -2"),
        (["--prior", "2", "W", "W"], 1, r"--prior: found 2; expected a number in (0, 1)"),
        (["W", "gone.wav"], 1, "gone.wav: found no such file"),
        (["W", "/"], 1, "/: found a directory; expected an audio file"),
        (["W", "M/plda"], 1, "M/plda"),
    ],
)
def test_mistakes_of_verify(model, wavs, capsys, arguments, code, message):
    words = [wavs[0] if word == "W" else word.replace("M", model) for word in arguments]
    assert verify.main(["--model", model, *words]) == code
    assert message.replace("M", model) in capsys.readouterr().err
    assert verify.main([wavs[0], wavs[1]]) == 1 and "no --model" in capsys.readouterr().err


def test_less_than_a_frame_is_no_recording_for_any_verb(model, wavs, tmp_path, capsys):
    tiny, speakers = write_sound(tmp_path / "tiny.wav", speech(seed=1)[: RATE * 6 // 1000]), str(tmp_path / "s")
    told, named = "tiny.wav: found 0.006 s; expected at least one frame of 25 ms", ["--model", model]
    assert enroll.main([*named, speakers, "ann", wavs[0]]) == 0
    assert verify.main([*named, wavs[0], "--", tiny, wavs[1]]) == 1
    assert told in capsys.readouterr().err
    assert identify.main([*named, speakers, tiny, wavs[1]]) == 1 and told in capsys.readouterr().err
    assert enroll.main([*named, speakers, "bob", tiny, wavs[1]]) == 1 and told in capsys.readouterr().err
    assert not (tmp_path / "s/bob.ark").exists()
    with pytest.raises(InputError, match="found 0.006 s"):
        SpeakerModel.load(model).embed(np.zeros(RATE * 6 // 1000), RATE)


def test_rate_and_samples_turned_about_are_told(model):
    with pytest.raises(InputError, match="a rate before the samples; expected .wave, rate.. Turn the two about"):
        SpeakerModel.load(model).embed(RATE, speech(seed=1))
    with pytest.raises(InputError, match="samples a second, such as 16000"):
        SpeakerModel.load(model).embed(speech(seed=1), [RATE])


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "pairs: found nothing (No such file or directory); expected a file. Check the path"),
        ("a.wav,b.wav\n", "line 1: found commas between the fields; expected <enrol> <test>"),
    ],
)
def test_lists_of_pairs_that_cannot_be_read(model, tmp_path, capsys, content, message):
    if content:
        (tmp_path / "pairs").write_text(content)
    assert verify.main(["--model", model, "--pairs", str(tmp_path / "pairs")]) == 1
    assert message in capsys.readouterr().err


def test_a_recording_of_two_speakers_is_found_without_reading_all_of_them(model, wavs, tmp_path, capsys, monkeypatch):
    read, archive = [], enrolled._read
    monkeypatch.setattr(enrolled, "_read", lambda path, noted: read.append(path.stem) or archive(path, noted))
    speakers, named = str(tmp_path / "s"), ["--model", model]
    for name, wav in (("ann", wavs[0]), ("bob", wavs[1]), ("cid", wavs[0])):
        assert enroll.main([*named, speakers, name, wav]) == 0
        assert ("ann is enrolled with this very recording" in capsys.readouterr().out) == (name == "cid")
    assert read == []  # what was enrolled is noted
    (tmp_path / "s/ann.ark").unlink()
    assert enroll.main([*named, "--add", speakers, "bob", wavs[0]]) == 0
    told = capsys.readouterr().out
    assert "cid is enrolled with" in told and "ann" not in told and read == ["bob"]
    read.clear()
    assert verify.main([*named, "--speakers", speakers, "--claim", "cid", wavs[0]]) == 0 and read == ["cid"]


def test_files_that_were_not_enrolled_there_are_known(model, wavs, tmp_path, capsys):
    """Archives of another speaker or model put in by hand; a file may be renamed, deleted, and enrolled anew."""
    speakers, other = tmp_path / "s", tmp_path / "o"
    for directory, name, wav in ((speakers, "ann", 0), (speakers, "bob", 1), (other, "cid", 2)):
        assert enroll.main(["--model", model, str(directory), name, wavs[wav]]) == 0
    ask = ["--model", model, str(speakers), wavs[0]]
    with open(speakers / "bob.ark", "ab") as stream:
        stream.write((speakers / "ann.ark").read_bytes())
    assert identify.main(ask) == 1
    assert (
        "bob.ark: found 1 of 2 recordings (first: 1-a.wav) that were not enrolled here for bob"
        in capsys.readouterr().err
    )
    (speakers / "bob.ark").unlink()
    for name in ("cid", "bob"):
        shutil.copyfile(other / "cid.ark", speakers / f"{name}.ark")
        assert identify.main(ask) == 1
        assert f"{name}.ark: found 1 of 1 recordings (first: 1-c.wav) that were not" in capsys.readouterr().err
        assert verify.main(["--model", model, "--speakers", str(speakers), "--claim", name, wavs[0]]) == 1
        assert enroll.main(["--model", model, "--add", str(speakers), name, wavs[0]]) == 1
        (speakers / f"{name}.ark").unlink()
    assert enroll.main(["--model", model, str(speakers), "bob", wavs[1]]) == 0 and identify.main(ask) == 0
    (speakers / "bob.ark").rename(speakers / "bert.ark")
    assert identify.main(ask) == 0 and "bert " in capsys.readouterr().out
    assert enroll.main(["--model", model, str(speakers), "cid", wavs[1]]) == 0
    assert "bert is enrolled with this very recording" in capsys.readouterr().out
    noted = json.loads((speakers / "model.json").read_text())
    assert set(noted["recordings"]) == {"ann", "bert", "cid"}
    (speakers / "model.json").write_text(json.dumps({"identity": noted["identity"]}))  # of before they were noted
    assert identify.main(ask) == 0
    assert enroll.main(["--model", model, "--force", str(speakers), "cid", wavs[2]]) == 0
    assert set(json.loads((speakers / "model.json").read_text())["recordings"]) == {"ann", "bert", "cid"}
    (speakers / "model.json").unlink()
    capsys.readouterr()
    assert identify.main(ask) == 1 and enroll.main(["--model", model, str(speakers), "dan", wavs[2]]) == 1
    assert capsys.readouterr().err.count("speakers (ann, bert, cid) without model.json") == 2


def test_stereo_needs_a_channel(model, wavs, tmp_path, capsys):
    both = write_sound(tmp_path / "s.wav", np.stack([speech(seed=1), speech(seed=2)], axis=1))
    assert verify.main(["--model", model, both, wavs[0]]) == 1 and "2 channels" in capsys.readouterr().err
    right = answer(capsys, "--model", model, "--channel", "1", both, wavs[2])
    alone = answer(capsys, "--model", model, wavs[1], wavs[2])
    assert right["tests"][0]["llr"] == pytest.approx(alone["tests"][0]["llr"])


BAD = {
    "short": (lambda x: x[:2400], "short: "),
    "nearly silent": (lambda x: x * 0.012, "nearly silent"),
    "clipped": (lambda x: np.clip(x * 40, -0.8, 0.8), "clipped: "),
    "narrow": (None, "nothing above"),
    "zeros": (lambda x: np.concatenate([np.zeros(8000), x]), "digital silence in 0.99 s of 3.00 s"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_defect_of_a_recording_is_warned_of(model, wavs, tmp_path, capsys, name):
    change, message = BAD[name]
    wave = speech(seed=1)
    wave = resample_poly(resample_poly(wave, 1, 4), 4, 1) if change is None else change(wave)
    path = write_sound(tmp_path / "bad.wav", wave)
    assert verify.main(["--model", model, path, wavs[1]]) == 0
    assert f"warning: {path}: {message}" in capsys.readouterr().out
    assert verify.main(["--model", model, wavs[0], wavs[1]]) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_rate_that_no_recording_has(model, wavs, tmp_path, capsys):
    assert verify.main(["--model", model, write_sound(tmp_path / "16.wav", speech(), rate=16), wavs[0]]) == 1
    assert "audio at 16 Hz" in capsys.readouterr().err


def test_silence_has_no_answer(model, wavs, tmp_path, capsys):
    assert verify.main(["--model", model, write_sound(tmp_path / "0.wav", np.zeros(8000)), wavs[0]]) == 1
    assert "no voiced frame" in capsys.readouterr().err


def test_bandwidth_of_both_kinds():
    rng = np.random.default_rng(0)
    wide = rng.standard_normal(32000) * 3000
    narrow = resample_poly(resample_poly(wide, 1, 2), 2, 1)
    assert band_edge(wide, 16000) > 7500 and 3500 < band_edge(narrow, 16000) < 5500
    assert any("telephone model" in text for text in complaints(Sound("x", wide, 16000), 2.0, 8000, 3700.0, 1.0))
    assert not complaints(Sound("x", narrow, 16000), 2.0, 8000, 3700.0, 1.0)
    assert any("upper band is missing" in text for text in complaints(Sound("x", wide, 8000), 2.0, 16000, 7600.0, 1.0))
    trained = {"narrow": (8000, 8000), "both": (8000, 16000), "wide": (16000, 16000)}
    cases = {  # (recording, its rate, the model's, what it was trained on): what is told
        (8000, 16000, "narrow"): "",  # what training lacked too
        (8000, 16000, "both"): "",
        (8000, 16000, "wide"): "recorded at 8000 Hz for a model of 16000 Hz: the upper band is missing",
        (16000, 16000, "narrow"): "wide-band, with voice up to 8.0 kHz, for a model trained on recordings of 8000 Hz",
        (16000, 16000, "both"): "",
        (16000, 8000, "narrow"): "wide-band, with voice up to 8.0 kHz, for a telephone model of 8000 Hz",
        (16000, 8000, "wide"): "",  # training was resampled too
    }
    for (rate, of, what), told in cases.items():
        wave = Sound("x", wide[: 2 * rate], rate)
        assert "; ".join(complaints(wave, 2.0, of, 0.95 * of / 2, 1.0, 0.0, trained[what])) == told
    assert not complaints(Sound("x", narrow, 16000), 2.0, 16000, 7600.0, 1.0, 0.0, trained["narrow"])
    assert "nothing above" in complaints(Sound("x", narrow, 16000), 2.0, 16000, 7600.0, 1.0, 0.0, trained["wide"])[0]
    assert band_edge(np.zeros(100), 8000) == band_edge(np.zeros(2000), 8000) == 4000


def test_clipped_share_counts_runs_at_the_limits():
    wave = np.zeros(1000, np.float32)
    wave[10:15], wave[50:54], wave[80] = 30000, -30000, 30000
    assert clipped_share(wave) == pytest.approx(9 / 1000)
    assert clipped_share(wave / 100) == 0.0


def test_enroll_and_identify_the_closest_or_none(model, wavs, tmp_path, capsys):
    speakers = str(tmp_path / "speakers")
    for name, path in (("ann", wavs[0]), ("bob", wavs[1])):
        assert enroll.main(["--model", model, speakers, name, path]) == 0
    assert "ann.ark: 1 recordings" in capsys.readouterr().out
    assert identify.main(["--model", model, "--json", speakers, wavs[0]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"][0]["speaker"] == "ann" and list(found["files"][0]["closest"]) == ["ann", "bob"]
    assert found["threshold"] == pytest.approx(math.log(2))
    assert identify.main(["--model", model, "--prior", "1e-30", speakers, wavs[0]]) == 0
    assert "none of them (ann" in capsys.readouterr().out


def test_a_recording_is_added_to_an_enrolled_speaker_and_none_counts_twice(model, wavs, tmp_path, capsys):
    speakers, common = str(tmp_path / "speakers"), ["--model", model]
    assert enroll.main([*common, "--add", speakers, "ann", wavs[0]]) == 1
    assert "no such speaker; expected one that is enrolled (none is yet)" in capsys.readouterr().err
    assert enroll.main([*common, speakers, "ann", wavs[0]]) == 0
    assert enroll.main([*common, "--add", speakers, "ann", wavs[1], wavs[0]]) == 0
    told = capsys.readouterr().out
    assert "ann.ark: 2 recordings, 1 of them new" in told and "1 of 2 recordings were there already" in told
    assert [key for key, _ in read_ark(f"{speakers}/ann.ark")] == ["1-a.wav", "2-b.wav"]
    loaded = SpeakerModel.load(model)
    vectors = [loaded.embed(*soundfile.read(path, dtype="int16")) for path in wavs]
    np.testing.assert_allclose(loaded.speakers(speakers)["ann"], vectors[:2], rtol=1e-5, atol=1e-6)
    for words, message in (
        (["--add", speakers, "anne", wavs[2]], "no such speaker; expected one that is enrolled (ann)"),
        (["--add", "--force", speakers, "ann", wavs[2]], "found add and force"),
        ([speakers, "ann", wavs[2]], "Add to his recordings (--add, add=True)"),
    ):
        assert enroll.main([*common, *words]) == 1 and message in capsys.readouterr().err


def test_a_claim_is_checked_against_the_enrolled_speaker(model, wavs, tmp_path, capsys):
    speakers = str(tmp_path / "speakers")
    assert enroll.main(["--model", model, speakers, "ann", *wavs[:2]]) == 0
    capsys.readouterr()
    claim = ["--model", model, "--speakers", speakers, "--claim"]
    assert verify.main([*claim, "ann", wavs[0], wavs[2]]) == 0
    assert "ann, as claimed: log-likelihood ratio" in capsys.readouterr().out
    found = answer(capsys, *claim, "ann", "--prior", "1e-30", wavs[2])
    direct = answer(capsys, "--model", model, wavs[0], wavs[1], "--", wavs[2])
    assert found["claim"] == "ann" and found["tests"][0]["llr"] == pytest.approx(direct["tests"][0]["llr"])
    assert found["tests"][0]["same"] is False and "enrol" not in found
    for words, code, message in (
        ([*claim, "bob", wavs[0]], 1, "found no speaker bob; expected ann"),
        ([*claim, "ann"], 2, "TEST... is missing"),
        (["--model", model, "--claim", "ann", wavs[0]], 1, "found --claim; expected --speakers DIR with --claim NAME"),
        ([*claim[:3], str(tmp_path), "--claim", "ann", wavs[0]], 1, "no enrolled speakers"),
    ):
        assert verify.main(words) == code and message in capsys.readouterr().err


def test_a_list_of_pairs_is_scored_and_what_failed_is_counted(model, wavs, tmp_path, capsys):
    listed, common = tmp_path / "pairs", ["--model", model, "--pairs", str(tmp_path / "pairs")]
    listed.write_text(f"{wavs[0]} {wavs[1]}\n{wavs[0]} {wavs[2]} nontarget\n\n")
    assert verify.main(common) == 0
    told = capsys.readouterr()
    lines = [line.split() for line in told.out.splitlines()]
    assert [line[:2] for line in lines] == [wavs[:2], [wavs[0], wavs[2]]]
    single = answer(capsys, "--model", model, wavs[0], wavs[2])
    assert float(lines[1][2]) == pytest.approx(single["tests"][0]["llr"], rel=1e-4)
    assert "done 2 of 2 pairs" in told.err and "0 of 3 recordings failed" in told.err
    blank = write_sound(tmp_path / "b b.wav", speech(seed=4))
    listed.write_text(f"{wavs[0]}\tgone.wav\n{wavs[0]}\t{blank}\n")
    assert verify.main(common) == 1
    told = capsys.readouterr()
    assert told.out.startswith(f"{wavs[0]}\t{blank}\t") and len(told.out.splitlines()) == 1
    assert "gone.wav: failed: gone.wav: found no such file" in told.err and "done 1 of 2 pairs" in told.err
    assert verify.main(["--json", *common]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["test"] for row in found["pairs"]] == [blank] and list(found["failed"]) == ["gone.wav"]
    for text, code, message in (("a b c\n", 1, "line 1: found 3 fields"), ("\n", 1, "no pair")):
        listed.write_text(text)
        assert verify.main(common) == code and message in capsys.readouterr().err
    assert verify.main([*common, wavs[0]]) == 2 and "beside --pairs" in capsys.readouterr().err


def test_options_may_stand_behind_the_dashes_too(model, wavs, capsys):
    assert verify.main(["--model", model, wavs[0], "--", wavs[1], "--json", "--prior", "0.01"]) == 0
    assert json.loads(capsys.readouterr().out)["prior"] == 0.01
    assert verify.main(["--model", model, wavs[0], "--", wavs[1], "--jsn"]) == 1
    assert "unknown option --jsn" in capsys.readouterr().err


def test_enrolled_directories_from_python(model, wavs, tmp_path, capsys):
    loaded, directory = SpeakerModel.load(model), tmp_path / "speakers"
    waves = [soundfile.read(path, dtype="int16") for path in wavs]
    assert loaded.enroll(directory, "Özgür Ü", waves[:1]) == 1 and loaded.enroll(directory, "bob", waves[1:2]) == 1
    assert loaded.enroll(directory, "O\u0308zgu\u0308r U\u0308", waves[2:], add=True) == 2  # the accents apart
    found = loaded.identify(directory, *waves[1])
    best = max(found.scores, key=found.scores.get)  # a random network's
    assert list(found.scores)[0] == best and found.threshold == pytest.approx(math.log(2))
    assert found.speaker == (best if found.scores[best] >= math.log(2) else None)
    assert loaded.identify(directory, *waves[1], prior=1 - 1e-12).speaker == best
    assert loaded.identify(directory, *waves[1], prior=1e-30).speaker is None
    told = loaded.speakers(directory)
    assert {name: len(vectors) for name, vectors in told.items()} == {"bob": 1, "Özgür Ü": 2}
    assert identify.main(["--model", model, "--json", str(directory), wavs[1]]) == 0
    file = json.loads(capsys.readouterr().out)["files"][0]
    assert file["closest"] == pytest.approx(found.scores, rel=1e-4) and file["speaker"] == found.speaker
    assert loaded.claim(directory, "bob", *waves[1]) == pytest.approx(found.scores["bob"])
    with pytest.raises(InputError, match="no speaker eve; expected bob, Özgür Ü"):
        loaded.claim(directory, "eve", *waves[1])
    with pytest.raises(InputError, match="a speaker of this name"):
        loaded.enroll(directory, "bob", waves)
    for nothing, message in (([], "bob: found no recording"), (waves[0], "bob: found something else than pairs")):
        with pytest.raises(InputError, match=message):
            loaded.enroll(directory, "bob", nothing, force=True)
    (tmp_path / "file").touch()
    for place, name, message in (
        (directory, "a" * 300, "of 300 bytes"),
        (tmp_path / "file", "bob", "file: found a file"),
    ):
        with pytest.raises(InputError, match=message):
            loaded.enroll(place, name, waves[:1])
    assert len(loaded.speakers(directory)["bob"]) == 1  # as he was


def test_the_service_of_the_page(model, wavs, tmp_path):
    page = (Path(ROOT) / "pyasp/README.md").read_text()
    code = next(block for block in page.split("```python\n") if block.startswith("# service.py")).split("```")[0]
    assert sum(bool(line) for line in code.splitlines()) <= 30
    (tmp_path / "service.py").write_text(code)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, str(tmp_path / "service.py"), model, str(tmp_path / "speakers"), port]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert b"ready" in process.stderr.readline()

            def post(path, body):
                line = http.client.HTTPConnection("127.0.0.1", int(port))
                line.request("POST", path, body)
                answer = line.getresponse()
                return answer.status, json.loads(answer.read())

            ann, other = (Path(path).read_bytes() for path in wavs[:2])
            assert post("/enroll/Ann%20B", ann) == (200, {"recordings": 1})
            assert post("/add/Ann%20B", other) == (200, {"recordings": 2})
            status, found = post("/identify", ann)
            assert status == 200 and list(found["scores"]) == ["Ann B"]
            assert post("/claim/Ann%20B", ann)[1]["llr"] == pytest.approx(found["scores"]["Ann B"])
            for path, body, message in (
                ("/claim/bob", ann, "no speaker bob"),
                ("/enroll/Ann%20B", ann, "a speaker of this name"),
                ("/enroll/..%2Fbob", ann, "a name on one line"),
                ("/identify", b"junk", "Format not recognised"),
                ("/other", ann, "/enroll/NAME"),
            ):
                status, found = post(path, body)
                assert status == 400 and message in found["error"]
        finally:
            process.kill()
    assert not (tmp_path / "bob.ark").exists()


def test_speakers_are_added_by_many_threads_without_loss(model, tmp_path):
    loaded = SpeakerModel.load(model)
    waves = [(speech(seed=seed), RATE) for seed in range(6)]
    loaded.enroll(tmp_path / "s", "ann", waves[:1])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda wave: loaded.enroll(tmp_path / "s", "ann", [wave], add=True), waves[1:]))
    assert len(loaded.speakers(tmp_path / "s")["ann"]) == 6


def test_mistakes_of_enroll_and_identify(model, wavs, tmp_path, capsys):
    speakers = str(tmp_path / "speakers")
    assert identify.main(["--model", model, speakers, wavs[0]]) == 1 and "no such dir" in capsys.readouterr().err
    for name in ("a/b", ".ann", "-ann", " ann", "a\nb", ""):
        assert enroll.main(["--model", model, speakers, name, wavs[0]]) == 1
        assert "a name on one line, without slashes" in capsys.readouterr().err
    assert enroll.main(["--model", model, speakers, "ann", wavs[0]]) == 0
    assert enroll.main(["--model", model, speakers, "ann", wavs[1]]) == 1 and "--force" in capsys.readouterr().err
    assert enroll.main(["--model", model, "--force", speakers, "ann", wavs[1]]) == 0
    other = str(make_bundle(tmp_path / "other", "average"))
    for run in (
        lambda: enroll.main(["--model", other, speakers, "bob", wavs[0]]),
        lambda: identify.main(["--model", other, speakers, wavs[0]]),
    ):
        assert run() == 1 and "another model" in capsys.readouterr().err


def test_a_speakers_name_may_have_blanks_and_any_letters(model, wavs, tmp_path, capsys):
    speakers = str(tmp_path / "speakers")
    assert enroll.main(["--model", model, speakers, "Özgür Ü", *wavs[:2]]) == 0
    assert enroll.main(["--model", model, speakers, "O\u0308zgu\u0308r U\u0308", wavs[0]]) == 1  # the same name
    assert "a speaker of this name" in capsys.readouterr().err
    assert identify.main(["--model", model, "--prior=1e-9", speakers, wavs[0]]) in (0, 1)
    assert "Özgür Ü" in capsys.readouterr().out


def test_a_recording_against_itself_is_said_under_whatever_name(model, wavs, tmp_path, capsys):
    copy, common, told = (
        str(shutil.copy(wavs[0], tmp_path / "copy.wav")),
        ["--model", model],
        "very recording is enrolled",
    )
    assert verify.main([*common, wavs[0], copy]) == 0
    assert f"warning: {copy}: this {told}: its ratio says nothing of who speaks" in capsys.readouterr().out
    found = answer(capsys, *common, wavs[0], wavs[1], "--", wavs[2], wavs[1])
    assert [any(told in text for text in each["warnings"]) for each in found["tests"]] == [False, True]
    speakers = str(tmp_path / "speakers")
    assert enroll.main([*common, speakers, "ann", wavs[0]]) == enroll.main([*common, speakers, "bob", wavs[1]]) == 0
    assert identify.main([*common, speakers, wavs[2], copy]) == 0
    assert capsys.readouterr().out.count(told) == 1
    assert verify.main([*common, "--speakers", speakers, "--claim", "ann", copy, wavs[1]]) == 0
    assert capsys.readouterr().out.count(told) == 1
    (tmp_path / "pairs").write_text(f"{wavs[0]} {copy}\n{wavs[0]} {wavs[1]}\n")
    assert verify.main([*common, "--pairs", str(tmp_path / "pairs")]) == 0
    assert "warning: 1 of 2 pairs are of a recording with itself" in capsys.readouterr().err
    assert answer(capsys, *common, "--pairs", str(tmp_path / "pairs"))["itself"] == 1
    assert enroll.main([*common, speakers, "carl", copy, wavs[2]]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "very recording" in line]
    assert told == [f"warning: {copy}: ann is enrolled with this very recording"]


def test_an_enrolled_speaker_without_a_recording_is_named(model, wavs, tmp_path, capsys):
    speakers, common = str(tmp_path / "speakers"), ["--model", model]
    assert enroll.main([*common, speakers, "ann", wavs[0]]) == 0
    (tmp_path / "speakers/bob.ark").write_bytes(b"")
    assert identify.main([*common, speakers, wavs[1]]) == 1
    assert f"{speakers}/bob.ark: found no recording; expected at least one" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_leaves_the_others_their_answers(model, wavs, tmp_path, capsys):
    speakers, common = str(tmp_path / "speakers"), ["--model", model]
    assert enroll.main([*common, speakers, "ann", wavs[0]]) == 0
    (tmp_path / "bad.wav").write_text("no audio")
    bad, gone = str(tmp_path / "bad.wav"), str(tmp_path / "gone.wav")
    claim = ["--speakers", speakers, "--claim", "ann"]
    for verb, words in ((identify, [speakers]), (verify, [wavs[0], "--"]), (verify, claim)):
        capsys.readouterr()
        assert verb.main([*common, *words, bad, wavs[1], gone]) == 1
        told = capsys.readouterr()
        assert wavs[1] in told.out and "2 of 3 recordings failed" in told.err
        assert f"{bad}: failed: {bad}: found" in told.err and f"{gone}: failed: {gone}: found no such file" in told.err
        assert verb.main([*common, "--json", *words, bad, wavs[1]]) == 1
        found = json.loads(capsys.readouterr().out)
        assert list(found["failed"]) == [bad] and len(found.get("files", found.get("tests"))) == 1
        assert verb.main([*common, *words, bad]) == 1 and f"error: {bad}: found" in capsys.readouterr().err


def test_all_bad_recordings_of_a_speaker_are_named(model, wavs, tmp_path, capsys):
    bad = [write_sound(tmp_path / f"zero{k}.wav", np.zeros(8000)) for k in (0, 1)]
    assert enroll.main(["--model", model, str(tmp_path / "speakers"), "ann", wavs[0], *bad]) == 1
    said = capsys.readouterr().err
    assert "2 unusable recordings" in said and all(path in said for path in bad)


def test_embed_names_recordings_with_digital_silence(model, wavs, tmp_path, capsys):
    wave, rate = soundfile.read(wavs[0])
    (tmp_path / "f").mkdir()
    for name, samples in (("clean", wave), ("padded", np.concatenate([np.zeros(rate), wave, np.zeros(rate)]))):
        write_sound(tmp_path / f"f/{name}.wav", samples)
    assert embed.main(["--model", model, str(tmp_path / "f"), str(tmp_path / "e.ark")]) == 0
    assert "warning: 1 recordings hold digital silence, which is left out: padded\n" in capsys.readouterr().err
    found = ScpReader(tmp_path / "e.scp")
    both = [found[key] / np.linalg.norm(found[key]) for key in ("clean", "padded")]
    assert both[0] @ both[1] > 0.98  # the frames across the edges are all that differs


def test_embed_folders_tables_and_files_to_ark_and_npy(model, wavs, tmp_path, capsys):
    folder = str(tmp_path / "f")
    (tmp_path / "f/s 1").mkdir(parents=True)
    for path in wavs[:2]:
        write_sound(tmp_path / "f/s 1" / path.rsplit("/", 1)[1], soundfile.read(path)[0])
    (tmp_path / "f/notes.txt").write_text("no audio")
    assert embed.main(["--model", model, "--threads", "2", folder, str(tmp_path / "e.ark")]) == 0
    reader = ScpReader(tmp_path / "e.scp")
    assert list(reader) == ["s_1-a", "s_1-b"]
    expected = SpeakerModel.load(model).embed(soundfile.read(wavs[0], dtype="int16")[0], RATE)
    np.testing.assert_allclose(reader["s_1-a"], expected, rtol=1e-5, atol=1e-6)
    (tmp_path / "t.tsv").write_text(f"utt\tpath\nx\t{wavs[0]}\n")
    (tmp_path / "wav.scp").write_text(f"y {wavs[1]}\n")
    assert (
        embed.main(
            ["--model", model, str(tmp_path / "t.tsv"), str(tmp_path / "wav.scp"), wavs[2], str(tmp_path / "e.npy")]
        )
        == 0
    )
    assert (tmp_path / "e.txt").read_text().split() == ["c", "x", "y"]
    assert np.load(tmp_path / "e.npy").shape == (3, DIM)
    np.testing.assert_allclose(np.load(tmp_path / "e.npy")[1], expected, rtol=1e-5, atol=1e-6)


def test_embed_counts_failures_and_lets_them_decide(model, wavs, tmp_path, capsys):
    bad = write_sound(tmp_path / "zero.wav", np.zeros(8000))
    arguments = ["--model", model, wavs[0], bad, str(tmp_path / "e.ark")]
    assert embed.main(arguments) == 1
    assert "done 1 of 2, 1 failed (first: zero: " in capsys.readouterr().err
    assert [line.split("\t")[0] for line in (tmp_path / "e.failed.tsv").read_text().splitlines()] == ["utt", "zero"]
    assert embed.main(["--max-failed", "0.5", *arguments]) == 0
    assert [key for key, _ in read_ark(tmp_path / "e.ark")] == ["a"]


@pytest.mark.parametrize(
    "inputs, out, message",
    [
        (["gone"], "e.ark", "no such file"),
        (["."], "e.txt", "ending in .ark"),
        (["empty"], "e.ark", "no audio file"),
        (["cmd.scp"], "e.ark", "the command"),
        (["bad.tsv"], "e.ark", "utt and path"),
        (["a/x.wav", "b/x.wav"], "e.ark", "one recording a key"),
        (["cmd.scp"], "cmd.ark", "cmd.scp: found an input as the output, too"),
        (["e.txt"], "e.npy", "e.txt: found an input as the output, too"),
    ],
)
def test_mistakes_of_embed(model, tmp_path, monkeypatch, capsys, inputs, out, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "a", "b"):
        (tmp_path / name).mkdir()
    for name in ("a/x.wav", "b/x.wav"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "cmd.scp").write_text("u touch ran |\n")
    (tmp_path / "bad.tsv").write_text("id\tfile\n")
    assert embed.main(["--model", model, *inputs, out]) == 1 and message in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("pooling, heads", [*((name, 1) for name in POOLINGS), ("attentive_statistics", 4)])
def test_onnx_gives_the_networks_embeddings_and_scores(tmp_path, pooling, heads, capsys):
    pytest.importorskip("onnx")
    session_of = pytest.importorskip("onnxruntime").InferenceSession
    folder = make_bundle(tmp_path / "model", pooling, attention_heads=heads)
    assert export.main(["--onnx", "--compare", "false", str(folder), str(tmp_path / "net.onnx")]) == 0
    assert "MB" in capsys.readouterr().out
    session, net = (
        session_of(tmp_path / "net.onnx", providers=["CPUExecutionProvider"]),
        network(pooling, attention_heads=heads)[0],
    )
    scorer = SpeakerModel.load(folder)
    embedder = Embedder(net, EmbedOptions(), torch.device("cpu"))  # which repeats recordings below 25 frames
    for lengths in ([1], [14], [15], [24], [200], [40, 15, 7, 120], [3, 25, 26]):
        x = np.random.default_rng(1).standard_normal((len(lengths), max(lengths), CEPS), np.float32)
        for row, length in zip(x, lengths):
            row[length:] = np.nan  # padding must not matter
        (found,) = session.run(None, {"features": x, "lengths": np.array(lengths, np.int64)})
        alone = (list(embedder.stream([("x", row[:length])]))[0][1] for row, length in zip(x, lengths))
        expected = np.stack(list(alone))
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
        assert np.abs(scorer.score(found[0], found) - scorer.score(expected[0], expected)).max() < 1e-4


def test_export_compares_with_onnxruntime_and_refuses_what_it_cannot(model, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime")
    assert export.main(["--onnx", model, str(tmp_path / "x.onnx")]) == 0
    assert "embeddings differ by at most" in capsys.readouterr().out
    assert export.main([model, str(tmp_path / "x.onnx")]) == 1 and "--onnx" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert export.main(["--onnx", model, str(tmp_path / "y.onnx")]) == 1
    assert "pip install" in capsys.readouterr().err and not (tmp_path / "y.onnx").exists()

"""Recordings that cannot be used, through the tools of stages prepare to features: each is dropped with its reason, or used as it is."""

import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sphere
from lhotse import Recording
from prep_trees import put, refused, speech, wav

from local import prep_folder
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.audio.headers import Header, read_header
from pyasp.audio.recording import read_file
from pyasp.bin import check, make_mfcc, merge_shards
from pyasp.bin import vad as vad_verb
from pyasp.data.datadir import DataDir, read_reasons
from pyasp.features.mfcc import Mfcc, MfccOptions
from pyasp.kaldi import ScpReader

RATE = 16000
VOICE = speech(RATE, 1.0)
MFCC = ["--sample-frequency=16000", "--dither=0", "--snip-edges=false", "--num-ceps=13"]


def _cut(path, share, form, **more):
    """A file without its end."""
    soundfile.write(path, VOICE, RATE, format=form, **more)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def _edited(path, place, form, *values):
    """A wav file with other numbers in its header."""
    soundfile.write(path, VOICE, RATE)
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, place, *values)
    path.write_bytes(data)


def _floats(path, samples):
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def _sphere(path, **fields):
    """A SPHERE file with other numbers in its header."""
    sphere.write(path, VOICE[:, None], RATE, "pcm")
    head = path.read_bytes()
    for name, value in fields.items():
        head = re.sub(
            rb"(%s -i )(\d+)" % name.encode(), lambda m: m[1] + str(value).encode().ljust(len(m[2]))[: len(m[2])], head
        )
    path.write_bytes(head)


def _flac_info(path, samples=len(VOICE), rate=RATE, channels=1):
    """A FLAC file with other numbers in its STREAMINFO: 20 bits rate, 3 channels - 1, 5 bits - 1, 36 samples."""
    soundfile.write(path, VOICE, RATE)
    data = bytearray(path.read_bytes())
    data[18:26] = (rate << 44 | channels - 1 << 41 | 15 << 36 | samples).to_bytes(8, "big")
    path.write_bytes(data)


def _with(samples, place, value):
    changed = samples.astype(np.float32) / 32768
    changed[place] = value
    return changed


# name: (suffix, what writes it, the reason in dropped.tsv or None for one that is used)
DEFECTS = {
    "empty": ("wav", lambda path: path.write_bytes(b""), "an empty file"),
    "noaudio": ("wav", lambda path: path.write_bytes(b"<html>404 Not Found</html>" * 50), r"text \('<html>404"),
    "header": ("wav", lambda path: _cut(path, 0.001, "WAV"), "no samples"),
    "truncated": ("wav", lambda path: _cut(path, 0.5, "WAV"), "truncated"),
    "truncatedflac": ("flac", lambda path: _cut(path, 0.5, "FLAC"), "libsndfile|samples"),
    "zerolength": ("wav", lambda path: soundfile.write(path, VOICE[:0], RATE), "no samples"),
    "zeroflac": (
        "flac",
        lambda path: soundfile.write(path, VOICE[:0], RATE),
        "an empty file",
    ),  # what libsndfile writes
    "nan": ("wav", lambda path: _floats(path, _with(VOICE, 77, np.nan)), "not finite"),
    "infinite": ("wav", lambda path: _floats(path, _with(VOICE, 77, -np.inf)), "not finite"),
    "huge": ("wav", lambda path: _floats(path, _with(VOICE, 77, 1e30)), "1e.30 times full scale"),
    "silent": ("wav", lambda path: soundfile.write(path, 0 * VOICE, RATE), None),
    "constant": ("wav", lambda path: soundfile.write(path, 0 * VOICE + 1000, RATE), None),
    "clipped": (
        "wav",
        lambda path: soundfile.write(path, np.clip(20.0 * VOICE, -32768, 32767).astype(np.int16), RATE),
        None,
    ),
    "short": ("wav", lambda path: soundfile.write(path, VOICE[:800], RATE), None),
    "tooshort": ("wav", lambda path: soundfile.write(path, VOICE[:300], RATE), "shorter than one analysis window"),
    "onesample": ("wav", lambda path: soundfile.write(path, VOICE[:1], RATE), "shorter than one analysis window"),
    "slow": ("wav", lambda path: soundfile.write(path, VOICE[::2], RATE // 2), "--allow-upsample|8000"),
    "fast": ("wav", lambda path: soundfile.write(path, np.repeat(VOICE, 3), 3 * RATE), None),
    "odd": ("wav", lambda path: soundfile.write(path, VOICE, 22050), None),
    "stereo": ("wav", lambda path: soundfile.write(path, np.stack([VOICE, 0 * VOICE], 1), RATE), None),
    "lyinglength": ("wav", lambda path: _edited(path, 40, "<I", 10**9), "truncated"),
    "lyingchannels": ("wav", lambda path: _edited(path, 22, "<H", 7), "7 channels of 16 bits in 2 bytes"),
    "nochannels": ("wav", lambda path: _edited(path, 22, "<H", 0), "0 channels"),
    "norate": ("wav", lambda path: _edited(path, 24, "<I", 0), "0 Hz"),
    "lyingrate": ("wav", lambda path: _edited(path, 24, "<I", 2**31 - 1), "2147483647 Hz"),
    "oddrate": ("wav", lambda path: _edited(path, 24, "<I", 99991), "99991 Hz"),
    "lyingflac": ("flac", lambda path: _flac_info(path, samples=2**35), "16000 samples.*truncated"),
    "shortflac": ("flac", lambda path: _flac_info(path, samples=5000), "more than 5000 samples"),
    "longflac": ("flac", lambda path: _flac_info(path, samples=16001), "16000 samples .truncated.; expected 16001"),
    "flacrate": ("flac", lambda path: _flac_info(path, rate=8000), "frames of 16000 Hz, 1 channels where STREAMINFO"),
    "flacchannels": ("flac", lambda path: _flac_info(path, channels=2), "16000 Hz, 1 channels where STREAMINFO"),
    "unknownflac": ("flac", lambda path: _flac_info(path, samples=0), "without a count of its samples"),
    "sphere": ("sph", lambda path: _sphere(path), None),
    "spheremore": ("sph", lambda path: _sphere(path, sample_count=99999), "truncated"),
    "sphereless": ("sph", lambda path: _sphere(path, sample_count=1000), "a wrong count"),
    "spherezero": ("sph", lambda path: _sphere(path, sample_count=0), "positive numbers in the SPHERE header"),
    "spherechannels": ("sph", lambda path: _sphere(path, channel_count=3), "truncated|a wrong count"),
}


def table(path, rows):
    put(path, "\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows))


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Every defect among sound recordings, through stages prepare, check and features of the training set."""
    root = tmp_path_factory.mktemp("defects")
    rows = []
    for name, (suffix, write, _) in DEFECTS.items():
        path = root / "audio" / f"{name}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        write(path)
        rows.append({"utt": f"a-{name}", "speaker": "a", "path": path})
    for speaker in "bcd":
        rows += [
            {
                "utt": f"{speaker}-{k}",
                "speaker": speaker,
                "path": wav(root / "audio" / speaker / f"{k}.wav", 3 * ord(speaker) + k),
            }
            for k in range(3)
        ]
    table(root / "train.tsv", [row for row in rows if row["speaker"] in "ab"])
    table(root / "test.tsv", [row for row in rows if row["speaker"] in "cd"])
    table(root / "enroll.tsv", [{**row, "model": f"m{row['utt']}"} for row in rows if row["utt"] in ("c-0", "d-0")])
    put(root / "trials", "mc-0 c-1 target", "mc-0 d-1 nontarget")
    data = root / "data"
    assert prep_folder.main(["--tables", str(root), "--data", str(data), "--max-bad=0.9"]) == 0
    after_prep = read_reasons(data / "train" / "dropped.tsv")
    assert check.main(["data", "--max-dropped-fraction=0.9", str(data)]) == 0
    after_check = read_reasons(data / "train" / "dropped.tsv")
    run(data / "train", make_mfcc, "feats", MFCC)
    run(data / "train", vad_verb, "vad", ["compute"], ["--within", str(data / "train" / "feats.scp")])
    return DataDir(data / "train"), after_prep, after_check


def run(data, tool, name, options, both=(), spare="0.9"):
    """One job of a tool and its merge."""
    prefix = str(data / name / "raw")
    (data / name).mkdir(exist_ok=True)
    assert tool.main([*options, *both, str(data), prefix]) == 0
    code = merge_shards.main([*both, "--allow-fail-fraction", spare, str(data), prefix, str(data / f"{name}.scp")])
    assert code == 0
    return prefix


@pytest.mark.parametrize("name", DEFECTS)
def test_each_is_dropped_with_its_reason_or_used(stages, name):
    data, *_ = stages
    reason, dropped = DEFECTS[name][2], read_reasons(data / "dropped.tsv")
    feats, vad = ScpReader(data / "feats.scp"), ScpReader(data / "vad.scp")
    if reason is None:
        assert f"a-{name}" not in dropped and np.isfinite(feats[f"a-{name}"]).all()
        assert len(feats[f"a-{name}"]) == len(vad[f"a-{name}"])
    else:
        assert re.search(reason, dropped[f"a-{name}"]), dropped[f"a-{name}"]
        assert f"a-{name}" not in feats and f"a-{name}" not in vad


def test_nothing_is_lost(stages):
    """Every recording is in the features or in dropped.tsv, and each stage keeps the list of the one before."""
    data, after_prep, after_check = stages
    dropped, feats = read_reasons(data / "dropped.tsv"), set(ScpReader(data / "feats.scp"))
    assert feats.isdisjoint(dropped) and len(feats) + len(dropped) == len(DEFECTS) + 3
    assert after_prep.items() == after_check.items() < dropped.items()
    assert set(ScpReader(data / "vad.scp")) == feats


def test_a_wrong_rate_is_resampled_and_a_channel_of_several_is_the_first(stages):
    data, *_ = stages
    feats = ScpReader(data / "feats.scp")
    assert len(feats["a-fast"]) == len(feats["a-stereo"]) == 100 and len(feats["a-odd"]) == round(100 * 16000 / 22050)
    np.testing.assert_array_equal(feats["a-stereo"], feats["a-sphere"])  # the same samples in another file


def test_silence_has_no_voiced_frame(stages):
    data, *_ = stages
    voiced = (
        {utt: int(count) for utt, count in DataDir(data.path).read("utt2num_voiced").items()}
        if data.has("utt2num_voiced")
        else {utt: int(array.sum()) for utt, array in ScpReader(data / "vad.scp").items()}
    )
    assert voiced["a-silent"] == 0 and voiced["a-clipped"] > 50 and len(ScpReader(data / "feats.scp")["a-short"]) == 5


def test_a_whole_flac_file_whose_last_frame_looks_like_the_start_of_another_is_whole():
    path = Path(__file__).with_name("cases") / "valid.flac"
    assert read_header(path) == Header(16000, 32768, 1, "FLAC")
    assert read_file(path)[0].shape == (1, 32768)


def test_by_default_one_unreadable_file_stops_the_preparation(tmp_path, capsys):
    for speaker in "abcd":
        for k in range(2):
            wav(tmp_path / "own" / speaker / f"{k}.wav", 3 * ord(speaker) + k)
    (tmp_path / "own" / "a" / "0.wav").write_bytes(b"")
    assert prep_folder.main(["--root", str(tmp_path / "own"), "--data", str(tmp_path / "data")]) == 1
    refused(capsys, "7 of 8 audio headers, 1 failed", "a/0.wav", "--max-bad")


@pytest.fixture
def tiny(tmp_path):
    """Stages prepare and check of a tree of four speakers."""
    for speaker in "abcd":
        for k in range(2):
            wav(tmp_path / "own" / speaker / f"{k}.wav", 3 * ord(speaker) + k)
    data = tmp_path / "data"
    assert prep_folder.main(["--root", str(tmp_path / "own"), "--data", str(data), "--eval-fraction=0.5"]) == 0
    assert check.main(["data", str(data)]) == 0
    return data


def test_a_file_that_vanishes_after_stage_1_stops_the_trials_and_is_dropped_from_training(tiny, capsys):
    for name, spare, code in (("test", "0", 1), ("train", "0.5", 0)):
        data = DataDir(tiny / name)
        utt = next(iter(data.utt2spk))
        (tiny.parent / "own" / data.utt2spk[utt] / f"{utt[-1]}.wav").unlink()
        (data / "mfcc").mkdir()
        assert make_mfcc.main([*MFCC, str(data.path), str(data / "mfcc/raw")]) == 0
        merged = ["--allow-fail-fraction", spare, str(data.path), str(data / "mfcc/raw"), str(data / "feats.scp")]
        capsys.readouterr()
        assert merge_shards.main(merged) == code
        told = capsys.readouterr().err
        assert f"1 failed (first: {utt}: " in told and "No such file" in told
        assert (utt in read_reasons(data / "dropped.tsv")) == (code == 0)


def test_features_that_no_list_explains_are_missed(tiny, capsys):
    data = DataDir(tiny / "train")
    run(data.path, make_mfcc, "feats", MFCC, spare="0")
    lines = (data / "feats.scp").read_text().splitlines()
    put(data / "feats.scp", *lines[1:])
    (data / "vad").mkdir()
    assert vad_verb.main(["compute", "--within", str(data / "feats.scp"), str(data.path), str(data / "vad/x")]) == 1
    refused(capsys, "no entry for 1 utterances", lines[0].split()[0], "dropped.tsv")


def test_reasons_of_an_older_preparation_go(tiny):
    (tiny / "train" / "dropped.tsv").write_text("utt\treason\nx-1\tgone\n")
    arguments = [
        "--root",
        str(tiny.parent / "own"),
        "--data",
        str(tiny),
        "--eval-fraction=0.5",
        "--targets=1",
        "--force=true",
    ]
    assert prep_folder.main(arguments) == 0
    assert not (tiny / "train" / "dropped.tsv").exists()


@pytest.mark.parametrize("hours", [0.1, pytest.param(3, marks=pytest.mark.reliability)])
def test_a_long_recording_in_bounded_memory(tmp_path, hours):
    """Written block by block; features and decisions take a few times the samples, whatever the length."""
    use_libsndfile()
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 8000, 1, "PCM_16") as stream:
        block = np.tile(speech(8000, 1.0), 60)
        for _ in range(round(60 * hours)):
            stream.write(block)
    recording = Recording.from_file(tmp_path / "long.flac")
    tracemalloc.start()
    samples = read_samples(recording.to_cut().to_dict(), 8000)
    matrix = Mfcc(MfccOptions(sample_frequency=8000, dither=0)).compute(samples, "long")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(samples) == hours * 3600 * 8000 and matrix.shape == (hours * 360000 - 2, 13)
    assert peak < 16 * len(samples) + (32 << 20)  # int16, float32, blocks; 13 float32 for each 80 samples

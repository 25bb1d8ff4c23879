"""make_mfcc and vad over a data directory: contents, failures, jobs, compression, what is made again."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording

from pyasp.audio.cuts import use_libsndfile
from pyasp.bin import make_fbank, make_mfcc
from pyasp.bin import vad as vad_verb
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, read_table
from pyasp.data.shards import merge, shards
from pyasp.features.fbank import Fbank, FbankOptions
from pyasp.features.frontend import FrontendOptions
from pyasp.features.mfcc import Mfcc, MfccOptions
from pyasp.features.stored import Recordings, iterate
from pyasp.features.vad import VadOptions, energy_vad
from pyasp.kaldi import ArkWriter, ScpReader

CONF = ["--sample-frequency=8000", "--dither=0", "--high-freq=3700", "--num-ceps=20", "--snip-edges=false"]
OPTIONS = MfccOptions(sample_frequency=8000, dither=0, high_freq=3700, num_ceps=20, snip_edges=False)


def signal(number):
    rng = np.random.default_rng(number)
    loud = np.repeat([1, 1, 0, 0, 0, 1, 1, 1, 0, 0], 400)
    return (rng.normal(0, 2000, 4000) * loud + rng.normal(0, 2, 4000)).round().astype(np.int16)


@pytest.fixture
def data(tmp_path):
    """Twenty recordings of half a second."""
    use_libsndfile()
    target = DataDir(tmp_path / "data")
    target.path.mkdir()
    names = sorted((f"s{number % 4}-u{number:02d}", number) for number in range(20))
    with gzip.open(target / "cuts.jsonl.gz", "wt") as cuts:
        for utt, number in names:
            soundfile.write(tmp_path / f"{number}.wav", signal(number), 8000)
            recording = Recording.from_file(tmp_path / f"{number}.wav")
            cuts.write(json.dumps(MonoCut(utt, 0, recording.duration, 0, recording=recording).to_dict()) + "\n")
    target.write_speakers({utt: utt[:2] for utt, _ in names})
    return target


def number_of(utt):
    return int(utt[-2:])


def run(data, jobs=1, extra=(), name="raw"):
    prefix = str(data.path / "mfcc" / name)
    (data.path / "mfcc").mkdir(exist_ok=True)
    return prefix, [
        make_mfcc.main([*CONF, *extra, f"--job={job}", f"--num-jobs={jobs}", str(data.path), prefix])
        for job in range(1, jobs + 1)
    ]


def finish(data, prefix, allowed=0.0, **tables):
    merge(data, prefix, "", tables, str(data.path / "feats.scp"), False, allowed)


def test_features_tables_and_decisions(data):
    prefix, codes = run(data, extra=["--compress=false"])
    assert codes == [0]
    finish(data, prefix, utt2num_frames=str(data.path / "utt2num_frames"), utt2dur=str(data.path / "utt2dur"))
    feats = ScpReader(data / "feats.scp")
    assert list(feats) == sorted(data.utt2spk)
    for utt in feats:
        np.testing.assert_array_equal(feats[utt], Mfcc(OPTIONS).compute(signal(number_of(utt)), utt))
    assert set(data.read("utt2num_frames").values()) == {"50"} and set(data.read("utt2dur").values()) == {"0.5"}
    vad = str(data.path / "mfcc" / "vad")
    assert (
        vad_verb.main(["compute", "--vad-frames-context=2", "--vad-proportion-threshold=0.12", str(data.path), vad])
        == 0
    )
    for shard in shards(20):
        voiced = read_table(f"{vad}.{shard.number}.utt2num_voiced")
        for utt, decisions in ScpReader(f"{vad}.{shard.number}.scp").items():
            expected = energy_vad(feats[utt][:, 0], VadOptions(vad_frames_context=2, vad_proportion_threshold=0.12))
            np.testing.assert_array_equal(decisions, expected.astype(np.float32))
            assert voiced[utt] == str(expected.sum()) and 0 < expected.sum() < 50


@pytest.mark.parametrize("tool", [make_mfcc, make_fbank])
def test_frames_of_another_shift_are_not_stored(data, capsys, tool):
    raw = data.path / "raw"
    assert tool.main(["--frame-shift=20", str(data.path), str(raw)]) == 1
    error = capsys.readouterr().err
    assert "--frame-shift=20.0" in error and "expected 10: seconds of voice are counted in frames of 10 ms" in error
    assert not list(data.path.glob("raw*"))
    assert len(Mfcc(dataclasses.replace(OPTIONS, frame_shift=20.0)).compute(signal(1), "u")) == 25  # only stored ones


def test_the_number_of_jobs_does_not_show(data):
    one, _ = run(data, 1, name="one")
    three, codes = run(data, 3, name="three")
    assert codes == [0, 0, 0]
    for shard in shards(20):
        for ending in ("ark", "utt2num_frames", "failed"):
            first, second = (open(f"{prefix}.{shard.number}.{ending}", "rb").read() for prefix in (one, three))
            assert first == second


def test_compression_keeps_a_byte_per_element(data):
    prefix, _ = run(data)
    finish(data, prefix)
    head = open(f"{prefix}.1.ark", "rb").read(20)
    assert b"\0BCM " in head
    feats = ScpReader(data / "feats.scp")
    for utt in list(feats)[:3]:
        exact = Mfcc(OPTIONS).compute(signal(number_of(utt)), utt)
        assert 0 < np.abs(feats[utt] - exact).max() < 0.03 * np.ptp(exact)


def test_bad_recordings_are_counted_and_named(data, tmp_path, capsys):
    (tmp_path / "7.wav").write_bytes((tmp_path / "7.wav").read_bytes()[:3000])
    (tmp_path / "3.wav").unlink()
    prefix, codes = run(data, 2)
    assert codes == [0, 0]
    failed = {utt: why for shard in shards(20) for utt, why in read_table(f"{prefix}.{shard.number}.failed").items()}
    assert sorted(failed) == ["s3-u03", "s3-u07"]
    assert "No such file" in failed["s3-u03"] and "as its header says" in failed["s3-u07"]
    with pytest.raises(Exception, match="2 of 20 utterances failed .first: s3-u03"):
        finish(data, prefix)
    finish(data, prefix, allowed=0.1)
    assert len(ScpReader(data / "feats.scp")) == 18


def test_short_recordings_fail_by_their_own_reasons(data):
    prefix, _ = run(data, extra=["--min-duration=0.6"])
    failed = {utt: why for shard in shards(20) for utt, why in read_table(f"{prefix}.{shard.number}.failed").items()}
    assert len(failed) == 20 and "--min-duration=0.6" in failed["s0-u00"]
    prefix, _ = run(data, extra=["--snip-edges=true", "--frame-length=600"], name="long")
    assert "at least one frame" in read_table(f"{prefix}.1.failed")["s0-u00"]


def test_narrow_band_audio_is_not_upsampled_unasked(data):
    prefix, _ = run(data, extra=["--sample-frequency=16000"])
    assert "--allow-upsample=true" in read_table(f"{prefix}.1.failed")["s0-u00"]


def test_what_is_current_is_left_alone_and_changes_are_refused(data, capsys):
    prefix, _ = run(data)
    before = open(f"{prefix}.1.ark", "rb").read()
    stamp = (data.path / "mfcc" / "raw.1.ark").stat().st_mtime_ns
    _, codes = run(data)
    assert codes == [0] and (data.path / "mfcc" / "raw.1.ark").stat().st_mtime_ns == stamp
    _, codes = run(data, extra=["--num-mel-bins=24"])
    assert codes == [1] and "--force" in capsys.readouterr().err
    _, codes = run(data, extra=["--num-mel-bins=24", "--force=true"])
    assert codes == [0] and open(f"{prefix}.1.ark", "rb").read() != before


def test_missing_features_are_counted_by_the_vad(data):
    prefix, _ = run(data)
    finish(data, prefix)
    lines = (data / "feats.scp").read_text().splitlines(keepends=True)
    (data / "feats.scp").write_text("".join(line for line in lines if not line.startswith("s1-u05")))
    vad = str(data.path / "mfcc" / "vad")
    assert vad_verb.main(["compute", str(data.path), vad]) == 0
    failed = {utt: why for shard in shards(20) for utt, why in read_table(f"{vad}.{shard.number}.failed").items()}
    assert list(failed) == ["s1-u05"] and "no entry" in failed["s1-u05"]


@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_the_way_out_of_damaged_archives_leads_out(data, capsys, fault):
    """Whose script files are there: what is complete is not made again, by force neither."""
    prefix, _ = run(data)
    finish(data, prefix)
    archives = [data / f"mfcc/raw.{number}.ark" for number in (2, 5)]
    before = {path: path.read_bytes() for path in archives}
    for path in archives:
        path.unlink() if fault == "gone" else path.write_bytes(path.read_bytes()[:-40])
    with ArkWriter(str(data / "vad.ark"), str(data / "vad.scp")) as writer:
        for utt in sorted(data.utt2spk):
            writer.write(utt, np.ones(50, np.float32))
    with pytest.raises(InputError) as caught:
        list(Recordings(data, FrontendOptions()).passing())
    cure = f"Delete {prefix}.2.scp, {prefix}.5.scp: where it is gone, what is damaged is made anew. Then run stage features"
    assert cure in str(caught.value) and caught.value.rerun == ("features", False)
    with pytest.raises(InputError, match=f"Delete {prefix}.2.scp: ") as caught:
        list(iterate(data, FrontendOptions(), sorted(data.utt2spk)[2:5]))
    assert caught.value.rerun == ("features", False)
    for number in (2, 5):
        (data / f"mfcc/raw.{number}.scp").unlink()
    run(data)
    assert {path: path.read_bytes() for path in archives} == before
    finish(data, prefix)
    assert capsys.readouterr().err.count("feats.scp: up to date") == 1


def test_stages_that_must_come_first_are_named(tmp_path, capsys):
    DataDir(tmp_path).write("utt2spk", {"a": "a"})
    assert make_mfcc.main([*CONF, str(tmp_path), str(tmp_path / "x")]) == 1
    assert "cuts.jsonl.gz" in capsys.readouterr().err
    assert vad_verb.main(["compute", str(tmp_path), str(tmp_path / "x")]) == 1
    assert "Run stage features again" in capsys.readouterr().err


def test_filter_banks_of_the_recordings_that_have_mfcc(data, capsys):
    prefix, _ = run(data)
    lines = (data.path / "cuts.jsonl.gz", data / "feats.scp")
    with gzip.open(lines[0], "rt") as cuts:
        utts = [json.loads(line)["id"] for line in cuts]
    merge(data, prefix, "", {}, str(lines[1]), False)
    kept = dict(list(read_table(lines[1]).items())[1:])
    data.write("feats.scp", kept)  # as if one recording had failed
    (data / "dropped.tsv").write_text(f"utterance\treason\n{utts[0]}\tfailed\n")
    (data / "fbank").mkdir()
    raw = str(data / "fbank/raw")
    conf = ["--sample-frequency=8000", "--dither=0", "--num-mel-bins=24", "--snip-edges=false"]
    assert make_fbank.main([*conf, f"--within={lines[1]}", "--compress=false", str(data.path), raw]) == 0
    merge(data, raw, "", {}, str(data / "fbank/feats.scp"), False, within=str(lines[1]))
    made, options = ScpReader(data / "fbank/feats.scp"), FbankOptions(8000, dither=0, num_mel_bins=24, snip_edges=False)
    assert set(made) == set(kept)
    for utt in made:
        np.testing.assert_array_equal(made[utt], Fbank(options).compute(signal(number_of(utt))))
    record = json.loads((data / "fbank/raw.1.scp.made.json").read_text())
    assert record["tool"] == "make_fbank" and "num_ceps" not in record["options"]
    assert make_fbank.main(["--num-ceps=20", str(data.path), raw]) == 1 and "--num-ceps" in capsys.readouterr().err


def listed(data, tmp_path, numbers):
    """Makes the directory's tables for recordings of these numbers; those that are there stay as they are."""
    names = sorted((f"s{number % 4}-u{number:02d}", number) for number in numbers)
    with gzip.open(data / "cuts.jsonl.gz", "wt") as cuts:
        for utt, number in names:
            if not (wav := tmp_path / f"{number}.wav").exists():
                soundfile.write(wav, signal(number), 8000)
            recording = Recording.from_file(wav)
            cuts.write(json.dumps(MonoCut(utt, 0, recording.duration, 0, recording=recording).to_dict()) + "\n")
    data.write_speakers({utt: utt[:2] for utt, _ in names})
    return DataDir(data.path)


def first_job(data, prefix, jobs):
    """The first of some jobs, with --force; the others have not begun."""
    return make_mfcc.main([*CONF, "--force=true", "--job=1", f"--num-jobs={jobs}", str(data.path), prefix])


def everything(data):
    """{name: content} of all that is in the directory of features; records as their options and inputs."""
    files = {path.relative_to(data.path): path for path in (data / "mfcc").rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.name.endswith(".made.json")}


@pytest.fixture
def computed(monkeypatch):
    """Utterances whose features were computed."""
    found, compute = [], Mfcc.compute
    monkeypatch.setattr(Mfcc, "compute", lambda self, samples, utt="": found.append(utt) or compute(self, samples, utt))
    return found


def test_what_a_changed_listing_does_not_touch_is_taken_as_it_was(data, tmp_path, computed, capsys):
    """Shard for shard the bytes of a run that computes everything, whatever was killed on the way."""
    prefix, _ = run(data, 2)
    finish(data, prefix)
    assert len(computed) == 20 and not list((data / "mfcc").glob("*earlier*"))
    more = listed(data, tmp_path, [*range(1, 20), 20, 21, 22])  # the first is gone, three are new
    soundfile.write(tmp_path / "7.wav", signal(77), 8000)  # another recording of the same length
    computed.clear()
    assert first_job(more, prefix, 3) == 0  # then the run is killed
    assert 0 < len(computed) < 4 and list((data / "mfcc").glob("raw.earlier.*"))
    run(more, 3, ["--force=true"])
    assert sorted(computed) == ["s0-u20", "s1-u21", "s2-u22", "s3-u07"] and "--force" not in capsys.readouterr().err
    merge(more, prefix, "", {}, str(data / "feats.scp"), True)
    assert "done 22 of 22, 0 failed, 18 of them as they were" in capsys.readouterr().err
    assert not list((data / "mfcc").glob("*earlier*"))
    found = everything(more)
    for path in (data / "mfcc").iterdir():
        path.unlink()
    run(more)
    merge(more, prefix, "", {}, str(data / "feats.scp"), True)
    assert len(computed) == 4 + 22 and everything(more) == found


@pytest.mark.parametrize("kind", ["cut ark", "ark", "scp", "utt2mark", "utt2num_frames", "failed"])
def test_what_is_gone_of_a_shard_is_made_again_and_no_other(data, computed, kind):
    prefix, _ = run(data)
    finish(data, prefix)  # which deletes what was kept of earlier shards
    before, most = everything(data), max(shard.end - shard.start for shard in shards(20))
    del computed[:]
    path = Path(f"{prefix}.3.{kind.split()[-1]}")
    path.write_bytes(path.read_bytes()[:-40]) if "cut" in kind else path.unlink()
    run(data)
    finish(data, prefix)
    assert everything(data) == before and 0 < len(computed) <= most


def test_a_second_change_before_the_first_is_done_keeps_what_is_there(data, tmp_path, computed):
    prefix, _ = run(data, 1)  # killed before it is merged
    computed.clear()
    first_job(listed(data, tmp_path, range(21)), prefix, 2)
    more = listed(data, tmp_path, range(22))
    run(more, 2, ["--force=true"])
    assert len(computed) <= 4 and {"s0-u20", "s1-u21"} <= set(computed)
    merge(more, prefix, "", {}, str(data / "feats.scp"), True)
    feats = ScpReader(data / "feats.scp")
    assert list(feats) == sorted(more.utt2spk)
    for utt in feats:
        exact = Mfcc(OPTIONS).compute(signal(number_of(utt)), utt)
        assert np.abs(feats[utt] - exact).max() < 0.03 * np.ptp(exact)


def test_changed_settings_and_failures_are_computed(data, tmp_path, computed, capsys):
    (tmp_path / "3.wav").rename(tmp_path / "gone")
    prefix, _ = run(data)
    with pytest.raises(Exception, match="1 of 20 utterances failed"):
        finish(data, prefix)
    computed.clear()
    (tmp_path / "gone").rename(tmp_path / "3.wav")
    run(data)  # a file that is mended changes no table
    assert computed == ["s3-u03"] and "made again, since 1 utterances failed" in capsys.readouterr().err
    finish(data, prefix)
    assert len(ScpReader(data / "feats.scp")) == 20 and run(data)[1] == [0] and computed == ["s3-u03"]
    run(data, 1, ["--force=true", "--num-mel-bins=24"])
    assert len(computed) == 1 + 20

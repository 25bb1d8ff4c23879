"""VoxCeleb2: joined to the training set or alone, in every layout, as m4a through ffmpeg, packed or damaged."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, Recording
from prep_trees import check_data_dir, m4a, program, refused, wav
from scipy.signal import correlate
from voxceleb_made import VIDEOS, clip, make_tree, prepare, trials, voxceleb2

from pyasp.audio import decoders
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.audio.headers import Header, read_header
from pyasp.core.errors import InputError


@pytest.fixture
def tree(tmp_path):
    """VoxCeleb1 in the plain layout."""
    return make_tree(tmp_path / "vox")


def test_voxceleb2_joins_the_training_set_and_alone_allows_list_e(tree, tmp_path):
    second = voxceleb2(tmp_path / "vox2")
    assert prepare(tree, tmp_path / "both", "--voxceleb2", str(second)) == 0
    both = check_data_dir(tmp_path / "both/train", 12, 4)
    assert both.read("spk2gender")["id00015"] == "f"
    hard = trials(
        tmp_path / "list_test_hard.txt",
        [f"1 {clip('id10001')} {clip('id10001', 1)}", f"0 {clip('id10001')} {clip('id10270')}"],
    )
    assert prepare(tree, tmp_path / "alone", "--voxceleb2", str(second), "--train-on=voxceleb2", "--trials", hard) == 0
    check_data_dir(tmp_path / "alone/train", 4, 2)


def test_of_a_clip_in_two_formats_the_converted_one_is_taken(tree, tmp_path, capsys):
    """Converted in place: the wav lies beside the m4a, in dev/aac."""
    second = voxceleb2(tmp_path / "vox2", "aac")
    for path in sorted(second.rglob("*.m4a")):
        wav(path.with_suffix(".wav"), 1)
    assert prepare(tree, tmp_path / "data", "--voxceleb2", str(second), "--train-on=voxceleb2") == 0
    entries = check_data_dir(tmp_path / "data/train", 4, 2).read("wav.scp").values()
    assert all(entry.endswith(".wav") for entry in entries)
    assert "4 clips are there in a second format, not used: 4 .m4a" in capsys.readouterr().out


def test_links_in_voxceleb_give_no_clip_twice(tree, tmp_path, capsys):
    speaker = next(path for path in sorted(tree.rglob("id1*")) if path.is_dir())
    (speaker / "all").symlink_to("..")
    assert prepare(tree, tmp_path / "data") == 0
    check_data_dir(tmp_path / "data/train", 8, 2)
    assert "1 second names of folders left out" in capsys.readouterr().err
    (speaker.parent / "id19999").symlink_to(speaker.name)
    assert prepare(tree, tmp_path / "other") == 1
    refused(capsys, "1 recordings or folders under two speakers' names (id19999 is")


def test_labels_of_a_voxceleb_list_are_held_against_its_speakers(tree, tmp_path, capsys):
    own, other = clip("id10270"), clip("id10271")
    listed = trials(tmp_path / "mine.txt", [f"1 {own} {own}", f"1 {own} {other}", f"0 {own} {other}"])
    assert prepare(tree, tmp_path / "data", "--trials", listed) == 0
    said = capsys.readouterr().out
    assert "1 trials against the speakers of their recordings" in said
    assert "1 trials of a recording against itself" in said
    trials(tmp_path / "mine.txt", [f"0 {own} {clip('id10270', 1)}", f"1 {own} {other}"])
    assert prepare(tree, tmp_path / "turned", "--trials", listed) == 1
    refused(capsys, "2 of 2 labels against the speakers", "turned about")


@pytest.mark.parametrize("place", ["dev/{}", "{}", "dev/dev/{}"])
def test_every_layout_of_voxceleb2_gives_its_dev_speakers(tree, tmp_path, monkeypatch, place):
    decoding(tmp_path, monkeypatch, 2048)
    for form in ("wav", "aac") if place != "dev/dev/{}" else ("aac",):
        second = voxceleb2(tmp_path / form, form, place)
        meta2 = second / "vox2_meta.csv"
        meta2.write_text(meta2.read_text() + "id00017 ,n000017 ,f ,test \n")
        name = second / place.format(form) / "id00017" / VIDEOS[0] / "00001"
        wav(f"{name}.wav", 9) if form == "wav" else m4a(f"{name}.m4a", 3)
        data = tmp_path / f"data-{form}"
        assert prepare(tree, data, "--voxceleb2", str(second), "--train-on=voxceleb2") == 0
        train = check_data_dir(data / "train", 4, 2)
        assert train.read("spk2gender") == {"id00012": "m", "id00015": "f"}


def test_a_conf_file_says_what_to_train_on(tree, tmp_path):
    second, conf = voxceleb2(tmp_path / "vox2"), tmp_path / "prep.conf"
    conf.write_text("--train-on=voxceleb1  # the paper\n")
    assert prepare(tree, tmp_path / "data", "--config", str(conf), "--voxceleb2", str(second)) == 0
    check_data_dir(tmp_path / "data/train", 8, 2)


def test_m4a_without_ffmpeg_is_told_before_any_work(tree, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prepare(tree, tmp_path / "data", "--voxceleb2", str(voxceleb2(tmp_path / "vox2", "aac"))) == 1
    refused(
        capsys, "00001.m4a", "AAC in MP4, and no ffmpeg on PATH", "Install ffmpeg (Debian, Ubuntu: apt install ffmpeg)"
    )
    assert not (tmp_path / "data").exists()


def decoding(tmp_path, monkeypatch, samples):
    """A stand-in of ffmpeg that gives so many samples."""
    wav(tmp_path / "decoded.wav", 5, samples)
    program(tmp_path / "bin", monkeypatch, "ffmpeg", f'for last; do :; done; cp "{tmp_path}/decoded.wav" "$last"')
    decoders._decode.cache_clear()


def test_m4a_is_read_through_ffmpeg_with_the_length_of_its_header(tree, tmp_path, capsys, monkeypatch):
    decoding(tmp_path, monkeypatch, 2048)  # three AAC frames of 1024 less the priming
    second = voxceleb2(tmp_path / "vox2", "aac")
    assert prepare(tree, tmp_path / "data", "--voxceleb2", str(second), "--train-on=voxceleb2") == 0
    train = check_data_dir(tmp_path / "data/train", 4, 2)  # reads every cut
    assert set(train.read("utt2dur").values()) == {"0.1280"} and train.read("wav.scp")[
        "id00012--a_b-c_d-e_-00001"
    ].startswith("ffmpeg")
    assert "4 of 4 clips are m4a" in capsys.readouterr().out
    wav(second / "dev/wav/id00012" / VIDEOS[0] / "00001.wav", 1)  # one clip is converted already
    assert prepare(tree, tmp_path / "mixed", "--voxceleb2", str(second), "--train-on=voxceleb2") == 0
    assert "3 of 4 clips are m4a" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_clips_converted_in_place_are_read_instead_of_their_m4a(tree, tmp_path, monkeypatch, suffix):
    """As VoxCeleb2's own script converts them: 00001.wav beside 00001.m4a; no ffmpeg is asked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    second = voxceleb2(tmp_path / "vox2", "aac")
    for number, path in enumerate(sorted((second / "dev/aac").rglob("*.m4a"))):
        wav(path.with_suffix(f".{suffix}"), number)
    assert prepare(tree, tmp_path / "data", "--voxceleb2", str(second), "--train-on=voxceleb2") == 0
    train = check_data_dir(tmp_path / "data/train", 4, 2)
    assert all(f".{suffix}" in entry and ".m4a" not in entry for entry in train.read("wav.scp").values())


def test_m4a_that_decodes_to_another_length_is_refused(tmp_path, monkeypatch):
    decoding(tmp_path, monkeypatch, 1500)
    header = read_header(m4a(tmp_path / "a.m4a", 3))
    assert header == Header(16000, 2048, 1, "m4a", 1024)
    recording = Recording("a", [AudioSource("file", [0], str(tmp_path / "a.m4a"))], 16000, 2048, 0.128)
    use_libsndfile()
    with pytest.raises(InputError, match="a.m4a: found 1500 samples.*expected 2048"):
        read_samples(recording.to_cut().to_dict(), 16000)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
@pytest.mark.parametrize("samples", [16000, 9001])
def test_a_real_m4a_has_the_length_that_its_header_says_and_no_shift(tmp_path, samples):
    wav(tmp_path / "a.wav", 3, samples)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), "-c:a", "aac", str(tmp_path / "a.m4a")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    header = read_header(tmp_path / "a.m4a")
    assert header.priming == 1024 and samples <= header.samples < samples + 1024
    decoded = soundfile.read(decoders.decode(tmp_path / "a.m4a", header), dtype="int16")[0].astype(float)
    clean = soundfile.read(tmp_path / "a.wav", dtype="int16")[0].astype(float)
    assert len(decoded) == header.samples and np.argmax(correlate(decoded, clean)) == samples - 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
def test_a_tree_of_real_m4a_is_prepared_and_read(tree, tmp_path, capsys):
    """As they are downloaded: the table of contents in front of the sound."""
    second = voxceleb2(tmp_path / "vox2")
    for path in (second / "dev/wav").rglob("*.wav"):
        target = second / "dev/aac" / path.relative_to(second / "dev/wav").with_suffix(".m4a")
        target.parent.mkdir(parents=True)
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-c:a", "aac", "-movflags", "+faststart", str(target)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.move(second / "dev/wav", tmp_path / "wav")
    data = tmp_path / "data"
    assert prepare(tree, data, "--voxceleb2", str(second), "--train-on=voxceleb2") == 0
    check_data_dir(data / "train", 4, 2)
    os.truncate(target, target.stat().st_size - 50)
    assert prepare(tree, tmp_path / "again", "--voxceleb2", str(second), "--train-on=voxceleb2") == 1
    refused(capsys, str(target), "truncated")


@pytest.mark.parametrize("keep, message", [(60, "truncated"), (8, "no usable"), (0, "an empty file")])
def test_a_damaged_m4a_is_named(tmp_path, keep, message):
    path = m4a(tmp_path / "a.m4a", 3)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"a.m4a.*{message}"):
        read_header(path)


def test_voxceleb2_still_packed_or_not_given(tree, tmp_path, capsys):
    (tmp_path / "vox2").mkdir()
    (tmp_path / "vox2/vox2_dev_aac_partaa").write_bytes(b"PK")
    assert prepare(tree, tmp_path / "data", "--voxceleb2", str(tmp_path / "vox2")) == 1
    refused(capsys, "no VoxCeleb audio but archives", "vox2_dev_aac.zip -d")
    assert prepare(tree, tmp_path / "data", "--config", "conf/voxceleb12/prep.conf") == 1
    refused(capsys, "--train-on=voxceleb1+2 without --voxceleb2", "conf/voxceleb")

"""VoxCeleb as it lies on people's discs: every layout gives the same data directories, every defect its message."""

import io
import os
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, Recording
from prep_trees import check_data_dir, m4a, program, refused, tables, trial_lines, wav
from scipy.signal import correlate

from local import prep_voxceleb, voxceleb_tree
from pyasp import decoders, mp4_header
from pyasp.audio import read_samples, use_libsndfile
from pyasp.errors import InputError

VIDEOS = ("-a_b-c_d-e_", "ZZz0123456_")  # 11 characters each, with the separators that ids are full of
SPEAKERS = {
    "id10001": ("Ada_Lovelace", "f", "dev"),
    "id10002": ("Bob_Dylan", "m", "dev"),
    "id10270": ("Eve_Arden", "f", "test"),
    "id10271": ("Eric_Blore", "m", "test"),
}
LAYOUTS = {
    "apart": {"dev": "dev/wav", "test": "test/wav"},
    "together": {"dev": "wav", "test": "wav"},
    "below voxceleb1": {"dev": "voxceleb1/dev/wav", "test": "voxceleb1/test/wav"},
    "roots named voxceleb1": {"dev": "voxceleb1/dev", "test": "voxceleb1/test"},
}


def meta(path, separator="\t"):
    """vox1_meta.csv: tabs, nationalities with spaces."""
    rows = [("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")]
    rows += [(speaker, name, gender, "New Zealand", part) for speaker, (name, gender, part) in SPEAKERS.items()]
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n", encoding="utf-8")


def trials(path, lines):
    """A list of lines `label path path`."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def clip(speaker, video=0, number=1):
    """A clip as lists name it."""
    return f"{speaker}/{VIDEOS[video]}/{number:05d}.wav"


LIST_O = [
    f"1 {clip('id10270')} {clip('id10270', 1)}",
    f"0 {clip('id10270')} {clip('id10271', 1)}",
    f"1 {clip('id10271', 0, 2)} {clip('id10271', 1)}",
]


def make_tree(root, layout="apart", with_list=True):
    """A VoxCeleb1 v1.1 tree: 4 speakers x 2 videos x 2 clips."""
    for index, (speaker, (_, _, part)) in enumerate(SPEAKERS.items()):
        for video in (0, 1):
            for number in (1, 2):
                wav(root / LAYOUTS[layout][part] / clip(speaker, video, number), 4 * index + 2 * video + number)
    meta(root / "vox1_meta.csv")
    if with_list:
        trials(root / "veri_test.txt", LIST_O)
    return root


def prepare(root, data, *options):
    """Exit code of the preparation."""
    return prep_voxceleb.main(["--root", str(root), "--data", str(data), *options])


@pytest.fixture
def tree(tmp_path):
    """The plain layout."""
    return make_tree(tmp_path / "vox")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_v11_gives_the_same_data(tmp_path, layout, capsys):
    root, data = make_tree(tmp_path / "vox", layout), tmp_path / "data"
    assert prepare(root, data) == 0
    train = check_data_dir(data / "train", 8, 2)
    assert list(train.utt2spk)[0] == "id10001--a_b-c_d-e_-00001"
    assert (
        train.read("spk2gender") == {"id10001": "f", "id10002": "m"}
        and train.info["id10001--a_b-c_d-e_-00001"]["session"] == VIDEOS[0]
    )
    enroll = check_data_dir(data / "enroll", 2, 2)
    assert enroll.model2utts == {utt: [utt] for utt in ("id10270--a_b-c_d-e_-00001", "id10271--a_b-c_d-e_-00002")}
    check_data_dir(data / "test", 2, 2)
    assert trial_lines(data, "veri_test") == [
        ["id10270--a_b-c_d-e_-00001", "id10270-ZZz0123456_-00001", "target"],
        ["id10270--a_b-c_d-e_-00001", "id10271-ZZz0123456_-00001", "nontarget"],
        ["id10271--a_b-c_d-e_-00002", "id10271-ZZz0123456_-00001", "target"],
    ]
    assert "train: 8 utterances, 2 speakers" in capsys.readouterr().out


@pytest.mark.parametrize("place", range(11))
@pytest.mark.parametrize("character", "-_")
def test_youtube_ids_may_hold_separators_at_every_place(place, character):
    video = "abcDEF01234"[:place] + character + "abcDEF01234"[place + 1 :]
    flat = voxceleb_tree.parse_name(f"/vox/voxceleb1_wav/Ada_Lovelace/{video}_0000012.wav")
    nested = voxceleb_tree.parse_name(f"/vox/dev/wav/id10001/{video}/00012.wav")
    assert flat.id == f"Ada_Lovelace-{video}-00012" and nested.id == f"id10001-{video}-00012"
    assert voxceleb_tree.parse_name(f"/vox/voxceleb1_wav/Ada_Lovelace/{video}x_0000012.wav") is None


@pytest.mark.parametrize("named", [True, False], ids=["celebrity names", "ids"])
def test_v10_is_split_by_position_and_by_its_metadata(tmp_path, named):
    root = tmp_path / "vox"
    name = {speaker: person if named else speaker for speaker, (person, _, _) in SPEAKERS.items()}
    for index, speaker in enumerate(SPEAKERS):
        for video in (0, 1):
            wav(root / "voxceleb1_wav" / name[speaker] / f"{VIDEOS[video]}_0000007.wav", 2 * index + video)
    meta(root / "vox1_meta.csv")
    flat = [
        f"{name[speaker]}/{VIDEOS[video]}_0000007.wav"
        for speaker, video in (("id10270", 0), ("id10270", 1), ("id10271", 1))
    ]
    trials(root / "veri_test.txt", [f"1 {flat[0]} {flat[1]}", f"0 {flat[0]} {flat[2]}"])
    assert prepare(root, tmp_path / "data") == 0
    assert set(check_data_dir(tmp_path / "data/train", 4, 2).utt2spk.values()) == {"id10001", "id10002"}
    assert trial_lines(tmp_path / "data", "veri_test")[0] == [
        "id10270--a_b-c_d-e_-00007",
        "id10270-ZZz0123456_-00007",
        "target",
    ]


def test_v10_without_metadata_knows_the_test_speakers_by_their_letter(tmp_path):
    root = tmp_path / "vox"
    for index, name in enumerate(("Ada_Lovelace", "Eve_Arden", "Eric_Blore")):
        for video in (0, 1):
            wav(root / "voxceleb1_wav" / name / f"{VIDEOS[video]}_0000001.wav", 2 * index + video)
    line = (
        "1 Eve_Arden/{0}_0000001.wav Eve_Arden/{1}_0000001.wav",
        "0 Eve_Arden/{0}_0000001.wav Eric_Blore/{1}_0000001.wav",
    )
    trials(root / "veri_test.txt", [each.format(*VIDEOS) for each in line])
    assert prepare(root, tmp_path / "data") == 0
    assert set(check_data_dir(tmp_path / "data/train", 2, 1).utt2spk.values()) == {"Ada_Lovelace"}


def test_several_lists_in_one_run_each_under_its_file_name(tree, tmp_path):
    other = trials(tmp_path / "veri_test2.txt", LIST_O[:2])
    assert prepare(tree, tmp_path / "data", "--trials", str(tree / "veri_test.txt"), "--trials", other) == 0
    assert {path.name for path in (tmp_path / "data/trials").iterdir()} == {"veri_test", "veri_test2"}
    assert len(trial_lines(tmp_path / "data", "veri_test2")) == 2


def test_list_e_over_training_speakers_is_refused_with_the_reason(tree, tmp_path, capsys):
    hard = trials(tmp_path / "list_test_all.txt", [*LIST_O, f"0 {clip('id10001')} {clip('id10270')}"])
    assert prepare(tree, tmp_path / "data", "--trials", hard) == 1
    refused(
        capsys,
        "list_test_all.txt: line 4",
        "id10001",
        "training set",
        "E and H",
        "veri_test.txt",
        "--train-on=voxceleb2",
    )
    assert not (tmp_path / "data" / "prep.json").exists()


def voxceleb2(root, form="wav", place="dev/{}"):
    """A VoxCeleb2 tree with metadata separated by commas and stray spaces; m4a: headers of 3 AAC frames."""
    for index, speaker in enumerate(("id00012", "id00015")):
        for video in VIDEOS:
            clip = root / place.format(form) / speaker / video / "00001"
            wav(f"{clip}.wav", index) if form == "wav" else m4a(f"{clip}.m4a", 3)
    (root / "vox2_meta.csv").write_text(
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00015 ,n000015 ,f ,dev \n"
    )
    return root


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


def test_m4a_that_decodes_to_another_length_is_refused(tmp_path, monkeypatch):
    decoding(tmp_path, monkeypatch, 1500)
    header = mp4_header.read_header(m4a(tmp_path / "a.m4a", 3))
    assert header == mp4_header.Header(16000, 2048, 1, 1024)
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
    header = mp4_header.read_header(tmp_path / "a.m4a")
    assert header.priming == 1024 and samples <= header.samples < samples + 1024
    decoded = soundfile.read(io.BytesIO(decoders.decode(tmp_path / "a.m4a")), dtype="int16")[0].astype(float)
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


@pytest.mark.parametrize("keep, message", [(60, "truncated"), (8, "no usable"), (0, "no usable")])
def test_a_damaged_m4a_is_named(tmp_path, keep, message):
    path = m4a(tmp_path / "a.m4a", 3)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"a.m4a.*{message}"):
        mp4_header.read_header(path)


def test_missing_files_are_counted_and_named(tree, tmp_path, capsys):
    (tree / "test/wav" / clip("id10271", 1)).unlink()
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, "1 missing files in 2 of 3 trials", "id10271-ZZz0123456_-00001", "--max-missing")
    trials(tree / "veri_test.txt", [*LIST_O, f"0 {clip('id10270', 0, 2)} {clip('id10271', 0)}"])
    assert prepare(tree, tmp_path / "data", "--max-missing=0.5") == 0
    assert "left out 1 missing files in 2 of 4 trials" in capsys.readouterr().out
    assert len(trial_lines(tmp_path / "data", "veri_test")) == 2


PACKED = [
    (["vox1_dev_wav.zip"], "unzip -q {root}/vox1_dev_wav.zip -d {root}/dev"),
    (
        ["vox1_dev_wav_partaa", "vox1_dev_wav_partab"],
        "cat {root}/vox1_dev_wav_part* > {root}/vox1_dev_wav.zip && unzip",
    ),
    (["vox2_dev_aac.zip"], "Ask for access"),
    ([], "Ask for access"),
]


@pytest.mark.parametrize("names, command", PACKED)
def test_archives_still_packed_are_named_with_the_command(tmp_path, capsys, names, command):
    root = tmp_path / "vox"
    root.mkdir()
    trials(root / "veri_test.txt", LIST_O)
    for name in names:
        (root / name).write_bytes(b"PK")
    assert prepare(root, tmp_path / "data") == 1
    refused(capsys, "no VoxCeleb audio", command.format(root=root))


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_part_still_packed_is_named(tree, tmp_path, capsys, part):
    shutil.rmtree(tree / part)
    (tree / f"vox1_{part}_wav.zip").write_bytes(b"PK")
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, f"archives of the part {part}", f"unzip -q {tree}/vox1_{part}_wav.zip -d {tree}/{part}")


def test_voxceleb2_still_packed_or_not_given(tree, tmp_path, capsys):
    (tmp_path / "vox2").mkdir()
    (tmp_path / "vox2/vox2_dev_aac_partaa").write_bytes(b"PK")
    assert prepare(tree, tmp_path / "data", "--voxceleb2", str(tmp_path / "vox2")) == 1
    refused(capsys, "no VoxCeleb audio but archives", "vox2_dev_aac.zip -d")
    assert prepare(tree, tmp_path / "data", "--config", "conf/voxceleb12/prep.conf") == 1
    refused(capsys, "--train-on=voxceleb1+2 without --voxceleb2", "conf/voxceleb")


def test_md5_sums_are_checked_when_asked_for(tree, tmp_path, capsys, monkeypatch):
    assert prepare(tree, tmp_path / "data", "--check-md5=true") == 1
    refused(capsys, "no archive", "vox1_dev_wav.zip")
    with zipfile.ZipFile(tree / "vox1_dev_wav.zip", "w") as archive:
        archive.writestr("wav/a.txt", "not the real one")
    assert prepare(tree, tmp_path / "data", "--check-md5=true") == 1
    refused(capsys, "vox1_dev_wav.zip", "md5", "ae63e55b951748cc486645f532ba230b", "Download the archive again")
    digest = voxceleb_tree.hashlib.md5((tree / "vox1_dev_wav.zip").read_bytes()).hexdigest()
    monkeypatch.setitem(voxceleb_tree.ARCHIVES, "vox1_dev_wav.zip", digest)
    assert prepare(tree, tmp_path / "data", "--check-md5=true") == 0
    assert "archives verified: vox1_dev_wav.zip" in capsys.readouterr().out
    whole = (tree / "vox1_dev_wav.zip").read_bytes()
    (tree / "vox1_dev_wav.zip").unlink()
    for name, content in (("aa", whole[:50]), ("ab", whole[50:])):
        (tree / f"vox1_dev_wav_part{name}").write_bytes(content)
    assert voxceleb_tree.check_md5([str(tree)]) == ["vox1_dev_wav.zip"]


BAD_LISTS = {
    "empty": ([], "an empty trial list"),
    "one class": (LIST_O[:1], "1 target and 0 nontarget"),
    "wrong label": ([LIST_O[1], f"2 {clip('id10270')} {clip('id10271')}"], "line 2: found label '2'"),
    "two fields": ([*LIST_O, "1 onlyone"], "line 4: found 2 fields"),
    "no clip": ([*LIST_O, "1 a.wav b.wav"], "line 4: found 'a.wav'"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_bad_list_is_one_clear_error(tree, tmp_path, capsys, case):
    lines, message = BAD_LISTS[case]
    trials(tree / "veri_test.txt", lines)
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, "veri_test", message)
    assert not (tmp_path / "data/prep.json").exists() and not (tmp_path / "data/trials/veri_test").exists()


def test_what_is_missing_is_said_with_the_way_out(tree, tmp_path, capsys):
    assert prep_voxceleb.main(["--data", str(tmp_path / "data")]) == 1
    refused(capsys, "no --root", "--root=DIR")
    assert prepare(tmp_path / "nowhere", tmp_path / "data", "--trials", str(tree / "veri_test.txt")) == 1
    refused(capsys, "nowhere", "no such directory", "Check --root")
    (tree / "veri_test.txt").unlink()
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, "no veri_test.txt", "--trials")
    assert prepare(tree, tmp_path / "data", "--sre04", "x") == 1
    refused(capsys, "unknown option --sre04", "--voxceleb2")


def test_a_truncated_file_is_named(tree, tmp_path, capsys):
    victim = tree / "dev/wav" / clip("id10001")
    os.truncate(victim, victim.stat().st_size - 100)
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, str(victim), "truncated", "11 of 12 audio headers")
    assert prepare(tree, tmp_path / "data", "--max-bad=0.1") == 0
    check_data_dir(tmp_path / "data/train", 7, 2)


def test_metadata_with_a_damaged_line_is_refused(tree, tmp_path, capsys):
    with open(tree / "vox1_meta.csv", "a", encoding="utf-8") as stream:
        stream.write("id10272\tSomeone\tx\tNowhere\ttest\n")
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, "vox1_meta.csv: line 6")


def test_current_data_is_kept_changed_data_needs_force(tree, tmp_path, capsys):
    data = tmp_path / "data"
    assert prepare(tree, data) == 0
    before, when = tables(data / "train"), (data / "train/cuts.jsonl.gz").stat().st_mtime_ns
    assert prepare(tree, data) == 0
    assert (data / "train/cuts.jsonl.gz").stat().st_mtime_ns == when and "up to date" in capsys.readouterr().err
    trials(tree / "veri_test.txt", LIST_O[:2])
    assert prepare(tree, data) == 1
    refused(capsys, "veri_test.txt changed", "--force")
    assert prepare(tree, data, "--force=true") == 0
    assert tables(data / "train") == before and len(trial_lines(data, "veri_test")) == 2


def test_an_interrupted_preparation_starts_again(tree, tmp_path, monkeypatch):
    data, whole = tmp_path / "data", prep_voxceleb.write_data_dir

    def killed(directory, *rest, **named):
        if directory.name == "test":
            raise KeyboardInterrupt
        return whole(directory, *rest, **named)

    monkeypatch.setattr(prep_voxceleb, "write_data_dir", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(tree, data)
    assert not (data / "prep.json").exists()
    monkeypatch.setattr(prep_voxceleb, "write_data_dir", whole)
    assert prepare(tree, data) == 0
    check_data_dir(data / "test", 2, 2)

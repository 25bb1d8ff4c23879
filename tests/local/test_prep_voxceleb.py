"""VoxCeleb as it lies on people's discs: every layout gives the same data directories, every defect its message."""

import os
import shlex
import shutil
import zipfile

import pytest
from prep_trees import check_data_dir, refused, tables, trial_lines, wav
from voxceleb_made import LAYOUTS, LIST_O, SPEAKERS, VIDEOS, clip, make_tree, meta, prepare, trials

from local import common, prep_voxceleb, voxceleb_tree


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
    root = tmp_path / "my vox"
    root.mkdir()
    trials(root / "veri_test.txt", LIST_O)
    for name in names:
        (root / name).write_bytes(b"PK")
    assert prepare(root, tmp_path / "data") == 1
    refused(capsys, "no VoxCeleb audio", command.format(root=shlex.quote(str(root))))


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_part_still_packed_is_named(tree, tmp_path, capsys, part):
    shutil.rmtree(tree / part)
    (tree / f"vox1_{part}_wav.zip").write_bytes(b"PK")
    assert prepare(tree, tmp_path / "data") == 1
    refused(capsys, f"archives of the part {part}", f"unzip -q {tree}/vox1_{part}_wav.zip -d {tree}/{part}")


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
    "one class": (LIST_O[:1], "1 trials, every one of them target"),
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
    data, whole = tmp_path / "data", common.write_data_dir

    def killed(directory, *rest, **named):
        if directory.name == "test":
            raise KeyboardInterrupt
        return whole(directory, *rest, **named)

    monkeypatch.setattr(common, "write_data_dir", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(tree, data)
    assert not (data / "prep.json").exists()
    monkeypatch.setattr(common, "write_data_dir", whole)
    assert prepare(tree, data) == 0
    check_data_dir(data / "test", 2, 2)

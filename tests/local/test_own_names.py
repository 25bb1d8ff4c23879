"""What a user wrote: names of speakers, recordings and models, links, column orders and labels, in own data."""

import gzip
import json
import shutil
import unicodedata

import numpy as np
import pytest
import soundfile
from prep_trees import SPEAKERS, make_tree, refused, trial_lines, wav

from local import folder_sources, prep_folder, trial_lists
from local.trial_lists import AGAIN, TURNED, Check, Stretch, Trial
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.report.facts import losses


def prepare(data, *options):
    """Exit code of the preparation."""
    return prep_folder.main(["--data", str(data), *map(str, options)])


def put(path, text):
    """A text file; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def tree(tmp_path):
    """Six speakers, two sessions, two takes."""
    return make_tree(tmp_path / "own")


def recordings(data):
    """Number of recordings in all sets."""
    return len({utt for name in ("train", "test", "enroll") for utt in DataDir(data / name).utt2spk})


# ---------------------------------------------------------------- a tree


@pytest.mark.parametrize("links", [["spk0/all"], ["spk0/all", "spk1/all"]])
def test_circles_add_nothing(tree, tmp_path, capsys, links):
    for each in links:
        (tree / each).symlink_to("..")
    assert prepare(tmp_path / "data", "--root", tree) == 0
    assert recordings(tmp_path / "data") == 24
    assert f"{len(links)} second names of folders left out: spk0/all is ." in capsys.readouterr().err


def test_a_session_under_two_names_is_taken_once(tree, tmp_path, capsys):
    (tree / "spk0/latest").symlink_to("s1")
    (tree / "spk1/s0/again.wav").symlink_to("0.wav")
    assert prepare(tmp_path / "data", "--root", tree) == 0
    assert recordings(tmp_path / "data") == 24
    said = capsys.readouterr().err
    assert "spk0/latest is spk0/s1" in said and "spk1/s0/again.wav is spk1/s0/0.wav" in said


@pytest.mark.parametrize(
    "link, target", [("robert", "spk1"), ("spk0/s2", "../spk1/s0"), ("spk0/s0/9.wav", "../../spk1/s0/0.wav")]
)
def test_a_recording_under_two_speakers_names_is_refused(tree, tmp_path, capsys, link, target):
    (tree / link).symlink_to(target)
    assert prepare(tmp_path / "data", "--root", tree) == 1
    refused(capsys, f"1 recordings or folders under two speakers' names ({link} is spk1")


def test_a_list_may_use_the_other_name_of_a_file_with_dashes(tree, tmp_path, capsys):
    (tree / "spk0/s0/alias.wav").symlink_to("0.wav")
    (tree / "spk0/first").symlink_to("s0")
    (tree / "spk0/all").symlink_to("..")
    listed = put(tmp_path / "mine", "spk0-s0-alias spk0-s1-0 target\nspk0/s0/alias spk1-s0-0 nontarget\n")
    with listed.open("a") as stream:
        stream.write("spk0-first-0 spk1-s1-0 nontarget\nspk0-all-spk0-s0-0 spk1-s1-1 nontarget\n")
    assert prepare(tmp_path / "data", "--root", tree, "--trials", listed) == 0
    assert [line[0] for line in trial_lines(tmp_path / "data", "mine")] == ["spk0-s0-0"] * 4
    put(listed, "spk0-s0-0 spk0-s1-0 target\nnobody spk1-s0-0 nontarget\n")
    assert prepare(tmp_path / "other", "--root", tree, "--trials", listed) == 1
    refused(capsys, "found 'nobody' in a trial; expected an id of enroll/model2utts, such as spk0/s0/0.wav")
    put(listed, "spk5-s0-0 spk5-s1-0 target\nnobody spk5-s0-0 nontarget\n")
    assert prepare(tmp_path / "other", "--root", tree, "--trials", listed) == 1
    refused(capsys, "such as spk5/s0/0.wav")  # no training speaker


def test_a_speaker_table_that_the_data_contradicts_is_told(tree, tmp_path, capsys):
    place = kaldi(tree, tmp_path / "k", SPEAKERS, "s0")
    put(place / "spk2gender", "".join(f"{speaker} {'mf'[k % 2]}\n" for k, speaker in enumerate(SPEAKERS)))
    put(place / "utt2lang", "spk4-0 sv\nspk4-1 sv\n")
    table = tmp_path / "known.tsv"
    genders = ["Male", "m", "m", "F", "m", ""]
    rows(table, ["speaker", "gender", "language"], *([s, g, "en"] for s, g in zip(SPEAKERS, genders)))
    words = "--kaldi-data", place, "--eval-fraction=0.4", "--speaker-table", table
    assert prepare(tmp_path / "data", *words) == 0
    told = f"{table}: of 2 speakers the data itself says something else, which counts: spk1, spk4"
    assert told in capsys.readouterr().out
    assert told in json.loads((tmp_path / "data/prep.json").read_text())["warnings"]


def test_a_list_may_use_the_other_name_of_a_recording(tree, tmp_path):
    (tree / "spk0/latest").symlink_to("s1")
    lines = f"spk0/latest/0.wav {tree}/spk0/s0/0.wav target\n{tree}/spk0/latest/1.wav spk1/s0/0.wav nontarget\n"
    assert prepare(tmp_path / "data", "--root", tree, "--trials", put(tmp_path / "mine", lines)) == 0
    assert trial_lines(tmp_path / "data", "mine") == [
        ["spk0-s1-0", "spk0-s0-0", "target"],
        ["spk0-s1-1", "spk1-s0-0", "nontarget"],
    ]


def test_speakers_without_a_recording_are_named(tree, tmp_path, capsys):
    put(tree / "carl/0.webm", "x")
    put(tree / "dora/0.webm", "x")
    assert prepare(tmp_path / "data", "--root", tree) == 0
    said = capsys.readouterr()
    assert "2 of 8 folders hold no recording: carl, dora" in said.out
    assert "passed over 2 .webm (first: carl/0.webm)" in said.err


def test_blanks_and_quotes_in_names_become_underscores_in_ids(tmp_path, capsys):
    tree = tmp_path / "own"
    for speaker in ("ann smith", "o'brien", "cid"):
        for take in (0, 1):
            wav(tree / speaker / f"take {take}.wav", len(speaker) + take)
    lines = "ann smith/take 0.wav\tann smith/take 1.wav\ttarget\nann smith/take 0.wav\to'brien/take 0.wav\tnontarget\n"
    assert prepare(tmp_path / "data", "--root", tree, "--trials", put(tmp_path / "mine", lines)) == 0
    assert trial_lines(tmp_path / "data", "mine")[1][:2] == ["ann_smith-take_0", "o_brien-take_0"]
    assert (
        "6 names hold blanks or quotes, in ids `_`: ann smith/take 0.wav is ann_smith-take_0" in capsys.readouterr().out
    )
    wav(tree / "ann_smith" / "0.wav")
    assert prepare(tmp_path / "data", "--root", tree, "--force=true") == 1
    refused(capsys, "several speakers' folders that would have one id (ann smith and ann_smith)")


def test_letters_may_be_composed_or_not(tmp_path):
    tree, name = tmp_path / "own", unicodedata.normalize("NFD", "zoë")
    assert name != "zoë"
    for speaker in (name, "ann", "bob"):
        for take in (0, 1):
            wav(tree / speaker / f"{take}.wav", ord(speaker[0]) + 50 * take)
    listed = put(tmp_path / "mine", "zoë/0.wav zoë/1.wav target\nzoë-0 ann-0 nontarget\n")
    assert prepare(tmp_path / "data", "--root", tree, "--trials", listed) == 0
    assert trial_lines(tmp_path / "data", "mine")[0] == ["zoë-0", "zoë-1", "target"]


# ---------------------------------------------------------------- tables and Kaldi directories


def rows(path, columns, *lines):
    """A table of the tree's recordings."""
    return put(path, "".join("\t".join(line) + "\n" for line in (columns, *lines)))


@pytest.fixture
def protocol(tree, tmp_path):
    """Tables whose utt is unique within a speaker only, and in enrolment and test different recordings."""
    tables, columns = tmp_path / "tables", ("utt", "speaker", "path")
    rows(tables / "train.tsv", columns, *((f"{t}", s, f"{s}/s0/{t}.wav") for s in SPEAKERS[:3] for t in (0, 1)))
    rows(tables / "test.tsv", columns, *((f"{t}", s, f"{s}/s1/{t}.wav") for s in SPEAKERS[3:] for t in (0, 1)))
    enrolled = ((f"{t}", s, f"{s}/s0/{t}.wav", f"m{s[-1]}") for s in SPEAKERS[3:] for t in (0, 1))
    rows(tables / "enroll.tsv", (*columns, "model"), *enrolled)
    put(tables / "trials", "m3 spk3-0 target\nm3 spk4-0 nontarget\n")
    return tables


def test_enrolment_and_test_have_name_spaces_of_their_own(protocol, tree, tmp_path, capsys):
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    assert "6 ids are those of other recordings in another set" in capsys.readouterr().out
    assert DataDir(tmp_path / "data/enroll").model2utts["m3"] == ["spk3-enroll-0", "spk3-enroll-1"]
    for name, session in (("enroll", "s0"), ("test", "s1")):
        entries = DataDir(tmp_path / "data" / name).read("wav.scp").values()
        assert all(f"/{session}/" in entry for entry in entries)


def test_a_name_of_two_recordings_is_an_error(protocol, tree, tmp_path, capsys):
    put(protocol / "trials", "m3 0 target\nm3 spk4-0 nontarget\n")
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 1
    refused(capsys, "trials: line 1: found '0', a name of 3 test recordings (spk3-0, spk4-0, spk5-0)")


def kaldi(tree, directory, speakers, session, prefix=""):
    """A Kaldi data directory of one session."""
    utts = [(f"{prefix}{s}-{t}", s, tree / s / session / f"{t}.wav") for s in speakers for t in (0, 1)]
    put(directory / "wav.scp", "".join(f"{utt} {path}\n" for utt, _, path in utts))
    put(directory / "utt2spk", "".join(f"{utt} {speaker}\n" for utt, speaker, _ in utts))
    return directory


def test_kaldi_directories_may_share_ids(tree, tmp_path):
    for name, speakers, session in (
        ("train", SPEAKERS[:4], "s0"),
        ("enroll", SPEAKERS[4:], "s0"),
        ("test", SPEAKERS[4:], "s1"),
    ):
        kaldi(tree, tmp_path / "k" / name, speakers, session)
    put(tmp_path / "k/test/trials", "spk4 spk4-0 target\nspk4-0 spk5-0 nontarget\n")
    assert prepare(tmp_path / "data", "--kaldi-data", tmp_path / "k") == 0
    assert trial_lines(tmp_path / "data", "trials") == [
        ["spk4", "spk4-0", "target"],
        ["spk4-enroll-0", "spk5-0", "nontarget"],
    ]
    assert "/s1/" in DataDir(tmp_path / "data/test").read("wav.scp")["spk4-0"]


def test_augmented_copies_of_a_kaldi_directory_are_no_recordings(tree, tmp_path, capsys):
    """As perturb_data_dir_speed.sh leaves them: other ids, other speakers. Its features are not used either."""
    place = tmp_path / "k"
    kaldi(tree, place, SPEAKERS, "s0")
    data = DataDir(place)
    wav_scp, spoken = data.read("wav.scp"), dict(data.utt2spk)
    copies = {f"sp0.9-{utt}": utt for utt in spoken}
    data.write("wav.scp", {**wav_scp, **{copy: wav_scp[utt] for copy, utt in copies.items()}})
    data.write("utt2uniq", {**{utt: utt for utt in spoken}, **copies})
    data.write("feats.scp", dict.fromkeys(spoken, "x.ark:3"))
    data.write_speakers({**spoken, **{copy: f"sp0.9-{spoken[utt]}" for copy, utt in copies.items()}})
    assert prepare(tmp_path / "data", "--kaldi-data", place) == 0
    said = capsys.readouterr().out
    assert f"{len(copies)} augmented copies (utt2uniq) are left out (first: sp0.9-" in said
    assert "feats.scp not used: features are made anew" in said
    kept = {utt for name in ("train", "test") for utt in DataDir(tmp_path / "data" / name).utt2spk}
    assert len(kept) == len(spoken) and not any("sp0.9" in utt for utt in kept)


def test_a_kaldi_directorys_own_trials_are_used(tree, tmp_path):
    kaldi(tree, tmp_path / "k", SPEAKERS, "s0")
    put(tmp_path / "k/trials", "spk0-0 spk0-1 target\nspk0-0 spk1-1 nontarget\n")
    assert prepare(tmp_path / "data", "--kaldi-data", tmp_path / "k") == 0
    assert trial_lines(tmp_path / "data", "trials") == [
        ["spk0-0", "spk0-1", "target"],
        ["spk0-0", "spk1-1", "nontarget"],
    ]
    assert set(DataDir(tmp_path / "data/train").spk2utt) == set(SPEAKERS[2:])


def test_one_recording_under_two_ids_or_speakers(protocol, tree, tmp_path, capsys):
    def edit(old, new):
        put(protocol / "test.tsv", (protocol / "test.tsv").read_text().replace(old, new))

    edit("spk3/s1/1.wav", "spk3/s1/0.wav")
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    assert "1 recordings have two ids: spk3-0 and spk3-1" in capsys.readouterr().out
    (tree / "spk5/s1/link.wav").symlink_to("../../spk4/s1/0.wav")
    edit("spk5/s1/1.wav", "spk5/s1/link.wav")
    assert prepare(tmp_path / "other", "--tables", protocol, "--root", tree) == 1
    refused(capsys, "1 recordings under two names", "link.wav of the speakers spk4 and spk5")


def test_folders_whose_joined_names_are_one_have_ids_of_their_own(tree, tmp_path):
    for number, name in enumerate(("spk0/s0", "spk0-s0")):
        wav(tree / name / "7.wav", 900 + number)
    assert prepare(tmp_path / "data", "--root", tree) == 0
    utts = {utt: spk for each in ("train", "test") for utt, spk in DataDir(tmp_path / "data" / each).utt2spk.items()}
    assert len(utts) == 26 and utts["spk0--s0--7"] == "spk0" and utts["spk0-s0--7"] == "spk0-s0"


@pytest.mark.parametrize(
    "shape, doubt",
    [
        ("{speaker}/{session}/{take}.wav", ""),
        ("{session}/{speaker}/{take}.wav", "turn the tree about, or give --tables. 9 folders below (spk0, spk1, "),
        ("Test{half}/{speaker}/{take}.wav", ""),
        (
            "test/{speaker}/{take}.wav",
            "give --root one level deeper, or --tables. Parts of a corpus are called so (test)",
        ),
        ("set{half}/{speaker}/{session}/{take}.wav", "Recordings such as set0/spk0/s0/0.wav lie three folders deep"),
    ],
)
def test_uppermost_folders_that_may_be_no_speakers_are_said(shape, doubt):
    parts = [
        shape.format(speaker=f"spk{k}", session=f"s{session}", take=take, half=k % 2).split("/")
        for k in range(9)
        for session in range(4)
        for take in range(2)
    ]
    told = folder_sources.doubt_of_levels(parts)
    assert doubt in told and bool(doubt) == ("are taken for speakers" in told)


def test_a_doubt_of_the_levels_is_in_the_report(tmp_path, capsys):
    for k in range(24):
        wav(tmp_path / "own" / f"set{k % 4}" / f"spk{k % 8}" / "c" / f"{k}.wav", k)
    assert prepare(tmp_path / "data", "--root", tmp_path / "own") == 0
    told = "4 uppermost folders are taken for speakers (set0, set1, set2, set3)"
    assert told in capsys.readouterr().out
    assert told in json.loads((tmp_path / "data/prep.json").read_text())["warnings"][0]


def test_a_copy_is_no_other_recording(tree, tmp_path, capsys):
    shutil.copy(tree / "spk0/s0/0.wav", tree / "spk0/s1/copy.wav")
    assert prepare(tmp_path / "data", "--root", tree) == 0
    told = f"1 recordings have two ids: spk0-s0-0 and spk0-s1-copy (a copy of {tree}/spk0/s0/0.wav)"
    assert told in capsys.readouterr().out
    assert told in json.loads((tmp_path / "data/prep.json").read_text())["warnings"]
    shutil.copy(tree / "spk4/s0/0.wav", tree / "spk5/s0/robert.wav")
    assert prepare(tmp_path / "other", "--root", tree) == 1
    refused(capsys, "robert.wav of the speakers spk4 and spk5 (a copy of ", "spk4/s0/0.wav)")


def test_a_flac_of_a_wav_is_no_other_recording(tree, tmp_path, capsys):
    """Of as many samples as all: those of the one wav, of none, and of one with another rate."""
    samples, rate = soundfile.read(tree / "spk0/s0/0.wav", dtype="int16")
    for name, what, hertz in (("same", samples, rate), ("other", samples[::-1], rate), ("faster", samples, 2 * rate)):
        soundfile.write(tree / f"spk0/s1/{name}.flac", what, hertz)
    assert prepare(tmp_path / "data", "--root", tree, "--rate", rate) == 0
    told = f"1 recordings have two ids: spk0-s0-0 and spk0-s1-same (a copy of {tree}/spk0/s0/0.wav)"
    assert told in capsys.readouterr().out
    soundfile.write(tree / "spk5/s0/robert.flac", soundfile.read(tree / "spk4/s0/0.wav", dtype="int16")[0], rate)
    assert prepare(tmp_path / "other", "--root", tree) == 1
    refused(capsys, "robert.flac of the speakers spk4 and spk5 (a copy of ", "spk4/s0/0.wav)")


SAME = {
    "the second side of a stereo flac": lambda path, samples: soundfile.write(
        path.with_suffix(".flac"), np.stack([samples[::-1], samples], 1), 16000
    ),
    "a wav of 24 bit": lambda path, samples: soundfile.write(path, samples, 16000, subtype="PCM_24"),
    "an aiff": lambda path, samples: soundfile.write(path.with_suffix(".aiff"), samples, 16000),
}


@pytest.mark.parametrize("form", SAME)
@pytest.mark.parametrize("speaker", ["spk5", "spk4"])
def test_the_same_samples_in_another_form_are_no_other_recording(tree, tmp_path, capsys, form, speaker):
    """Of one channel, whatever else the file holds."""
    SAME[form](tree / f"{speaker}/s1/robert.wav", soundfile.read(tree / "spk4/s0/0.wav", dtype="int16")[0])
    kaldi = tmp_path / "k"
    entries = {"-".join(path.relative_to(tree).with_suffix("").parts): path for path in sorted(tree.rglob("*.*"))}
    put(kaldi / "wav.scp", "".join(f"{utt} {path}\n" for utt, path in entries.items()))
    put(kaldi / "utt2spk", "".join(f"{utt} {utt[:4]}\n" for utt in entries))
    put(kaldi / "reco2file_and_channel", f"{speaker}-s1-robert robert B\n")
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == (speaker == "spk5")
    said = capsys.readouterr()
    copy = f"(a copy of {tree}/spk4/s0/0.wav)"
    found = said.err if speaker == "spk5" else said.out
    told = (
        "of the speakers spk4 and spk5"
        if speaker == "spk5"
        else "1 recordings have two ids: spk4-s0-0 and spk4-s1-robert"
    )
    assert f"{told} {copy}" in found


def test_flac_files_of_the_same_samples_are_one_recording_at_any_compression(tmp_path, capsys):
    tree, samples = tmp_path / "own", {}
    for index, speaker in enumerate(SPEAKERS):
        for take in (0, 1):
            wav(tree / speaker / f"{take}.wav", 10 * index + take)
            samples[speaker, take] = soundfile.read(tree / speaker / f"{take}.wav", dtype="int16")[0]
            (tree / speaker / f"{take}.wav").unlink()
            soundfile.write(tree / speaker / f"{take}.flac", samples[speaker, take], 16000)
    assert prepare(tmp_path / "one", "--root", tree) == 0
    soundfile.write(tree / "spk2/robert.flac", samples["spk1", 0], 16000, compression_level=0.0)
    assert len({(tree / name).stat().st_size for name in ("spk1/0.flac", "spk2/robert.flac")}) == 2
    assert prepare(tmp_path / "two", "--root", tree) == 1
    refused(capsys, "robert.flac of the speakers spk1 and spk2 (a copy of ")


def test_a_copy_of_a_training_recording_is_seen_in_training(protocol, tree, tmp_path, capsys):
    shutil.copy(tree / "spk0/s0/0.wav", tree / "spk0/s1/copy.wav")
    row = "copy\tspk0\tspk0/s1/copy.wav\n"
    put(protocol / "test.tsv", (protocol / "test.tsv").read_text() + row)
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    assert "1 evaluation recordings are in the training set too (first: spk0-copy)" in capsys.readouterr().out


# ---------------------------------------------------------------- lists

NUMBERED = ["0 0 1", "0 1 0", "1 1 1", "1 2 0", "2 2 1", "2 0 0"]  # label, enrolment, test? or enrolment, test, label?


def known(models, tests):
    """Which pairs of names are a model and a test recording."""
    return lambda model, test: model in models and test in tests


def test_the_order_of_the_columns_is_that_of_the_whole_list(tmp_path):
    plain = put(tmp_path / "plain", "1 a b\n0 a c\n")
    assert trial_lists.order_of(plain, known("", "")) == "label, enrolment, test"
    assert trial_lists.order_of(put(tmp_path / "words", "0 1 target\n"), known("0", "1")) == "enrolment, test, label"
    numbered = put(tmp_path / "numbered", "\n".join(NUMBERED))
    assert trial_lists.order_of(numbered, known("012", "012")) == "enrolment, test, label"
    with pytest.raises(InputError, match="labels in the first and in the third column .*Write target and nontarget"):
        trial_lists.order_of(put(tmp_path / "either", "0 1 0\n1 0 1\n"), known("01", "01"))
    with pytest.raises(InputError, match="an empty trial list"):
        trial_lists.order_of(put(tmp_path / "empty", "\n \n"), known("", ""))
    with pytest.raises(InputError, match="ids that do not decide"):
        trial_lists.order_of(tmp_path / "either", known("", ""))


def test_ids_that_look_like_labels_are_kept_and_the_order_is_said(tmp_path, capsys):
    tree = tmp_path / "own"
    for index, (speaker, utts) in enumerate({"a": "0", "b": "1", "c": "2", "d": "34", "e": "56"}.items()):
        for utt in utts:
            wav(tree / speaker / f"{utt}.wav", 10 * index + int(utt))
    tables, columns = tmp_path / "tables", ("utt", "speaker", "path")
    listed = [(utt, speaker, f"{speaker}/{utt}.wav") for speaker, utt in ("a0", "b1", "c2")]
    rows(tables / "test.tsv", columns, *listed)
    rows(tables / "enroll.tsv", (*columns, "model"), *((*each, each[0]) for each in listed))
    rows(tables / "train.tsv", columns, *((utt, s, f"{s}/{utt}.wav") for s, utt in ("d3", "d4", "e5", "e6")))
    path = put(tables / "trials", "\n".join(NUMBERED) + "\n")
    assert prepare(tmp_path / "data", "--tables", tables, "--root", tree) == 0
    wanted = [line.split() for line in NUMBERED]
    words = {"1": "target", "0": "nontarget"}
    speakers = {"0": "a-0", "1": "b-1", "2": "c-2"}
    assert trial_lines(tmp_path / "data", "trials") == [[m, speakers[t], words[label]] for m, t, label in wanted]
    said = capsys.readouterr().out
    assert f"{path}: its columns are enrolment, test, label" in said
    assert "3 trials of a recording against itself (first: 0 a-0)" in said


@pytest.mark.parametrize(
    "word, target", [("tgt", True), ("imp", False), ("nontgt", False), ("Target", True), ("1", True)]
)
def test_labels_in_the_fields_own_words(word, target):
    assert trial_lists.read_label(word, "x") is target


def test_absolute_paths_name_recordings_and_unknown_ids_are_shown(tree, tmp_path, capsys):
    lines = [
        f"{tree}/spk0/s0/0.wav {tree}/spk0/s1/0.wav target",
        f"{tree}/spk0/s0/0.wav {tree}/spk1/s1/0.wav nontarget",
    ]
    listed = put(tmp_path / "mine", "\n".join(lines) + "\n")
    assert prepare(tmp_path / "data", "--root", tree, "--trials", listed) == 0
    assert trial_lines(tmp_path / "data", "mine")[0] == ["spk0-s0-0", "spk0-s1-0", "target"]
    put(listed, "\n".join(lines).replace(str(tree), "/elsewhere") + "\n")
    assert prepare(tmp_path / "again", "--root", tree, "--trials", listed) == 1
    refused(capsys, "0 speakers in the lists (3 ids are unknown: /elsewhere/spk0/s0/0.wav, ", "known are spk0/s0/0.wav")


def test_labels_against_the_speakers_are_counted_and_recorded(tree, tmp_path, capsys):
    lines = ["spk0-s0-0 spk0-s1-0 target", "spk0-s0-0 spk0-s1-1 target", "spk0-s0-0 spk1-s0-0 target"]
    lines += ["spk0-s0-0 spk1-s0-1 nontarget", "spk1-s0-0 spk1-s0-0 target"]
    listed = put(tmp_path / "mine", "\n".join(lines) + "\n")
    assert prepare(tmp_path / "data", "--root", tree, "--trials", listed) == 0
    summary = json.loads((tmp_path / "data/prep.json").read_text())
    counts = summary["trials/mine"]
    told = "1 of 5 trials of mine are against the speakers of their recordings"
    assert told in summary["warnings"] and ["data", told] in losses(tmp_path / "exp", tmp_path / "data", [])
    assert counts == {
        "target": 4,
        "nontarget": 1,
        "against the speakers of their recordings": 1,
        "of a recording against itself": 1,
    }
    said = capsys.readouterr().out
    assert (
        "warning: " in said and "1 trials against the speakers of their recordings (first: spk0-s0-0 spk1-s0-0)" in said
    )


def test_columns_that_are_turned_about_are_told_by_the_value_that_was_written(protocol, tree, tmp_path, capsys):
    table = protocol / "train.tsv"
    table.write_text(table.read_text().replace("speaker\tpath", "path\tspeaker"))
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 1
    refused(capsys, "train.tsv: found speaker id 'spk0/s0/0.wav'; expected an id without spaces, slashes")


def test_names_of_speakers_that_differ_in_capitals_alone_are_told(tree, tmp_path, capsys):
    (tree / "spk3").rename(tree / "SPK2")
    assert prepare(tmp_path / "data", "--root", tree) == 0
    told = "warning of names: 1 times the names of speakers differ in capitals alone (SPK2 and spk2)"
    assert told in capsys.readouterr().out
    assert "capitals alone" in json.loads((tmp_path / "data/prep.json").read_text())["warnings"][-1]


def test_a_speaker_of_both_genders_is_told(protocol, tree, tmp_path, capsys):
    header, *lines = (protocol / "train.tsv").read_text().splitlines()
    genders = ["f", "m", "f", "f", "m", ""]
    rows(
        protocol / "train.tsv", [*header.split("\t"), "gender"], *([*a.split("\t"), g] for a, g in zip(lines, genders))
    )
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    told = "data/train: 1 speakers have recordings of both genders, here or in another set: spk0"
    assert told in capsys.readouterr().out
    assert any(told in each for each in json.loads((tmp_path / "data/prep.json").read_text())["warnings"])


def test_a_speaker_of_another_gender_in_another_set_is_told(tree, tmp_path, capsys):
    for name, speakers, session in (
        ("train", SPEAKERS[:4], "s0"),
        ("enroll", SPEAKERS[4:], "s0"),
        ("test", SPEAKERS[4:], "s1"),
    ):
        kaldi(tree, tmp_path / "k" / name, speakers, session)
        put(tmp_path / "k" / name / "spk2gender", f"spk4 {'m' if name == 'test' else 'f'}\nspk5 m\n")
    put(tmp_path / "k/test/trials", "spk4 spk4-0 target\nspk4-0 spk5-0 nontarget\n")
    assert prepare(tmp_path / "data", "--kaldi-data", tmp_path / "k") == 0
    assert (
        "data/test: 1 speakers have recordings of both genders, here or in another set: spk4" in capsys.readouterr().out
    )


def test_columns_gender_and_sex_that_contradict_each_other_are_told(tree, tmp_path, capsys):
    """Where both say the same, or one of them nothing, it is known."""
    cells = [("f", "Female"), ("", "m"), ("M", ""), ("m", "f"), ("f", "male"), ("m", "m")]
    rows(tmp_path / "known.tsv", ["speaker", "gender", "sex"], *([f"spk{k}", *each] for k, each in enumerate(cells)))
    assert prepare(tmp_path / "data", "--root", tree, "--speaker-table", tmp_path / "known.tsv") == 0
    assert "the gender of 2 speakers is none of m f male female (f/m, m/f)" in capsys.readouterr().out
    tables = [DataDir(tmp_path / "data" / name).read_if_there("spk2gender") for name in ("train", "enroll")]
    assert tables[0] | tables[1] == {"spk0": "f", "spk1": "m", "spk2": "m", "spk5": "m"}


@pytest.mark.parametrize("given", ["speaker table", "tables"])
@pytest.mark.parametrize("column", ["sex", "Gender"])
def test_a_column_sex_is_the_gender(protocol, tree, tmp_path, given, column):
    sexes = ["f", "male", "Female", "m", "M", "F"]
    options = ("--speaker-table", tmp_path / "known.tsv") if given == "speaker table" else ()
    rows(tmp_path / "known.tsv", ["speaker", column], *([f"spk{k}", sex] for k, sex in enumerate(sexes)))
    for name in ("train", "test", "enroll") if given == "tables" else ():
        head, *lines = (protocol / f"{name}.tsv").read_text().splitlines()
        table = [[*line.split("\t"), sexes[int(line.split("\t")[1][3:])]] for line in lines]
        rows(protocol / f"{name}.tsv", [*head.split("\t"), column], *table)
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree, *options) == 0
    assert DataDir(tmp_path / "data/train").read("spk2gender") == {"spk0": "f", "spk1": "m", "spk2": "f"}
    assert not DataDir(tmp_path / "data/train").info


@pytest.mark.parametrize(
    "columns, cells, told",
    [
        (("start", "end"), ("0.1", "0.5"), "the columns start, end decide nothing: every recording is used whole"),
        (("Channel",), ("1",), "the columns Channel decide nothing: every recording is used whole, and the first of"),
        (("channel",), ("0",), ""),
        (("channel",), ("tel",), ""),
    ],
)
def test_columns_that_seem_to_cut_recordings_are_told(protocol, tree, tmp_path, capsys, columns, cells, told):
    head, *lines = (protocol / "train.tsv").read_text().splitlines()
    rows(protocol / "train.tsv", [*head.split("\t"), *columns], *([*line.split("\t"), *cells] for line in lines))
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    warnings = json.loads((tmp_path / "data/prep.json").read_text())["warnings"]
    assert [told in each for each in warnings] == [True] * bool(told)
    assert told in capsys.readouterr().out


def test_a_table_beside_another_packed_one_is_refused(protocol, tree, tmp_path, capsys):
    text = (protocol / "train.tsv").read_text()
    packed = protocol / "train.tsv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    packed.write_bytes(gzip.compress(text.replace("\n1\tspk2\tspk2/s0/1.wav", "").encode()))
    assert prepare(tmp_path / "other", "--tables", protocol, "--root", tree) == 1
    refused(capsys, "train.tsv: found another table in train.tsv.gz beside it; expected one table of this name")


def test_lines_that_are_there_again_are_told(protocol, tree, tmp_path, capsys):
    for name, line in (("train", "1\tspk2\tspk2/s0/1.wav"), ("enroll", "1\tspk4\tspk4/s0/1.wav\tm4")):
        with open(protocol / f"{name}.tsv", "a") as stream:
            stream.write(f"{line}\n" * 2)
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    said = capsys.readouterr().out
    assert all(
        f"{name}.tsv: 2 lines are there again, and count once (first: 1)" in said for name in ("train", "enroll")
    )
    assert DataDir(tmp_path / "data/enroll").model2utts["m4"] == ["spk4-enroll-0", "spk4-enroll-1"]
    head, *lines = (protocol / "train.tsv").read_text().splitlines()
    table = [[*line.split("\t"), str(number)] for number, line in enumerate(lines)]
    rows(protocol / "train.tsv", [*head.split("\t"), "day"], *table)
    assert prepare(tmp_path / "other", "--tables", protocol, "--root", tree) == 0
    assert "train.tsv: 2 further lines of a recording have other facts, the first counts: spk2-1, spk2-1" in (
        capsys.readouterr().out
    )
    assert DataDir(tmp_path / "other/train").info["spk2-1"] == {"day": "5"}


def test_trials_given_twice_and_models_of_several_speakers_are_counted(protocol, tree, tmp_path, capsys):
    with open(protocol / "enroll.tsv", "a") as stream:
        stream.write("0\tspk4\tspk4/s0/0.wav\tm3\n")
    listed = ["m4 spk4-0 target", "m4 spk3-0 nontarget", "m3 spk3-0 target", "m4 spk3-0 nontarget"]
    put(protocol / "trials", "\n".join(listed) + "\n")
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    counts = json.loads((tmp_path / "data/prep.json").read_text())["trials/trials"]
    assert counts["of a model with recordings of several speakers"] == 1
    assert counts["given before, which count twice"] == 1
    said = capsys.readouterr().out
    assert "1 trials given before, which count twice (first: trial 4)" in said
    assert "1 trials of a model with recordings of several speakers (first: m3 spk3-0)" in said


def test_a_pair_in_both_directions_counts_twice_and_is_told(tree, tmp_path, capsys):
    """Of models of one recording, whose scores are the same either way; a trial given again is told as that alone."""
    a, b, c = "spk4/s0/0.wav", "spk4/s1/0.wav", "spk3/s0/0.wav"
    pairs = [(a, b), (a, c), (b, a), (c, b), (a, b), (c, a)]
    listed = tmp_path / "listed"
    listed.write_text("".join(f"{x} {y} {'non' * (x[:4] != y[:4])}target\n" for x, y in pairs))
    assert prepare(tmp_path / "data", "--root", tree, "--trials", listed) == 0
    counts = json.loads((tmp_path / "data/prep.json").read_text())["trials/listed"]
    assert (counts["target"], counts["nontarget"]) == (3, 3)
    assert (counts[AGAIN], counts[TURNED]) == (1, 2)
    assert f"2 trials {TURNED} (first: trial 3)" in capsys.readouterr().out


def test_models_of_several_recordings_have_no_other_direction():
    check = Check({"m": ["a", "c"], "b": ["b"], "a": ["a"]}, lambda utt: "", Stretch)
    for model, test in (("m", "b"), ("b", "a"), ("b", "c"), ("a", "b")):
        check.see(Trial(model, test, model == "m"))
    assert check.counts("l") == {TURNED: 1}


@pytest.mark.parametrize("given", ["speaker table", "tables"])
def test_words_that_are_no_gender_are_told_and_count_as_not_known(protocol, tree, tmp_path, capsys, given):
    words = ["w", "FEMALE ", "1", "männlich", "M", ""]
    if given == "tables":
        for name in ("train", "test", "enroll"):
            head, *lines = (protocol / f"{name}.tsv").read_text().splitlines()
            place = head.split("\t").index("speaker")
            table = [[*line.split("\t"), words[int(line.split("\t")[place][3:])]] for line in lines]
            rows(protocol / f"{name}.tsv", [*head.split("\t"), "gender"], *table)
        options = ()
    else:
        rows(tmp_path / "known.tsv", ["speaker", "gender"], *([f"spk{k}", word] for k, word in enumerate(words)))
        options = ("--speaker-table", tmp_path / "known.tsv")
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree, *options) == 0
    told = "the gender of 3 speakers is none of m f male female (1, männlich, w): it counts as not known"
    assert told in capsys.readouterr().out
    tables = [DataDir(tmp_path / "data" / name).read_if_there("spk2gender") for name in ("train", "enroll", "test")]
    assert {speaker: gender for each in tables for speaker, gender in each.items()} == {"spk1": "f", "spk4": "m"}


def test_a_recordings_name_is_its_path_whatever_its_id(tmp_path):
    """File names that are unique within a speaker are ids; the path still names the recording."""
    tree = tmp_path / "own"
    for index, speaker in enumerate(SPEAKERS):
        for take in range(4):
            wav(tree / speaker / f"s{take % 2}" / f"take{take}.wav", 10 * index + take)
    first, second = SPEAKERS[:2]
    for form in ("{}-s0-take0", "{}/s0/take0", "{}/s0/take0.wav", "{}-take0"):
        lines = [f"{form.format(a)} {b}-s1-take1 {label}" for a, b, label in
                 ((first, first, "target"), (first, second, "nontarget"))]  # fmt: skip
        listed = put(tmp_path / "mine", "\n".join(lines) + "\n")
        assert prepare(tmp_path / "data", "--root", tree, "--trials", listed, "--force=true") == 0
        assert trial_lines(tmp_path / "data", "mine") == [
            [f"{first}-take0", f"{first}-take1", "target"],
            [f"{first}-take0", f"{second}-take1", "nontarget"],
        ]


def test_labels_turned_about_are_refused(tree, tmp_path, capsys):
    lines = "spk0-s0-0 spk0-s1-0 nontarget\nspk0-s0-0 spk1-s1-1 target\n"
    assert prepare(tmp_path / "data", "--root", tree, "--trials", put(tmp_path / "mine", lines)) == 1
    refused(capsys, "2 of 2 labels against the speakers of their recordings", "turned about")


def test_evaluation_recordings_in_training_are_counted_and_recorded(protocol, tree, tmp_path, capsys):
    with open(protocol / "train.tsv", "a") as stream:
        stream.write("5\tspk3\tspk3/s1/0.wav\n")
    assert prepare(tmp_path / "data", "--tables", protocol, "--root", tree) == 0
    summary = json.loads((tmp_path / "data/prep.json").read_text())
    assert summary["seen in training"] == {"evaluation speakers": 1, "evaluation recordings": 1}
    assert "1 evaluation recordings are in the training set too (first: spk3-0)" in capsys.readouterr().out

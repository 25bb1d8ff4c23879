"""Own data in every shape that prep_folder takes, and what it says when the data is not as it should be."""

import gzip
import itertools
import json
import operator
import shutil

import lhotse
import pytest
import soundfile
from prep_trees import SPEAKERS, check_data_dir, make_tree, refused, speech, tables, trial_lines, wav

from local import folder_trials, prep_folder, prep_toy, prep_toy_sre12, trial_lists
from local.common import Utterance
from local.folder_sources import OwnData
from local.trial_lists import Stretch, Trial
from pyasp.data.datadir import DataDir


def prepare(data, *options):
    """Exit code of the preparation."""
    return prep_folder.main(["--data", str(data), *map(str, options)])


@pytest.fixture
def tree(tmp_path):
    """Six speakers, two sessions, two takes."""
    return make_tree(tmp_path / "own")


def test_a_tree_is_divided_by_speakers_and_tried_across_sessions(tree, tmp_path, capsys):
    data = tmp_path / "data"
    assert prepare(data, "--root", tree, "--eval-fraction=0.5") == 0
    train, test = check_data_dir(data / "train", 12, 3), check_data_dir(data / "test", 12, 3)
    assert not set(train.spk2utt) & set(test.spk2utt)
    lines = trial_lines(data, "trials")
    sessions = {utt: row["session"] for utt, row in test.info.items()}
    for model, utt, label in lines:
        assert (test.utt2spk[model] == test.utt2spk[utt]) == (label == "target")
        assert label == "nontarget" or sessions[model] != sessions[utt]
    assert sum(label == "target" for *_, label in lines) == 3 * 4
    assert len({frozenset(line[:2]) for line in lines}) == len(lines) and lines == sorted(lines)
    assert check_data_dir(data / "enroll", 12, 3).model2utts == {utt: [utt] for utt in test.utt2spk}
    assert "train: 12 utterances, 3 speakers" in capsys.readouterr().out


def test_the_seed_decides_and_the_same_one_gives_the_same_files(tree, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 5)):
        assert prepare(tmp_path / name, "--root", tree, "--eval-fraction=0.5", "--seed", seed) == 0
    files = [(tables(tmp_path / name / "train"), tables(tmp_path / name / "trials")) for name in "abc"]
    assert files[0] == files[1] and files[0][0]["utt2spk"] != files[2][0]["utt2spk"]


def test_a_tree_without_sessions_pairs_any_two_utterances(tmp_path):
    assert (
        prepare(tmp_path / "data", "--root", make_tree(tmp_path / "own", sessions=0, takes=3), "--eval-fraction=0.4")
        == 0
    )
    data = check_data_dir(tmp_path / "data/test", 6, 2)
    assert not (data / "utt2info.tsv").exists()
    assert sum(line[2] == "target" for line in trial_lines(tmp_path / "data", "trials")) == 2 * 3


def test_ids_are_file_names_where_these_tell_the_files_apart(tmp_path):
    root = tmp_path / "own"
    for number, (speaker, take) in enumerate(itertools.product(SPEAKERS[:3], range(2))):
        wav(root / speaker / "s1" / f"{speaker}-{take}.wav", number)
    assert prepare(tmp_path / "data", "--root", root) == 0
    assert [utt.count("-") for utt in check_data_dir(tmp_path / "data/train", 2, 1).utt2spk] == [1, 1]


@pytest.mark.parametrize("suffix, rate", [("flac", 16000), ("ogg", 16000), ("wav", 8000)])
def test_other_formats_and_rates_are_read_from_their_headers(tmp_path, suffix, rate):
    root = tmp_path / "own"
    for index, speaker in enumerate(SPEAKERS[:3]):
        for take in range(2):
            (root / speaker).mkdir(parents=True, exist_ok=True)
            soundfile.write(root / speaker / f"{take}.{suffix}", speech(rate)[100 * index + take :][:4000], rate)
    assert prepare(tmp_path / "data", "--root", root) == 0
    data = check_data_dir(tmp_path / "data/train", 2, 1)
    assert {cut.sampling_rate for cut in lhotse.CutSet.from_file(data / "cuts.jsonl.gz")} == {rate}


def test_a_list_divides_a_tree_by_its_ids_or_paths(tree, tmp_path):
    listed = tmp_path / "mine.txt"
    listed.write_text(
        "spk0/s0/0.wav spk0/s1/1.wav target\nspk0-s0-0 spk1-s0-1 nontarget\nspk1/s0/1.wav spk1/s1/0.wav 1\n"
    )
    assert prepare(tmp_path / "data", "--root", tree, "--trials", listed) == 0
    assert set(check_data_dir(tmp_path / "data/train", 16, 4).spk2utt) == set(SPEAKERS[2:])
    assert trial_lines(tmp_path / "data", "mine") == [
        ["spk0-s0-0", "spk0-s1-1", "target"],
        ["spk0-s0-0", "spk1-s0-1", "nontarget"],
        ["spk1-s0-1", "spk1-s1-0", "target"],
    ]


def table(path, rows):
    """A tab-separated table with a header."""
    columns = list(rows[0])
    path.write_text(
        "\n".join("\t".join(row) for row in [columns, *([row[name] for name in columns] for row in rows)]) + "\n"
    )


@pytest.fixture
def protocol(tree, tmp_path):
    """train.tsv, test.tsv, enroll.tsv over the tree; models of one and of two recordings; two lists.

    Utterances of spk5 lack the speaker in their ids.
    """

    def row(speaker, session, take, **more):
        name = f"{speaker}-{session}-{take}" if speaker != "spk5" else f"x{session}{take}"
        return {
            "utt": name,
            "speaker": speaker,
            "session": session,
            "path": f"{speaker}/{session}/{take}.wav",
            "gender": "f" if speaker in SPEAKERS[::2] else "male",
            "phone": "cell" if take else "land line",
            **more,
        }

    directory = tmp_path / "tables"
    directory.mkdir()
    table(directory / "train.tsv", [row(speaker, "s0", take) for speaker in SPEAKERS[:3] for take in (0, 1)])
    table(
        directory / "test.tsv", [row(speaker, "s1", take, kind="word") for speaker in SPEAKERS[3:] for take in (0, 1)]
    )
    table(
        directory / "enroll.tsv",
        [
            row(speaker, "s0", take, model=f"m-{speaker}-{size}")
            for speaker in SPEAKERS[3:]
            for size in (1, 2)
            for take in range(size)
        ],
    )
    (directory / "trials_1").write_text("m-spk3-1 spk3-s1-0 target\nm-spk3-1 xs11 nontarget\nm-spk5-1 xs10 target\n")
    (directory / "trials_any").write_text("m-spk3-2 spk3-s1-0 target\nm-spk4-1 spk3-s1-1 nontarget\n")
    return directory


def test_tables_are_taken_as_they_are(protocol, tree, tmp_path):
    data = tmp_path / "data"
    assert prepare(data, "--root", tree, "--tables", protocol) == 0
    assert check_data_dir(data / "train", 6, 3).info["spk0-s0-0"] == {"session": "s0", "phone": "land line"}
    test, enroll = check_data_dir(data / "test", 6, 3), check_data_dir(data / "enroll", 6, 3)
    assert enroll.model2utts["m-spk3-2"] == ["spk3-s0-0", "spk3-s0-1"] and len(enroll.model2utts) == 6
    assert test.read("spk2gender") == {"spk3": "m", "spk4": "f", "spk5": "m"} and "spk5-xs10" in test.utt2spk
    assert trial_lines(data, "trials_1") == [
        ["m-spk3-1", "spk3-s1-0", "target"],
        ["m-spk3-1", "spk5-xs11", "nontarget"],
        ["m-spk5-1", "spk5-xs10", "target"],
    ]


def test_packed_tables_and_lists_give_the_same_data(protocol, tree, tmp_path, capsys):
    assert prepare(tmp_path / "plain", "--root", tree, "--tables", protocol) == 0
    for path in list(protocol.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert prepare(tmp_path / "packed", "--root", tree, "--tables", protocol) == 0
    assert all(
        tables(tmp_path / "plain" / name) == tables(tmp_path / "packed" / name)
        for name in ("train", "enroll", "trials")
    )
    whole = (protocol / "trials_1.gz").read_bytes()
    for damaged in (whole[:-9], b"no gzip" + whole, whole[:12] + b"\xff\xff" + whole[14:]):
        (protocol / "trials_1.gz").write_bytes(damaged)
        assert prepare(tmp_path / "damaged", "--root", tree, "--tables", protocol) == 1
        refused(capsys, "trials_1.gz", "no whole gzip file")


def test_columns_to_split_results_by_lie_beside_their_list(protocol, tree, tmp_path):
    assert prepare(tmp_path / "data", "--root", tree, "--tables", protocol) == 0
    one, two = (
        [line.split("\t") for line in (tmp_path / f"data/trials/{name}.tsv").read_text().splitlines()]
        for name in ("trials_1", "trials_any")
    )
    assert one == [["test_gender", "test_phone"], ["m", "land line"], ["m", "cell"], ["m", "land line"]]
    assert two == [["test_gender", "test_phone", "enroll_utts"], ["m", "land line", "2"], ["m", "cell", "1"]]


def test_given_lists_take_the_place_of_those_beside_the_tables(protocol, tree, tmp_path):
    (tmp_path / "only").write_text("m-spk3-1 spk3-s1-0 target\nm-spk3-1 spk4-s1-0 nontarget\n")
    assert prepare(tmp_path / "data", "--root", tree, "--tables", protocol, "--trials", tmp_path / "only") == 0
    assert {path.name for path in (tmp_path / "data/trials").iterdir()} == {"only", "only.tsv"}


BAD_LISTS = {
    "empty": ("", "an empty trial list"),
    "one class": ("m-spk3-1 spk3-s1-0 target\n", "1 trials, every one of them target"),
    "unknown model": ("m-spk9 spk3-s1-0 target\n", "'m-spk9' in a trial; expected an id of enroll/model2utts"),
    "unknown test": ("m-spk3-1 nobody target\n", "'nobody' in a trial; expected an id of test/utt2spk"),
    "training utterance": ("m-spk3-1 spk0-s0-0 target\n", "'spk0-s0-0' in a trial; expected an id of test/utt2spk"),
    "wrong label": ("m-spk3-1 spk3-s1-0 yes\n", "line 1: found label 'yes'"),
    "two fields": ("a b\n", "2 fields"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_bad_list_is_one_clear_error(protocol, tree, tmp_path, capsys, case):
    content, message = BAD_LISTS[case]
    (protocol / "trials_1").write_text(content)
    assert prepare(tmp_path / "data", "--root", tree, "--tables", protocol) == 1
    refused(capsys, "trials_1", message)
    assert not (tmp_path / "data/prep.json").exists() and not (tmp_path / "data/trials/trials_1").exists()


def _edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


BAD_TABLES = {
    "no column": (lambda d: _edit(d / "train.tsv", "speaker", "who"), "a column speaker"),
    "ragged": (lambda d: _edit(d / "test.tsv", "\tword", ""), "fields"),
    "space in an id": (lambda d: _edit(d / "train.tsv", "spk0-s0-0", "spk0 0"), "id 'spk0 0'"),
    "two recordings of one id": (
        lambda d: _edit(d / "train.tsv", "spk0-s0-1", "spk0-s0-0"),
        "utterance spk0-s0-0 twice",
    ),
    "missing table": (lambda d: (d / "enroll.tsv").unlink(), "enroll.tsv: found no such file"),
    "missing audio": (lambda d: _edit(d / "train.tsv", "spk0/s0/1.wav", "spk0/s0/7.wav"), "17 of 18 audio headers"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_one_clear_error(protocol, tree, tmp_path, capsys, case):
    damage, message = BAD_TABLES[case]
    damage(protocol)
    assert prepare(tmp_path / "data", "--root", tree, "--tables", protocol) == 1
    refused(capsys, message)


@pytest.mark.parametrize(
    "table, path, name", [("test", "spk3/s1/0.wav", "spk3-s1-0"), ("enroll", "spk3/s0/0.wav", "m-spk3-1")]
)
def test_a_trial_of_what_was_left_out_is_told_with_the_reason(protocol, tree, tmp_path, capsys, table, path, name):
    """And what was left out is no example of what may be in a list. A model of another recording too stays."""
    _edit(protocol / f"{table}.tsv", path, "gone.wav")
    words = "--root", tree, "--tables", protocol, "--max-bad=0.2", "--trials", protocol / "trials_1"
    assert prepare(tmp_path / "data", *words) == 1
    refused(capsys, f"found 1 recordings that cannot be used ({name}: ", "gone.wav", "take their trials out")
    (protocol / "trials_1").write_text("m-spk4-1 nobody target\nm-spk4-1 xs11 nontarget\n")
    assert prepare(tmp_path / "data", *words) == 1
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "found 'nobody' in a trial; expected an id of test/utt2spk, such as spk3-s1-" in told
    assert ("such as spk3-s1-0" in told) == (table == "enroll")


def test_speakers_in_training_and_test_are_pointed_out(protocol, tree, tmp_path, capsys):
    _edit(protocol / "train.tsv", "spk2", "spk3")
    assert prepare(tmp_path / "data", "--root", tree, "--tables", protocol) == 0
    assert "1 evaluation speakers are in the training set too (first: spk3)" in capsys.readouterr().out


def test_one_training_speaker_is_told_before_anything_is_read_or_written(protocol, tree, tmp_path, capsys):
    lines = (protocol / "train.tsv").read_text().splitlines(keepends=True)
    (protocol / "train.tsv").write_text("".join(lines[:3]))
    words = ["--tables", protocol, "--root", tree]
    sound = (tree / "spk0/s0/0.wav").read_bytes()
    (tree / "spk0/s0/0.wav").write_bytes(b"no sound")  # nobody looks
    assert prepare(tmp_path / "data", *words, "--trains=true") == 1
    refused(capsys, "found 1 training speakers (spk0); expected at least 2. Bring recordings of more speakers")
    assert not (tmp_path / "data").exists()
    (tree / "spk0/s0/0.wav").write_bytes(sound)
    assert prepare(tmp_path / "data", *words) == 0  # where models are given
    assert len(DataDir(tmp_path / "data/train").spk2utt) == 1


def test_a_list_that_leaves_one_speaker_to_train_on_is_refused(tree, tmp_path, capsys):
    pairs = [f"spk0/s0/0 {speaker}/s1/0 nontarget" for speaker in SPEAKERS[1:5]]
    (tmp_path / "list").write_text("\n".join(["spk0/s0/0 spk0/s1/0 target", *pairs]) + "\n")
    assert prepare(tmp_path / "data", "--root", tree, "--trials", tmp_path / "list", "--trains=true") == 1
    refused(capsys, "found 1 training speakers (spk5)", "who are in no trial", "Nothing was changed")
    assert not (tmp_path / "data/prep.json").exists()


def test_what_is_missing_is_said_with_the_way_out(tree, tmp_path, capsys):
    cases = {
        (): ("no data", "--root", "--tables", "--kaldi-data"),
        ("--root", tmp_path / "gone"): ("gone", "no such directory"),
        ("--tables", tmp_path / "gone"): ("gone", "no such directory"),
        ("--root", tree, "--kaldi-data", tree): ("--kaldi-data and --root",),
        ("--kaldi-data", tree): ("no utt2spk",),
        ("--root", tree, "--voxceleb2", "x"): ("unknown option --voxceleb2", "--tables"),
    }
    for options, texts in cases.items():
        assert prepare(tmp_path / "data", *options) == 1
        refused(capsys, *texts)


def test_a_tree_that_cannot_be_divided_is_refused(tmp_path, capsys):
    root = tmp_path / "own"
    (root / "a").mkdir(parents=True)
    assert prepare(tmp_path / "data", "--root", root) == 1
    refused(capsys, "no audio file")
    for speaker in "abc":
        wav(root / speaker / "s1" / "0.wav", ord(speaker))
    assert prepare(tmp_path / "data", "--root", root) == 1
    refused(capsys, "3 speakers, 0 of them with two utterances", "--trials")
    wav(root / "loose.wav", 1)
    assert prepare(tmp_path / "data", "--root", root) == 1
    refused(capsys, "1 audio files without a speaker's directory", "loose.wav")


def test_current_data_is_kept_and_a_changed_table_needs_force(protocol, tree, tmp_path, capsys):
    data, options = tmp_path / "data", ("--root", tree, "--tables", protocol)
    assert prepare(data, *options) == 0 and prepare(data, *options) == 0
    assert "up to date" in capsys.readouterr().err
    _edit(protocol / "enroll.tsv", "m-spk4-1", "m-spk4-one")
    _edit(protocol / "trials_any", "m-spk4-1", "m-spk4-one")
    assert prepare(data, *options) == 1
    refused(capsys, "enroll.tsv changed", "--force")
    assert prepare(data, *options, "--force=true") == 0
    assert "m-spk4-one" in (data / "enroll/model2utts").read_text()
    assert json.loads((data / "prep.json").read_text())["train"]["speakers"] == 3


# ---------------------------------------------------------------- what drawn non-targets share


def voices(*, male=4, female=4, takes=3, **columns):
    """{id: utterance} of so many speakers; columns: {name: [a speaker's values in turn]}."""
    genders = ["m"] * male + ["f"] * female
    return {
        f"{gender}{k}-{take}": Utterance(
            f"{gender}{k}-{take}",
            f"{gender}{k}",
            f"{gender}{k}/{take}.wav",
            gender,
            info={name: values[k % len(values)] for name, values in columns.items()},
        )
        for k, gender in enumerate(genders)
        for take in range(takes)
    }


def nontargets(test, allow):
    """(speaker, speaker) of the drawn non-targets."""
    drawn = folder_trials.draw_trials(OwnData(test=test), 40, 5, 1, allow)
    return [(test[trial.model].speaker, test[trial.test].speaker) for trial in drawn if not trial.target]


def test_drawn_nontargets_share_what_is_known_of_their_speakers():
    test = voices(male=8, female=8, language=["fr", "de"])
    conditions = folder_trials.Conditions(test.values())
    assert conditions.columns == ["gender", "language"] and set(conditions.depth.values()) == {2}
    pairs = nontargets(test, conditions.allow)
    speakers = {utt.speaker: (utt.gender, utt.info["language"]) for utt in test.values()}
    assert len(pairs) > 100 and all(speakers[a] == speakers[b] for a, b in pairs)
    assert conditions.by_chance() == pytest.approx(3 / 15)
    assert any(speakers[a] != speakers[b] for a, b in nontargets(test, operator.ne))


def test_no_drawn_trial_has_one_sound_on_both_sides():
    """Windows of a second every half a second, one of them under two ids; a voice over another's; whole recordings."""
    test = {
        f"{speaker}-{k}": Utterance(f"{speaker}-{k}", speaker, f"{speaker}.wav", start=k / 2, seconds=1.0)
        for speaker in "ab"
        for k in range(4)
    }
    test["a-again"] = Utterance("a-again", "a", "a.wav", start=0.0, seconds=1.0)
    test["c-0"], test["c-1"] = Utterance("c-0", "c", "a.wav", start=0.5), Utterance("c-1", "c", "c.wav")
    source = OwnData(test=test)
    drawn = folder_trials.draw_trials(source, 100, 20, 1, operator.ne)
    targets = {(trial.model, trial.test) for trial in drawn if trial.target}
    apart = {(f"{speaker}-{a}", f"{speaker}-{b}") for speaker in "ab" for a, b in ((0, 2), (0, 3), (1, 3))}
    assert targets == {*apart, ("a-2", "a-again"), ("a-3", "a-again"), ("c-0", "c-1")}
    others = {(trial.model, trial.test) for trial in drawn if not trial.target}
    assert {("a-0", "c-1"), ("b-0", "c-0")} < others and not {("a-1", "c-0"), ("a-2", "c-0"), ("a-3", "c-0")} & others
    alike = OwnData(pool={key: test[key] for key in ("a-0", "a-1", "a-again", "b-0", "b-3", "c-0", "c-1")})
    assert folder_trials.choose_speakers(alike, 0.1, 1, "x") == {"b", "c"}  # of `a` all recordings overlap


def test_trials_whose_sides_overlap_are_counted(capsys):
    sounds = {
        "a": Stretch("r", 0.0, 1.0),
        "b": Stretch("r", 0.985, 2.0),
        "c": Stretch("r", 1.0, 2.0),
        "d": Stretch("s"),
    }
    check = trial_lists.Check({"m": ["a", "d"]}, lambda utt: "", sounds.__getitem__)
    for name in "abcd":
        check.see(Trial("m", name, True))
    assert check.counts("list") == {trial_lists.ITSELF: 3}
    assert "3 trials of a recording against itself (first: m a)" in capsys.readouterr().out


def test_speakers_with_too_few_of_their_kind_meet_those_who_share_less():
    test = voices(male=9, female=4, language=["fr", "fr", "fr", "fr", "fr", "fr", "fr", "fr", "de", "fr"])
    conditions = folder_trials.Conditions(test.values())
    assert conditions.depth == {speaker: 1 if speaker == "m8" else 2 for speaker in conditions.values}
    pairs = nontargets(test, conditions.allow)
    assert {a[0] + b[0] for a, b in pairs} == {"mm", "ff"} and any("m8" in pair for pair in pairs)


@pytest.mark.parametrize(
    "columns",
    [{}, {"session": ["a"]}, {"name": [f"n{k}" for k in range(16)]}],
    ids=["nothing", "a session", "a value for each speaker"],
)
def test_columns_that_tell_nothing_change_nothing(columns):
    """Also a column that differs within a speaker; a gender of which nothing is known."""
    test = voices(male=8, female=8, **columns)
    for number, utt in enumerate(test.values()):
        utt.gender, utt.info["phone"] = "", str(number % 2)
    conditions = folder_trials.Conditions(test.values())
    assert not conditions.columns
    assert nontargets(test, conditions.allow) == nontargets(test, operator.ne)


def test_a_table_of_speakers_makes_trials_of_a_tree_harder_and_says_so(tmp_path, capsys):
    root, data, known = tmp_path / "own", tmp_path / "data", tmp_path / "speakers.tsv"
    for speaker, take in itertools.product(range(20), range(2)):
        wav(root / f"s{speaker}" / f"{take}.wav", 2 * speaker + take)
    gender = {f"s{speaker}": "male" if speaker < 10 else "female" for speaker in range(20)}
    table(
        known,
        [{"speaker": s, "gender": g, "accent": "x"} for s, g in gender.items()]
        + [{"speaker": "gone", "gender": "", "accent": ""}],
    )
    options = ("--root", root, "--eval-fraction=0.8", "--speaker-table", known)
    assert prepare(data, *options) == 0
    said = capsys.readouterr().out
    assert "1 speakers of the table have no recording: gone" in said
    lines = [line for line in trial_lines(data, "trials") if line[2] == "nontarget"]
    same = [gender[a.split("-")[0]] == gender[b.split("-")[0]] for a, b, _ in lines]
    told = json.loads((data / "prep.json").read_text())
    assert all(same) and told["trials/trials"]["nontarget of one gender"] == len(lines)  # one accent tells nothing
    assert f"{len(lines)} of {len(lines)} nontargets are of one gender" in told["drawn"] and told["drawn"] in said
    assert all(row == {"accent": "x"} for row in check_data_dir(data / "test", 32, 16).info.values())
    assert prepare(data, *options, "--same-condition=false") == 1
    refused(capsys, "--force")
    assert prepare(data, *options, "--same-condition=false", "--force") == 0
    assert (
        "of any two speakers, as --same-condition=false says" in json.loads((data / "prep.json").read_text())["drawn"]
    )
    table(known, [{"speaker": "other", "gender": "m"}])
    assert prepare(tmp_path / "wrong", *options) == 1
    refused(capsys, "speakers.tsv", "none of the speakers")


def test_what_lies_beside_in_a_directory_given_as_data_stays_and_is_said(tree, tmp_path, capsys):
    data = tmp_path / "my"
    (data / "wav").mkdir(parents=True)
    (data / "notes.txt").write_text("mine")
    tree = tree.rename(data / "corpus")  # as the toy's: what is read is no stranger
    assert prepare(data, "--root", tree) == 0
    told = f"{data}: 2 files or folders that no run made stay as they are: notes.txt, wav"
    assert told in capsys.readouterr().out.splitlines()
    assert (data / "notes.txt").read_text() == "mine" and (data / "wav").is_dir()
    assert prepare(data, "--root", tree) == 0 and "no run made" not in capsys.readouterr().out


@pytest.mark.parametrize("case", ["a list of its name", "the recordings", "a list below", "a folder of its name"])
def test_no_run_writes_into_a_directory_of_the_users(tree, tmp_path, capsys, case):
    data = tmp_path / "my"
    data.mkdir()
    listed = data / "trials"
    if case == "the recordings":
        data = tree
    elif case == "a list below":  # of a run: its own lists are there, and one that the user put beside them
        assert prepare(data, "--root", tree) == 0
        listed = listed / "mine"
    elif case == "a folder of its name":
        listed = data / "conf/mfcc.conf"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text("spk0-s0-0 spk0-s1-0 target\nspk0-s0-0 spk1-s0-0 nontarget\n")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    lists = ["--trials", listed] if "list" in case else []
    capsys.readouterr()
    assert prepare(data, "--root", tree, *lists, "--force=true") == 1
    refused(capsys, "--data: ", "a directory with files that no run made", "Name another; nothing was changed")
    after = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("toy", [prep_toy, prep_toy_sre12])
def test_a_forgotten_corpus_puts_no_toy_in_the_place_of_own_data(tree, tmp_path, capsys, toy):
    data = tmp_path / "d"
    assert prepare(data, "--root", tree) == 0
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    assert toy.main([f"--data={data}", "--force=true"]) == 1
    refused(
        capsys, f"--data: found data of prep_folder {tree} in {data}", "Give the --corpus that it is of", "expected"
    )
    assert before == {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("toy", [prep_toy, prep_toy_sre12])
def test_a_forgotten_corpus_writes_no_toy_into_somebodys_recordings(tree, tmp_path, capsys, toy):
    before = sorted(tree.rglob("*"))
    assert toy.main([f"--data={tmp_path}/d", f"--root={tree}", "--force=true"]) == 1
    refused(
        capsys,
        f"--root {tree}: found a directory with files that are no toy's",
        "Your own recordings are --corpus folder",
    )
    assert sorted(tree.rglob("*")) == before


@pytest.mark.parametrize("lost", ["trials", "train", "enroll/cuts.jsonl.gz", "prep.json"])
def test_what_is_gone_of_a_preparation_is_made_again(tree, tmp_path, capsys, lost):
    data = tmp_path / "d"
    assert prepare(data, "--root", tree) == 0
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    if lost == "prep.json":
        (data / lost).write_text("")
    else:
        shutil.rmtree(data / lost) if (data / lost).is_dir() else (data / lost).unlink()
    capsys.readouterr()
    assert prepare(data, "--root", tree) == 0
    assert f"prep.json: made again, since {lost}" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    assert prepare(data, "--root", tree) == 0 and "made again" not in capsys.readouterr().out

"""The training corpora of SRE12: from each release's own tables to sides and speakers, counted; defects and their
messages."""

import pytest
from prep_trees import put, sph
from training_made import CORPORA, eight

from local import sre12_corpora, training
from local.common import Utterance
from pyasp.core.errors import InputError


@pytest.mark.parametrize("name", CORPORA)
def test_each_release_gives_its_sides_and_speakers(tmp_path, name):
    make, read, sides, missing, left_out = CORPORA[name]
    make(tmp_path, name)
    corpus = read(name, str(tmp_path))
    found = {
        (path.rsplit("/", 1)[1].removesuffix(".sph"), channel): utt.speaker
        for (path, channel), utt in corpus.sides.items()
    }
    assert found == sides and len(corpus.missing) == missing and corpus.left_out == left_out
    assert {utt.gender for utt in corpus.sides.values()} <= {"m", "f"}
    assert all(utt.channel == channel for (_, channel), utt in corpus.sides.items())


KINDS = {  # corpus: (counts without its microphone recordings, and with them)
    "sre08": (
        {
            "sides": 4,
            "missing": 0,
            "telephone": 3,
            "not told whether telephone or microphone": 1,
            "microphone recordings left out": 4,
        },
        {"sides": 7, "missing": 1, "telephone": 3, "microphone": 3, "not told whether telephone or microphone": 1},
    ),
    "sre10": (
        {
            "sides": 2,
            "missing": 0,
            "telephone": 2,
            "microphone recordings left out": 4,
            "models without a speaker in the key": 1,
        },
        {"sides": 6, "missing": 0, "telephone": 2, "microphone": 4, "models without a speaker in the key": 1},
    ),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("keep", [False, True], ids=["telephone alone", "both"])
def test_microphone_recordings_are_told_by_directories_and_conditions(tmp_path, name, keep):
    CORPORA[name][0](tmp_path / "mic", name)  # the directory above the corpus says nothing
    assert CORPORA[name][1](name, str(tmp_path / "mic"), keep).counts() == KINDS[name][keep]


def test_a_key_that_contradicts_itself_tells_nothing():
    by_telephone, by_microphone = ["1", "seg", "a", "target", *"NNNNNYNN"], ["2", "seg", "a", "target", *"NYNNNNNN"]
    models, tests = training.kinds_of([by_telephone, by_microphone], sre12_corpora.SRE08)
    assert models == {"1": training.TELEPHONE, "2": training.MICROPHONE} and not tests


def test_releases_may_be_linked_into_one_directory(tmp_path):
    eight(tmp_path / "discs", "sre08")
    (tmp_path / "sre08").mkdir()
    for release in ("LDC2011S05", "LDC2011S08"):
        (tmp_path / "sre08" / release).symlink_to(tmp_path / "discs" / release)
    assert sre12_corpora.read_evaluation("sre08", str(tmp_path / "sre08")).counts() == KINDS["sre08"][False]


LABELS = {
    "sre04": "1001",
    "sre08": "1001",
    "mixer6": "1001",
    "swbd2p1": "sw_301",
    "swbcell2": "sw_301",
    "fisher1": "fe_2001m",
}


def corpora(tmp_path, *names):
    for name in names:
        CORPORA[name][0](tmp_path / name, name)
    return [CORPORA[name][1](name, str(tmp_path / name)) for name in names]


def test_pins_are_merged_across_mixer_and_prefixed_elsewhere(tmp_path):
    utterances, counts = training.label(corpora(tmp_path, *LABELS), merge=True)
    speakers = {(utt.info["corpus"], utt.speaker) for utt in utterances}
    assert {(name, speaker) for name, speaker in LABELS.items()} <= speakers
    # sre04 1001 1002, sre08 1001 1008, mixer6 1001 1020, swbd2p1 and swbcell2 301 to 303, fisher1 2001m 2001f 2002f
    assert counts == {"speakers before merging": 15, "speakers after": 10, "PINs of two genders kept apart": 0}
    assert all(utt.id.startswith(f"{utt.speaker}-{utt.info['corpus']}-") for utt in utterances)
    assert len({utt.id for utt in utterances}) == len(utterances)


def test_merging_can_be_switched_off(tmp_path):
    utterances, counts = training.label(corpora(tmp_path, *LABELS), merge=False)
    assert {"sre04_1001", "sre08_1001", "mixer6_1001", "sw_301", "fe_2001m"} <= {utt.speaker for utt in utterances}
    assert counts["speakers after"] == 12  # Switchboard's PINs are one person in all its parts


def test_a_pin_of_two_genders_is_two_people(tmp_path):
    one, two = corpora(tmp_path, "sre04", "sre08")
    for utt in two.sides.values():
        utt.gender = "f"
    utterances, counts = training.label([one, two], merge=True)
    assert counts["PINs of two genders kept apart"] == 1
    assert {"sre04_1001", "sre08_1001", "1002", "1008"} == {utt.speaker for utt in utterances}


def change(path, old, new):
    path.write_text(path.read_text().replace(old, new))


DEFECTS = {  # what is wrong: (corpus, damage, message)
    "no list of speakers": (
        "sre04",
        lambda root: (root / "speaker_list").unlink(),
        "speaker_list.tgz there, or give --speaker-list",
    ),
    "a list of other years": (
        "sre05",
        lambda root: change(root / "speaker_list", "sre2005", "sre2011"),
        "no line; expected m or f",
    ),
    "a channel c": (
        "sre06",
        lambda root: change(root / "speaker_list", "taaa B", "taaa C"),
        "line 2: found channel 'C'",
    ),
    "two speakers of one side": (
        "sre04",
        lambda root: change(root / "speaker_list", "1002 f sre2004 taaa B", "1002 f sre2004 taaa A"),
        "speaker 1002 in taaa, side a; expected 1001",
    ),
    "no keys": (
        "sre08",
        lambda root: next(root.rglob("*model.key")).unlink(),
        "no NIST_SRE08_short2.model.key below it",
    ),
    "other columns": (
        "swbd2p1",
        lambda root: change(root / "docs/callstat.tbl", ",M,F", ",7,8"),
        "genders unknown (first: '7')",
    ),
    "too few columns": ("fisher1", lambda root: put(next(root.rglob("*calldata.tbl")), "00001,d,t"), "3 fields"),
    "no second table": (
        "swbd2p2",
        lambda root: (root / "DISC1/doc/callinfo.tbl").unlink(),
        "the table with two lines a call",
    ),
    "one line a call": (
        "swbd2p2",
        lambda root: put(root / "DISC1/doc/callinfo.tbl", "sw_10001", "sw_10002"),
        "2 lines for 2 calls",
    ),
    "calls of other names": (
        "mixer6",
        lambda root: [path.rename(path.with_name(f"c{n}.sph")) for n, path in enumerate(sorted(root.rglob("*.sph")))],
        "no recording <date>_<time>_<call>",
    ),
    "no table": ("swbcell1", lambda root: (root / "docs/swb_callstats.tbl").unlink(), "no swb_callstats.tbl below it"),
}


@pytest.mark.parametrize("case", DEFECTS)
def test_defects_are_named(tmp_path, case):
    name, damage, message = DEFECTS[case]
    CORPORA[name][0](tmp_path, name)
    damage(tmp_path)
    with pytest.raises(InputError) as error:
        CORPORA[name][1](name, str(tmp_path))
    assert message in str(error.value)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        sre12_corpora.read_mixer6("mixer6", str(tmp_path / "none"))


def test_genders_may_be_unknown_now_and_then(tmp_path):
    training.check_genders(tmp_path, ["m"] * 19 + ["?"])
    with pytest.raises(InputError, match="2 of 20 genders unknown"):
        training.check_genders(tmp_path, ["m"] * 18 + ["?"] * 2)


def test_a_side_told_twice_is_one_utterance(tmp_path):
    sph(tmp_path / "a.sph")
    corpus = training.Corpus("x")
    for _ in range(2):
        corpus.add("7", "M", "a", 1, training.AudioFiles([str(tmp_path)]), "table")
    assert list(corpus.sides.values()) == [Utterance("x-a-b", "7", str(tmp_path / "a.sph"), "m", 1)]

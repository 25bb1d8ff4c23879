"""The toy SRE12: names, sides, conditions and durations of the real corpus, and the way through its preparation."""

import collections
from pathlib import Path

import numpy as np
import pytest
import soundfile
from prep_trees import check_data_dir, trial_lines

from local import make_toy, prep_toy_sre12, toy_sre_tree
from local.make_toy import SIZES
from local.prep_sre12 import duration_class
from local.toy_sre_tree import Call, SreSize

FULL = SIZES["toy_sre12"]["full"]
SMALL = SreSize(speakers=2, sessions=2, eval_speakers=4, utterances=2, unknowns=2, calls=(6, 1, 1), seconds=(1.5, 2.0))
SHORT = (3, 4, 5)  # seconds instead of 30, 100, 300


def test_test_calls_last_as_long_as_their_classes(tmp_path):
    calls = toy_sre_tree._tests(tmp_path, FULL, 1)
    assert collections.Counter(duration_class(call.seconds) for call in calls) == dict(
        zip(("30", "100", "300"), FULL.calls)
    )
    assert len({call.path for call in calls}) == len(calls)
    assert all(call.path.endswith(f"/{call.name}_sre12.sph") and len(call.sides) == 2 for call in calls)
    first, last = calls[0].path.split("/")[-2].split("-")
    assert all(first <= call.name <= last for call in calls)


def key_of(size, seed):
    """Rows of the key of a size."""
    calls = toy_sre_tree._tests(Path("/x"), size, seed)
    return [
        line.split(",") for line in toy_sre_tree.key_lines(calls, toy_sre_tree._people(110001, size.eval_speakers))[1:]
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("condition", range(5))
def test_every_condition_has_both_classes_at_full_size(seed, condition):
    types = collections.Counter(row[3] for row in key_of(FULL, seed) if row[5 + condition] == "Y")
    assert types["target"] and types["known_nontarget"]
    if condition == 1:
        assert types["target"] >= 30 and types["unknown_nontarget"] >= 20


def test_trials_stay_within_a_sex_and_name_each_side_once_a_target():
    rows = key_of(FULL, 1)
    assert len({(row[0], row[1], row[2]) for row in rows}) == len(rows) and {row[2] for row in rows} == {"a", "b"}
    sexes = collections.defaultdict(set)
    for row in rows:
        sexes[row[1], row[2]].add(int(row[0]) % 2)
    assert all(len(found) == 1 for found in sexes.values())


def test_every_target_has_several_enrolment_recordings_and_a_summed_one(tmp_path):
    calls, sides = toy_sre_tree._enrolment(tmp_path, FULL, 1)
    for entries in sides.values():
        whole = [entry for entry in entries if "summed" not in entry]
        assert len(whole) == FULL.utterances == len(set(whole)) and len(entries) == len(whole) + 1
    used = collections.Counter(entry for entries in sides.values() for entry in entries if "summed" not in entry)
    assert set(used.values()) == {1} and {entry[-1] for entry in used} == {"a", "b"}


def test_sides_take_turns_and_each_goes_its_own_way(tmp_path):
    people = (("110001", "m"), ("110002", "f"))
    call = Call(str(tmp_path / "x_sre12.sph"), "x", 1, people, 24.0)
    assert toy_sre_tree.synthesise(call) == 24.0
    samples, rate = soundfile.read(call.path, dtype="int16")
    assert rate == 8000 and samples.shape == (192000, 2) and soundfile.info(call.path).subtype == "ULAW"
    levels = np.log(np.mean(np.square(samples.astype(float)).reshape(-1, 4000, 2), axis=1) + 1)  # half seconds
    assert np.corrcoef(levels.T)[0, 1] < -0.5  # one speaks while the other is silent
    assert not np.array_equal(samples[:, 0], samples[:, 1])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The toy SRE12 at a very small size, prepared."""
    patch = pytest.MonkeyPatch()
    patch.setitem(make_toy.SIZES["toy_sre12"], "tiny", SMALL)
    patch.setattr(toy_sre_tree, "CLASSES", SHORT)
    data = tmp_path_factory.mktemp("toy_sre12")
    assert prep_toy_sre12.main(["--data", str(data), "--size=tiny", "--nj=1"]) == 0
    patch.undo()
    return data


def test_the_trees_are_those_of_sre12_and_of_the_cts_superset(prepared):
    root = prepared / "corpus"
    assert (
        len(list((root / "cts/data").glob("*.sph"))) == 4 and (root / "cts/docs/cts_superset_segment_key.tsv").is_file()
    )
    assert sorted(path.name for path in (root / "sre12/docs").iterdir()) == [
        "NIST_SRE12_core_trial_key.v1.csv",
        "NIST_SRE12_target_speaker_tables_v2.1",
        "NIST_SRE12_target_speaker_tables_v3",
    ]
    with open(next((root / "sre12/data/tel_phn").rglob("*_sre12.sph")), "rb") as stream:
        assert stream.read(8) == b"NIST_1A\n"


def test_the_real_preparation_takes_it(prepared):
    check_data_dir(prepared / "train", 4, 2)
    enroll = check_data_dir(prepared / "enroll", 8, 4)
    assert {len(utts) for utts in enroll.model2utts.values()} == {2}
    test = check_data_dir(prepared / "test", 16, 16)
    assert {utt[-1] for utt in test.utt2spk} == {"a", "b"}
    assert {label for *_, label in trial_lines(prepared, "cc2")} == {"target", "nontarget"}
    assert len((prepared / "trials/cc2.tsv").read_text().splitlines()) == len(trial_lines(prepared, "cc2")) + 1
    assert prep_toy_sre12.main(["--data", str(prepared), "--size=tiny", "--sre04=x"]) == 1

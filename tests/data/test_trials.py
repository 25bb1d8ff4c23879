"""Trial lists: integer arrays, and the refusal of every list that would give wrong error rates."""

import numpy as np
import pytest

from pyasp.bin import check
from pyasp.core.errors import InputError
from pyasp.core.records import describe, write_made
from pyasp.data import trials as trials_module
from pyasp.data.datadir import DataDir, read_model2utts
from pyasp.data.scores import read_scored
from pyasp.data.trials import count_duplicates, read_categories, read_trials, trial_lists

GOOD = "m1 a target\nm2 b nontarget\nm1 b nontarget\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_arrays(tmp_path):
    trials = read_trials(write(tmp_path / "t", GOOD), models=["m0", "m1", "m2"])
    assert trials.models == ["m0", "m1", "m2"] and trials.tests == ["a", "b"]
    assert trials.model.tolist() == [1, 2, 1] and trials.test.tolist() == [0, 1, 1]
    assert trials.target.tolist() == [True, False, False] and trials.target.dtype == bool
    assert trials.model.itemsize + trials.test.itemsize + trials.target.itemsize == 9


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "an empty trial list"),
        ("m1 a target\nm1 b target\n", "every one of them target"),
        ("m1 a nontarget\n", "every one of them nontarget"),
        ("m1 a target\nm1 b\n", "line 2: found 'm1 b'"),
        ("m1 a target\nm1 b nontarget x\n", "line 2"),
        ("m1 a target x\ny target\nm1 c nontarget\n", "line 1"),  # six words in two lines
        ("m1 a target\n\nm1 b nontarget\n", "line 2"),
        ("m1 a target\n m1\tb\tnontarget\r\nm1 c\u00a0d nontarget e\n", "line 3"),
        ("m1 a target\nm1 b imposter\n", "line 2: found 'imposter'; expected target or nontarget"),
        ("m1 a target\nm1 a nontarget\n", "1 pairs listed as target and as nontarget"),
    ],
)
def test_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_trials(write(tmp_path / "t", text))


def test_spaces_line_ends_and_a_last_line_without_one(tmp_path):
    trials = read_trials(write(tmp_path / "t", "m1\ta  target\r\n  m1 \u00e9\u00a0x nontarget"))
    assert trials.tests == ["a", "\u00e9\u00a0x"] and trials.target.tolist() == [True, False]


def test_ids_that_are_not_utf8(tmp_path):
    (tmp_path / "t").write_bytes(b"m1 a target\nm1 \xff nontarget\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_trials(tmp_path / "t")


def test_unknown_ids_are_counted_and_named(tmp_path):
    path = write(tmp_path / "t", GOOD + "x1 a target\nx2 a target\nx1 z target\n")
    with pytest.raises(InputError, match=r"2 unknown models \(first: x1, x2\)"):
        read_trials(path, models=["m1", "m2"])
    with pytest.raises(InputError, match=r"1 unknown test recordings \(first: z\)"):
        read_trials(path, tests=["a", "b"])


def test_line_numbers_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(trials_module, "BLOCK_BYTES", 64)
    lines = [f"m{i} t{i} {'target' if i % 2 else 'nontarget'}" for i in range(200)]
    assert read_trials(write(tmp_path / "t", "\n".join(lines) + "\n")).model.tolist() == list(range(200))
    lines[150] = "m t tar"
    with pytest.raises(InputError, match="line 151: found 'tar'"):
        read_trials(write(tmp_path / "t", "\n".join(lines) + "\n"))


@pytest.mark.parametrize("at_once", [10_000_000, 7])
def test_duplicates_are_counted(tmp_path, monkeypatch, capsys, at_once):
    monkeypatch.setattr(trials_module, "SORTED_AT_ONCE", at_once)
    generator = np.random.default_rng(0)
    pairs = [(f"m{i}", f"t{j}") for i, j in generator.integers(0, 9, (60, 2))]
    label = {pair: ("target", "nontarget")[number % 2] for number, pair in enumerate(sorted(set(pairs)))}
    trials = read_trials(write(tmp_path / "t", "".join(f"{m} {t} {label[m, t]}\n" for m, t in pairs)))
    assert count_duplicates(trials) == (60 - len(set(pairs)), 0)
    assert f"{60 - len(set(pairs))} of 60 trials are listed more than once" in capsys.readouterr().out


def test_scored_list(tmp_path):
    listed = write(tmp_path / "t", GOOD)
    scores, trials = read_scored(listed, write(tmp_path / "s", "m1 a 1.5\nm2 b -2e-3\nm1 b 0\n"))
    assert scores.tolist() == [1.5, -0.002, 0.0] and trials.target.tolist() == [True, False, False]
    assert trials.models == ["m1", "m2"] and trials.model.tolist() == [0, 1, 0] and trials.test.tolist() == [0, 1, 1]


def test_scores_that_end_with_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(trials_module, "BLOCK_BYTES", 1)
    with pytest.raises(InputError, match="line 2: found 'the end of the file'"):
        read_scored(write(tmp_path / "t", GOOD), write(tmp_path / "s", "m1 a 1\n"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("m1 a 1\nm1 b 0\nm2 b 0\n", "line 2: found 'm1 b'; expected 'm2 b' as in the trial list"),
        ("m1 a 1\nm2 b 0\n", "line 3: found 'the end of the file'"),
        ("m1 a 1\nm2 b 0\nm1 b 2\nm1 c 3\n", "more than 3 lines"),
        ("m1 a 1\nm2 b high\nm1 b 2\n", "line 2: found 'high'; expected a number"),
        ("m1 a 1\nm2 b\nm1 b 2\n", "line 2"),
    ],
)
def test_scores_that_do_not_belong_to_the_list(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_scored(write(tmp_path / "t", GOOD), write(tmp_path / "s", text))
    write_made(tmp_path / "s", describe("score", {}, []))  # a run's own
    with pytest.raises(InputError) as caught:
        read_scored(tmp_path / "t", tmp_path / "s")
    assert text.startswith("m1 a 1\nm2 b\n") or f"Delete {tmp_path}/s: where it is gone" in str(caught.value)


def test_categories(tmp_path):
    rows = "".join(f"{'known' if i % 3 else 'unknown'}\t{i}\t{(30, 100, 300)[i % 3]}\n" for i in range(60))
    found = read_categories(write(tmp_path / "t.tsv", "known\tserial\tduration_class\n" + rows), 60)
    assert sorted(found) == ["duration_class", "known"]  # 60 serial numbers are no category
    names, codes = found["known"]
    assert names == ["known", "unknown"] and codes.tolist() == [0 if i % 3 else 1 for i in range(60)]


@pytest.mark.parametrize(
    "text, message", [("a\tb\n1\t2\n", "1 lines after the header"), ("a\tb\n1\t2\n3\n", "line 3: found 1 fields")]
)
def test_categories_out_of_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_categories(write(tmp_path / "t.tsv", text), 2)


def test_lists_of_a_directory(tmp_path):
    for name in ("cc2", "cc1", "cc1.tsv", "cc1.made.json", ".cc3.tmp"):
        write(tmp_path / name, "")
    assert trial_lists(tmp_path) == ["cc1", "cc2"]


@pytest.mark.parametrize("text", ["m1\n", "m1 a\nm1 b\n", "\n"])
def test_bad_model2utts(tmp_path, text):
    with pytest.raises(InputError, match="each model once"):
        read_model2utts(write(tmp_path / "m", text))


def test_model2utts(tmp_path):
    assert read_model2utts(write(tmp_path / "m", "m1 a b\nm2 b\n")) == {"m1": ["a", "b"], "m2": ["b"]}


@pytest.mark.parametrize(
    "targets, told", [(12, "12 target trials are few: an EER of 10 % would be 1 misses"), (300, "")]
)
def test_a_list_with_few_targets_is_named_before_anything_is_trained(tmp_path, capsys, targets, told):
    for name in ("enroll", "test"):
        directory = DataDir(tmp_path / name)
        directory.path.mkdir()
        directory.write_speakers({f"a-{k}": "a" for k in range(targets)} | {"b-0": "b"})
    (tmp_path / "enroll" / "model2utts").write_text("m a-0\n")
    (tmp_path / "trials").mkdir()
    lines = [f"m a-{k} target\n" for k in range(targets)] + ["m b-0 nontarget\n"]
    (tmp_path / "trials" / "all").write_text("".join(lines))
    check.check_trial_lists(tmp_path)
    said = capsys.readouterr().err
    assert f"{targets + 1} trials, {targets} of them target" in said
    assert (told in said) if told else ("warning" not in said)

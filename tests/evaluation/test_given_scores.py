"""Score files of somebody else: every form of them gives the figures of our own, and what is wrong is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyasp.backend.calibration import train
from pyasp.bin.evaluate import main
from pyasp.core.errors import InputError
from pyasp.data.scores import read_given
from pyasp.evaluation.llr import summarise

RNG = np.random.default_rng(1)
TARGET = np.arange(400) % 4 == 0
SCORES = np.round(np.where(TARGET, 2.0, -1.0) + RNG.standard_normal(400), 4)
PAIRS = [(f"m{n % 20}", f"t{n}") for n in range(400)]
NAMES = {True: "target", False: "nontarget"}
LINES = {
    "ENROL TEST SCORE": "{0} {1} {2}",
    "SCORE ENROL TEST": "{2} {0} {1}",
    "SCORE LABEL": "{2} {3}",
    "LABEL SCORE": "{3} {2}",
    "ENROL TEST SCORE LABEL": "{0} {1} {2} {3}",
    "ENROL TEST LABEL SCORE": "{0} {1} {3} {2}",
    "LABEL ENROL TEST SCORE": "{3} {0} {1} {2}",
}


def write(path, form, order=range(400), names=NAMES):
    lines = (LINES[form].format(*PAIRS[n], SCORES[n], names[bool(TARGET[n])]) + "\n" for n in order)
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def trials(tmp_path):
    path = tmp_path / "trials"
    path.write_text("".join(f"{model} {test} {NAMES[bool(t)]}\n" for (model, test), t in zip(PAIRS, TARGET)))
    return str(path)


@pytest.mark.parametrize("form", LINES)
def test_every_form_gives_the_same_trials(tmp_path, trials, form):
    given = read_given(write(tmp_path / "s", form), None if "LABEL" in form else trials)
    assert np.array_equal(given.scores, SCORES) and np.array_equal(given.target, TARGET)
    assert f"read as {form.lower()}" in given.notes[0]


def test_any_order_scores_to_spare_and_voxceleb_s_lists(tmp_path):
    order = RNG.permutation(400)
    scores = write(tmp_path / "s", "ENROL TEST SCORE", order)
    listed = tmp_path / "veri_test.txt"
    listed.write_text("".join(f"{int(TARGET[n])} {PAIRS[n][0]} {PAIRS[n][1]}\n" for n in range(390)))
    given = read_given(scores, listed)
    assert np.array_equal(given.scores, SCORES[:390]) and np.array_equal(given.target, TARGET[:390])
    assert given.notes[1:] == [f"{listed}: read as label enrol test", "10 of 400 scores belong to no trial"]


@pytest.mark.parametrize("form", [form for form in LINES if "ENROL" in form])
def test_ids_may_be_numbers(tmp_path, form):
    """The pairs of the list decide, or that scores are not labels throughout."""
    models = 20 if form == "ENROL TEST LABEL SCORE" else 2  # where ids of 0 and 1 alone could be labels
    pairs, labels = [(n % models, n) for n in range(400)], {True: 1, False: 0}
    lines = [LINES[form].format(*pairs[n], SCORES[n], labels[bool(TARGET[n])]) for n in range(400)]
    (tmp_path / "s").write_text("".join(f"{line}\n" for line in lines))
    listed = tmp_path / "list"
    listed.write_text("".join(f"{m} {t} {labels[bool(target)]}\n" for (m, t), target in zip(pairs, TARGET)))
    given = read_given(tmp_path / "s", None if "LABEL" in form else listed)
    assert np.array_equal(given.scores, SCORES) and np.array_equal(given.target, TARGET)
    if "LABEL" not in form:
        (tmp_path / "s").write_text("".join(f"{line}\n" for line in lines[1:]))
        with pytest.raises(InputError, match=r"no score of 1 of 400 trials .first: 0 0"):
            read_given(tmp_path / "s", listed)


def test_labels_or_scores_turned_about_are_said(tmp_path, capsys):
    names = {True: "nontarget", False: "target"}
    assert main([write(tmp_path / "turned", "SCORE LABEL", names=names)]) == 0
    assert "turned about?" in capsys.readouterr().out
    assert main([write(tmp_path / "right", "SCORE LABEL")]) == 0
    assert "turned about?" not in capsys.readouterr().out


def test_the_figures_are_those_of_the_metrics(tmp_path, trials, capsys):
    scores, out = write(tmp_path / "s", "ENROL TEST SCORE"), tmp_path / "c.json"
    assert main(["--det", str(tmp_path / "d.png"), "--calibration", str(out), trials, scores]) == 0
    told, entry = capsys.readouterr().out, summarise(SCORES, TARGET)[0]
    assert "100 target and 300 nontarget trials: EER " in told and f"{entry['eer']:.2f}" in told
    assert f"minDCF(0.01) {entry['min_dcf']['0.01']:.3f}" in told
    assert f"Cllr {entry['calibration']['cllr']:.3f} (least {entry['calibration']['min_cllr']:.3f})" in told
    model, facts = train(SCORES[:, None], TARGET, ("s",)), json.loads(out.read_text())
    assert facts["scale"] == pytest.approx(model.weights[0]) and facts["offset"] == pytest.approx(model.offset)
    assert (facts["n_target"], facts["n_nontarget"]) == (100, 300)
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    labelled = write(tmp_path / "kaldi", "SCORE LABEL")
    assert main([labelled]) == 0 and f"EER {entry['eer']:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, with_trials, message",
    [
        ("m0 t0 1.5\n", True, r"no score of 399 of 400 trials \(first: m1 t1\)"),
        ("m0 t0 1.5\nm0 t0 2.5\n", True, "line 2: found a second score of m0 t0: 1.5 and 2.5"),
        ("m0 t0 x\n", True, "line 1: found 'm0 t0 x'; expected SCORE LABEL or LABEL SCORE or ENROL TEST SCORE"),
        ("m0 t0 nan\n", True, "line 1: found 'm0 t0 nan'.* A score is a finite number: score again what gave nan"),
        ("t0 m0 1.5\n", True, r"400 of 400 trials \(first: m0 t0\); 1 of them have one with enrolment and test turned"),
        ("m0 t0 1.5\nm0 t1\n", True, "line 2: found 'm0 t1'"),
        ("m0 t0 1.5\n1.5 m0 t0\n", True, "lines of several forms"),
        ("", True, "no line"),
        ("m0,t0,1.5\n", True, "line 1: found 'm0,t0,1.5'; .* Put blanks in place of the commas"),
        ("m0 t0 1.5\n", False, "no labels .*Give the trial list before it"),
        ("1.5 target\n", True, "labels in both files"),
        ("1.5 target\n", False, "every one of them target"),
        ("1 0\n0 1\n", False, "lines that fit SCORE LABEL and LABEL SCORE"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, trials, text, with_trials, message):
    (tmp_path / "s").write_text(text)
    with pytest.raises(InputError, match=message):
        read_given(tmp_path / "s", trials if with_trials else None)


def test_no_output_takes_the_place_of_an_input(tmp_path, trials, capsys):
    """As when the value of an option was forgotten."""
    scores = write(tmp_path / "s.json", "ENROL TEST SCORE")
    kept = Path(scores).read_bytes()
    for words, told in (
        (["--det", trials, scores], "expected a name ending in .png"),
        (["--calibration", scores, trials, scores], "an input as the output, too"),
        (["--calibration", trials, scores], "expected a name ending in .json"),
    ):
        assert main(words) == 1 and told in capsys.readouterr().err
    assert Path(scores).read_bytes() == kept and Path(trials).read_text().startswith("m0 ")


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_a_calibration_follows_the_scale_of_the_scores(tmp_path, trials, capsys, scale):
    lines = [
        f"{score * scale!r} {'target' if target else 'nontarget'}\n"
        for score, target in zip(map(float, SCORES), TARGET)
    ]
    (tmp_path / "s").write_text("".join(lines))
    assert main([str(tmp_path / "s")]) == 0
    expected = train(SCORES[:, None], TARGET, ("s",)).weights[0] / scale
    assert f"llr = {expected:.4g}"[:10] in capsys.readouterr().out


def test_trials_listed_twice_are_counted_and_two_labels_of_a_pair_refused(tmp_path, trials):
    listed, scores = Path(trials), write(tmp_path / "s", "ENROL TEST SCORE")
    first = listed.read_text().splitlines()[0]
    listed.write_text(f"{listed.read_text()}{first}\n")
    assert f"{listed}: 1 trials are listed again, and count twice" in read_given(scores, listed).notes
    model, test, label = first.split()
    listed.write_text(f"{listed.read_text()}{model} {test} {'nontarget' if label == 'target' else 'target'}\n")
    with pytest.raises(InputError, match=f"line 402: found {model} {test} as .* and as .*expected one label a pair"):
        read_given(scores, listed)


def test_columns_turned_about_are_told_as_such(tmp_path, trials):
    lines = [line.split() for line in Path(trials).read_text().splitlines()]
    (tmp_path / "s").write_text("".join(f"{test} {enrol} 0.5\n" for enrol, test, _ in lines))
    with pytest.raises(InputError, match="400 of them have one .* turned about.* Turn the two columns of one of"):
        read_given(tmp_path / "s", trials)


def test_mistakes_of_the_command(tmp_path, trials, capsys):
    assert main([str(tmp_path)]) == 1 and "TRIALS_DIR SYSTEM_DIR without" in capsys.readouterr().err
    assert (
        main([str(tmp_path / "gone"), write(tmp_path / "s", "ENROL TEST SCORE")]) == 1
        and "gone: found no such file" in capsys.readouterr().err
    )
    assert main([trials, str(tmp_path / "gone")]) == 1 and "gone" in capsys.readouterr().err

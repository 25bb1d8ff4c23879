"""Readers of SRE12's tables: trial types, duration classes, the key as a stream, the CTS superset's key."""

import math
import os
import tracemalloc

import pytest
from prep_trees import put, sph

from local import sre12_tables, training
from local.prep_sre12 import duration_class
from local.sre12_corpora import read_cts
from pyasp.core.errors import InputError


@pytest.mark.parametrize("seconds", [1.0, 30.0, 54.7, 54.9, 100.0, 173.1, 173.3, 300.0, 2000.0])
def test_duration_classes_are_nearest_in_log_duration(seconds):
    nearest = min((30, 100, 300), key=lambda name: abs(math.log(seconds / name)))
    assert duration_class(seconds) == str(nearest)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("target", (True, "known")),
        ("known_target", (True, "known")),
        ("nontarget", (False, "known")),
        ("known_nontarget", (False, "known")),
        ("Unknown non-target", (False, "unknown")),
        ("unknown_nontarget", (False, "unknown")),
    ],
)
def test_trial_types(text, wanted):
    assert sre12_tables.trial_type(text, "here") == wanted


@pytest.mark.parametrize("text", ["", "maybe", "unknown_target", "nontargets", "targetx"])
def test_a_trial_type_that_fits_neither_is_an_error(text):
    with pytest.raises(InputError, match="here: found trial type"):
        sre12_tables.trial_type(text, "here")


def test_the_key_is_streamed(tmp_path):
    lines = 50_000
    with open(tmp_path / "key.csv", "w", encoding="utf-8") as stream:
        stream.write("header\n")
        stream.writelines(
            f"{4000 + n % 50},t{n % 90:05d}_sre12.sph,a,known_nontarget,x,N,Y,N,N,N\n" for n in range(lines)
        )
    tracemalloc.start()
    trials = sre12_tables.read_key(tmp_path / "key.csv", lambda test: test.conditions)
    assert sum(conditions == (1,) for _, conditions in trials) == lines
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4e6  # bytes; the file has six times as many


CTS_KEY = "docs/cts_superset_segment_key.tsv"


@pytest.fixture
def cts(tmp_path):
    """A CTS superset of two segments; its header's words are not the known ones."""
    for speaker, n in ((7001, 3), (7002, 4)):
        sph(tmp_path / f"data/{speaker}_{n}.sph", channels=1)
    rows = [f"f\t{speaker}_{n}\ts\t{speaker}\tx\ty\tz\tmx{n}" for speaker, n in ((7001, 3), (7002, 4))]
    put(tmp_path / CTS_KEY, "c0\tc1\tc2\tc3\tc4\tc5\tc6\tc7", *rows)
    return tmp_path


def test_columns_of_the_cts_key_go_by_name_else_by_position(cts):
    by_position = {utt.id: (utt.speaker, utt.gender, utt.info["corpus"]) for utt in read_cts(str(cts))}
    assert by_position["7002_4"] == ("7002", "", "mx4")
    put(cts / CTS_KEY, "gender\tcorpusid\tsegmentid\tspeakerid", "female\tmx4\t7002_4.sph\t7002")
    assert [(utt.id, utt.gender, utt.info["corpus"]) for utt in read_cts(str(cts))] == [("7002_4", "f", "mx4")]


@pytest.mark.parametrize(
    "lines, message",
    [
        (["a\tb\tc"], "3 columns"),
        (["c0\tc1\tc2\tc3\tc4\tc5\tc6\tc7", "one\ttwo"], "line 2: found 2 fields"),
        (
            ["c0\tc1\tc2\tc3\tc4\tc5\tc6\tc7", "x\tgone\tx\t7001\tx\tx\tx\tx"],
            "line 2: found segment gone without a file",
        ),
    ],
)
def test_a_cts_key_that_does_not_fit_is_refused(cts, lines, message):
    put(cts / CTS_KEY, *lines)
    with pytest.raises(InputError, match=message):
        read_cts(str(cts))


def test_discs_linked_in_circles_and_twice_give_each_recording_once(tmp_path):
    """Releases are often linked into one directory; tables are found there too."""
    (tmp_path / "disc/data").mkdir(parents=True)
    (tmp_path / "disc/docs").mkdir()
    (tmp_path / "disc/docs/callstat.tbl").write_text("x")
    for name in ("disc/data/taaa.sph", "disc/data/tbbb.wav"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "disc/all").symlink_to("..")
    root = tmp_path / "corpus"
    root.mkdir()
    for name in ("one", "two"):
        (root / name).symlink_to(tmp_path / "disc")
    (root / "here").symlink_to(".")
    found = sre12_tables.AudioFiles([str(root), str(tmp_path)])
    assert sorted(os.path.basename(path) for path in found.paths) == ["taaa.sph", "tbbb.wav"]
    assert training.find_table(str(root), "callstat.tbl").name == "callstat.tbl"
    with pytest.raises(InputError, match="no other.tbl below it"):
        training.find_table(str(root), "other.tbl")

"""Cuts are read forward, and told when they are missing or out of order."""

import gzip
import json

import pytest

from pyasp.audio.cut_files import CutStream
from pyasp.audio.cuts import duration_text
from pyasp.core.errors import InputError


def cuts_file(path, lines):
    with gzip.open(path, "wt") as stream:
        stream.writelines(line + "\n" for line in lines)
    return path


def test_cuts_are_read_forward_and_only_the_wanted_are_parsed(tmp_path):
    lines = [f'{{"id": "u{k:03d}", "n": {k}}}' if k % 2 else f'{{"id": "u{k:03d}", broken' for k in range(100)]
    stream = CutStream(cuts_file(tmp_path / "cuts.jsonl.gz", lines))
    assert [(utt, item["n"]) for utt, item in stream.take(["u001", "u007"])] == [("u001", 1), ("u007", 7)]
    assert [utt for utt, _ in stream.take(["u051", "u099"])] == ["u051", "u099"]


def test_cut_ids_with_escapes(tmp_path):
    ids = ['a"b', "a\\c", "b", "é"]
    stream = CutStream(cuts_file(tmp_path / "cuts.jsonl.gz", [json.dumps({"id": utt}) for utt in ids]))
    assert [utt for utt, _ in stream.take(ids)] == ids


@pytest.mark.parametrize(
    "ids, wanted, message",
    [
        ("ac", "b", "b: found no cut"),
        ("ab", "c", "c: found no cut"),
        ("ba", "ab", "found no cut"),
        ("bac", "bc", "C-locale order"),
        ("aab", "ab", "unique ids"),
    ],
)
def test_cuts_missing_or_out_of_order(tmp_path, ids, wanted, message):
    path = cuts_file(tmp_path / "cuts.jsonl.gz", [json.dumps({"id": utt}) for utt in ids])
    with pytest.raises(InputError, match=message):
        list(CutStream(path).take(wanted))


def test_durations_as_kaldi_prints_them():
    assert duration_text(43835, 16000.0) == "2.739687" and duration_text(16000, 16000) == "1"

"""Texts told apart, and columns laid out."""

import io

import pytest

from pyasp.inspect.description import aligned, line, show
from pyasp.inspect.kind import kind_of


@pytest.mark.parametrize(
    "line, kind",
    [
        ("u1 a.ark:12", "scp"),
        ("u1 a.ark:12[0:3]", "scp"),
        ("u1  [ 1 2 ]", "archive"),
        ("u1  [", "archive"),
        ("u1 [ 0 1 ] [ 3 0.5 4 0.5 ] ", "posteriors"),
        ("u1 0 3 ; 4 5 ; ", "gselect"),
        ("1.5 target", "labelled scores"),
        ("a b target", "trials"),
        ("a b -1e3", "scores"),
        ("u1 260 ", "table"),
        ("u1 s1", "table"),
        (" [ 1 2 ]", "array"),
        ("<Plda>  [ 1 ]", "model"),
        ("--a=b", "conf"),
        ('{"a": 1}', "json"),
    ],
)
def test_kinds_of_text(tmp_path, line, kind):
    (tmp_path / "file").write_text(line + "\n")
    assert kind_of(tmp_path / "file") == kind


def test_columns_align_and_a_terminal_gets_colour_and_its_width(monkeypatch):
    lines = [line("first NaN"), line("a", "1 NaN and 0 infinite"), line("longer", "x" * 100), line("", hidden=1)]
    assert list(aligned(lines))[1:] == ["a       1 NaN and 0 infinite", "longer  " + "x" * 100]
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    show(lines, stream)
    printed = stream.getvalue().splitlines()
    assert printed[0] == "\x1b[1mfirst NaN\x1b[0m" and "\x1b[31m1 NaN and 0 infinite" in printed[1]
    assert len(printed[2]) == 40 and printed[2].endswith("…")
    plain = io.StringIO()
    show(lines, plain)
    assert "\x1b" not in plain.getvalue() and "x" * 100 in plain.getvalue()

"""Posteriors, selections, integer vectors and numbers: written, read and written again; damage is told."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyasp.core.errors import InputError
from pyasp.kaldi import (
    read_gselect,
    read_int_vectors,
    read_posteriors,
    read_scalars,
    write_gselect,
    write_int_vectors,
    write_posteriors,
    write_scalars,
)

INDICES = st.lists(st.integers(0, 2047), max_size=4).map(lambda values: np.array(values, np.int32))
WEIGHTS = st.integers(0, 1000).map(lambda i: np.float32(i / 1000))
PAIRS = INDICES.flatmap(
    lambda g: st.tuples(st.just(g), st.lists(WEIGHTS, min_size=len(g), max_size=len(g)).map(np.float32))
)
KINDS = {
    "posteriors": (read_posteriors, write_posteriors, st.lists(PAIRS, max_size=4)),
    "gselect": (read_gselect, write_gselect, st.lists(INDICES, max_size=4)),
    "integers": (read_int_vectors, write_int_vectors, INDICES),
    "scalars": (read_scalars, write_scalars, st.integers(-999, 999).map(lambda i: float(np.float32(i / 7)))),
}
FRAMES = [
    (np.int32([3, 1]), np.float32([0.75, 0.25])),
    (np.int32([]), np.float32([])),
    (np.int32([7]), np.float32([1])),
]


def flat(value):
    """Any entry as nested lists."""
    return [flat(part) for part in value] if isinstance(value, (list, tuple)) else np.asarray(value).tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["bin", "txt", "bin.gz", "txt.gz"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_written_read_written(tmp_path_factory, kind, suffix, data):
    read, write, values = KINDS[kind]
    entries = [(f"utt-{i}", value) for i, value in enumerate(data.draw(st.lists(values, max_size=3)))]
    folder, binary = tmp_path_factory.mktemp("post"), suffix.startswith("bin")
    write(folder / f"a.{suffix}", entries, binary)
    got = list(read(folder / f"a.{suffix}"))
    assert [key for key, _ in got] == [key for key, _ in entries]
    for (_, result), (_, sent) in zip(got, entries):
        assert flat(result) == (pytest.approx(sent, rel=1e-6) if kind == "scalars" else flat(sent))
    write(folder / f"b.{suffix}", got, binary)
    assert (folder / f"a.{suffix}").read_bytes() == (folder / f"b.{suffix}").read_bytes()


def test_the_forms(tmp_path):
    write_posteriors(tmp_path / "p", [("k", FRAMES)], binary=False)
    assert (tmp_path / "p").read_bytes() == b"k [ 3 0.75 1 0.25 ] [ ] [ 7 1 ] \n"
    write_gselect(tmp_path / "g", [("k", [np.int32([3, 1]), np.int32([7])])], binary=False)
    assert (tmp_path / "g").read_bytes() == b"k 3 1 ; 7 ; \n"
    write_int_vectors(tmp_path / "i", [("k", np.int32([3, -1])), ("e", np.int32([]))], binary=False)
    assert (tmp_path / "i").read_bytes() == b"k 3 -1 \ne \n"
    write_int_vectors(tmp_path / "i", [("k", np.int32([3]))])
    assert (tmp_path / "i").read_bytes() == b"k \0B\4\1\0\0\0\4\3\0\0\0"
    write_scalars(tmp_path / "s", [("k", 1 / 3)])
    assert (tmp_path / "s").read_bytes() == b"k 0.3333333 \n"
    assert [g.dtype for g, _ in dict(read_posteriors(tmp_path / "p"))["k"]] == [np.int32] * 3
    assert [w.dtype for _, w in dict(read_posteriors(tmp_path / "p"))["k"]] == [np.float32] * 3


def test_script_files_work_and_commands_do_not(tmp_path):
    write_gselect(tmp_path / "g", [("k", [np.int32([3, 1])])])
    (tmp_path / "g.scp").write_text(f"k {tmp_path / 'g'}:2\n")
    assert flat(dict(read_gselect(f"scp:{tmp_path / 'g.scp'}"))["k"]) == [[3, 1]]
    (tmp_path / "g.scp").write_text(f"k {tmp_path / 'g'}:2[0:0]\n")
    with pytest.raises(InputError, match="a range"):
        list(read_gselect(f"scp:{tmp_path / 'g.scp'}"))
    for specifier in (f"ark:touch {tmp_path / 'ran'} |", f"touch {tmp_path / 'ran'} |"):
        with pytest.raises(InputError, match="--allow-commands"):
            list(read_posteriors(specifier))
    assert not (tmp_path / "ran").exists()
    (tmp_path / "x").write_bytes(b"k PKLxxxx")
    with pytest.raises(InputError, match="PKL"):
        list(read_posteriors(tmp_path / "x"))


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_is_told(tmp_path, packed):
    write_posteriors(tmp_path / "p", [("one", FRAMES), ("two", FRAMES)])
    whole = (tmp_path / "p").read_bytes()
    for cut in set(range(1, len(whole))) - {whole.index(b"two")}:
        (tmp_path / "cut").write_bytes(gzip.compress(whole[:cut]) if packed else whole[:cut])
        with pytest.raises(InputError, match=r"cut: .*byte \d+: found"):
            list(read_posteriors(tmp_path / "cut"))


@pytest.mark.parametrize(
    "read, content, message",
    [
        (read_posteriors, b"k \0B\4\xff\xff\xff\x7f\4\xff\xff\xff\x7f", "bytes left"),
        (read_posteriors, b"k \0B\4\xff\xff\xff\xff", "a count of -1"),
        (read_posteriors, b"k \0B\4\1\0\0\0\4\1\0\0\0\5\0\0\0\0\4\0\0\0\0", "another size byte"),
        (read_posteriors, b"k [ 1 0.5 2 ] \n", "for each frame"),
        (read_posteriors, b"k [ 1 0.5 \n", "for each frame"),
        (read_posteriors, b"k [ 1.5 0.5 ] \n", "int32"),
        (read_gselect, b"k 1 2 3\n", "a ; after each frame"),
        (read_gselect, b"k 1 x ; \n", "int32"),
        (read_int_vectors, b"k 99999999999 \n", "int32"),
        (read_scalars, b"k 1 2 \n", "one number"),
        (read_scalars, b"k x\n", "float64"),
    ],
)
def test_damage_is_told(tmp_path, read, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=f"x: key k, byte .*{message}"):
        list(read(tmp_path / "x"))


def test_bad_keys_leave_no_file(tmp_path):
    with pytest.raises(InputError, match="the key 'a b'"):
        write_int_vectors(tmp_path / "x", [("ok", np.int32([1])), ("a b", np.int32([1]))])
    assert not list(tmp_path.iterdir())

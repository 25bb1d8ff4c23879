"""Kaldi tables: what is written is read, archives and script files are complete or absent, slices and ranges."""

import gzip
import io
import os
import pickle
import struct
import tracemalloc

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyasp.core.errors import InputError
from pyasp.kaldi import ArkWriter, ScpReader, load, read_ark, read_scp, save, serialise

RNG = np.random.default_rng(5)
TABLE = {
    "a-1": RNG.normal(size=(7, 3)).astype(np.float32),
    "b_2": RNG.normal(size=(12, 4)),
    "ü3": np.float32([1, -2]),
    "c": RNG.normal(size=5),
    "empty": np.zeros((0, 0), np.float32),
    "none": np.zeros(0, np.float32),
}


def write(path, table=TABLE, scp=None, **options):
    with ArkWriter(path, scp, **options) as writer:
        for key, array in table.items():
            writer.write(key, array)
    return path


def assert_same(result, expected):
    assert list(result) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(result[key], array)
        assert result[key].dtype == array.dtype and result[key].shape == array.shape


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# script files


def test_read_scp_reads_no_data_and_keeps_order(tmp_path):
    (tmp_path / "x.scp").write_text("b /nowhere/x.ark:12 \na\t/no where.ark:7[0:9]\r\n")
    assert read_scp(tmp_path / "x.scp") == {"b": "/nowhere/x.ark:12", "a": "/no where.ark:7[0:9]"}
    assert list(read_scp(tmp_path / "x.scp")) == ["b", "a"]
    (tmp_path / "x.scp").write_text("")
    assert read_scp(tmp_path / "x.scp") == {}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a x\nb\n", r"line 2: found 1 fields"),
        (b"a x\n\nb y\n", r"line 2: found 0 fields"),
        (b"a x\nb y\na z\n", r"line 3: found the key a a second time"),
        (b"a \xff\xfe\n", r"byte 2: found bytes that are not UTF-8"),
    ],
)
def test_malformed_scp(tmp_path, content, message):
    (tmp_path / "x.scp").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_scp(tmp_path / "x.scp")


def test_missing_files_and_keys_are_named(in_tmp):
    with pytest.raises(InputError, match="nothing.scp: found it cannot be opened"):
        read_scp("nothing.scp")
    (in_tmp / "x.scp").write_text("k gone.ark:12\nfar x.ark:999999\n")
    write("x.ark")
    reader = ScpReader("x.scp")
    for attempt in (lambda: reader["k"], lambda: reader.rows("k", 0, 1), lambda: reader.shape("k")):
        with pytest.raises(InputError, match="gone.ark"):
            attempt()
    for attempt in (lambda: reader["far"], lambda: reader.rows("far", 0, 1)):
        with pytest.raises(InputError, match=r"x\.ark: byte 999999: found \d+ bytes"):
            attempt()
    with pytest.raises(InputError, match="x.scp: other: found no such key"):
        reader["other"]
    assert reader.get("other") is None and "other" not in reader and len(reader) == 2


# writing and reading


@pytest.mark.parametrize("text", [False, True])
def test_write_read_write_is_identical(in_tmp, text):
    write("x.ark", scp="x.scp", text=text)
    first = (in_tmp / "x.ark").read_bytes()
    table = dict(read_ark("x.ark"))
    write("x.ark", table, scp="x.scp", text=text)
    assert (in_tmp / "x.ark").read_bytes() == first
    if not text:
        assert_same(table, TABLE)
    reader = ScpReader("x.scp")
    for key, array in TABLE.items():
        assert reader.entries[key].startswith("x.ark:")
        np.testing.assert_allclose(reader[key].reshape(array.shape), array, rtol=1e-6)
        np.testing.assert_allclose(
            reader.rows(key, 0, min(2, len(array))), array[:2].reshape(reader[key][:2].shape), rtol=1e-6
        )


def test_kaldiio_reads_ours_and_we_read_kaldiio(in_tmp):
    full = {key: array for key, array in TABLE.items() if array.size}
    write("ours.ark", full, scp="ours.scp")
    assert_same(dict(kaldiio.load_ark("ours.ark")), full)
    assert_same(dict(kaldiio.load_scp("ours.scp")), full)
    kaldiio.save_ark("theirs.ark", full, scp="theirs.scp")
    assert (in_tmp / "theirs.ark").read_bytes() == (in_tmp / "ours.ark").read_bytes()
    assert_same(dict(ScpReader("theirs.scp")), full)


def test_gzip_and_standard_streams(in_tmp, monkeypatch, capfdbinary):
    write("x.ark.gz")
    raw = gzip.decompress((in_tmp / "x.ark.gz").read_bytes())
    assert_same(dict(read_ark("x.ark.gz")), TABLE)
    (in_tmp / "x.scp").write_text("a x.ark.gz:4[1:3]\n")
    np.testing.assert_array_equal(ScpReader("x.scp")["a"], TABLE["a-1"][1:4])
    np.testing.assert_array_equal(ScpReader("x.scp").rows("a", 1, 2), TABLE["a-1"][2:3])
    for data in (raw, gzip.compress(raw)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert_same(dict(read_ark("ark:-")), TABLE)
    save("m.mat.gz", TABLE["b_2"])
    np.testing.assert_array_equal(load("m.mat.gz"), TABLE["b_2"])
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(stream))
    write("-")
    assert stream.getvalue() == raw


def test_an_scp_needs_a_plain_archive(in_tmp):
    for name in ("-", "x.ark.gz"):
        with pytest.raises(InputError, match="an scp wanted"):
            ArkWriter(name, "x.scp")


def test_nothing_half_written(in_tmp):
    write("x.ark", {"old": TABLE["c"]}, scp="x.scp")
    before = (in_tmp / "x.ark").read_bytes(), (in_tmp / "x.scp").read_bytes()
    with pytest.raises(RuntimeError):
        with ArkWriter("x.ark", "x.scp") as writer:
            writer.write("new", TABLE["a-1"])
            raise RuntimeError
    assert ((in_tmp / "x.ark").read_bytes(), (in_tmp / "x.scp").read_bytes()) == before
    assert sorted(os.listdir()) == ["x.ark", "x.scp"]


def test_the_archive_is_renamed_before_its_scp(in_tmp, monkeypatch):
    renamed, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (renamed.append(os.path.basename(b)), replace(a, b)))
    write("x.ark", scp="x.scp")
    assert renamed == ["x.ark", "x.scp"]


@pytest.mark.parametrize("key", ["", "a b", "a\n", "twice", " a"])
def test_bad_keys(in_tmp, key):
    with pytest.raises(InputError, match="entry 2: found the key"):
        with ArkWriter("x.ark") as writer:
            writer.write("twice", TABLE["c"])
            writer.write(key, TABLE["c"])
    assert not os.listdir()


@pytest.mark.parametrize(
    "array", [np.arange(3), np.zeros((2, 2, 2)), np.float32(3), np.zeros(2, bool), np.zeros(2, np.float16)]
)
def test_other_arrays_are_refused(in_tmp, array):
    with pytest.raises(InputError, match="float32 or float64"):
        save("x.vec", array)
    assert not os.listdir()


def test_results_can_be_written_to(in_tmp):
    write("x.ark", scp="x.scp")
    reader = ScpReader("x.scp")
    for array in (reader["a-1"], reader.rows("a-1", 0, 3), dict(read_ark("x.ark"))["a-1"]):
        array += 1
    np.testing.assert_array_equal(reader["a-1"], TABLE["a-1"])


# ranges and rows


def entry(tmp_path, array, method, spec=""):
    write(tmp_path / "r.ark", {"k": array}, scp=tmp_path / "r.scp", compression_method=method)
    line = (tmp_path / "r.scp").read_text().strip()
    (tmp_path / "r.scp").write_text(f"{line}{spec}\n")
    return ScpReader(tmp_path / "r.scp")


@pytest.mark.parametrize("method", range(8))
def test_rows_equal_the_whole(tmp_path, method):
    array = RNG.uniform(0, 1, size=(23, 5)).astype(np.float32)
    reader = entry(tmp_path, array, method)
    whole = reader["k"]
    assert reader.shape("k") == whole.shape == array.shape
    for start, end in ((0, 23), (0, 1), (22, 23), (7, 15), (4, 4)):
        np.testing.assert_array_equal(reader.rows("k", start, end), whole[start:end])
    for start, end in ((-1, 3), (5, 24), (6, 5)):
        with pytest.raises(InputError, match="rows .* wanted of 23"):
            reader.rows("k", start, end)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_ranges_include_both_ends(tmp_path_factory, data):
    array = np.arange(60, dtype=np.float64).reshape(12, 5)
    r0, c0 = data.draw(st.integers(0, 11)), data.draw(st.integers(0, 4))
    r1, c1 = data.draw(st.integers(r0, 14)), data.draw(st.integers(c0, 4))
    rows = data.draw(st.sampled_from(["", ":", f"{r0}:{r1}"]))
    columns = data.draw(st.sampled_from(["", ",:", f",{c0}:{c1}"]))
    expected = array[r0 : r1 + 1] if len(rows) > 1 else array
    expected = expected[:, c0 : c1 + 1] if len(columns) > 2 else expected
    reader = entry(tmp_path_factory.mktemp("range"), array, 0, f"[{rows}{columns}]")
    np.testing.assert_array_equal(reader["k"], expected)
    assert reader.shape("k") == expected.shape
    np.testing.assert_array_equal(reader.rows("k", 0, len(expected)), expected)


@pytest.mark.parametrize(
    "spec",
    [
        "[0:15]",
        "[12:12]",
        "[3:2]",
        "[0:1,5:5]",
        "[0:1,0:5]",
        "[1]",
        "[a:b]",
        "[-1:2]",
        "[0:1,0:1,0:1]",
        "[0:1:2]",
        "[12:14]",
    ],
)
def test_bad_ranges(tmp_path, spec):
    with pytest.raises(InputError, match="range"):
        entry(tmp_path, np.zeros((12, 5)), 0, spec)["k"]
    with pytest.raises(InputError, match="range"):
        entry(tmp_path, np.zeros((12, 5)), 0, spec).rows("k", 0, 1)


def test_ranges_of_vectors(tmp_path):
    reader = entry(tmp_path, np.arange(5.0), 0, "[1:3]")
    np.testing.assert_array_equal(reader["k"], [1, 2, 3])
    np.testing.assert_array_equal(reader.rows("k", 1, 2), [2])
    assert reader.shape("k") == (3,)
    for attempt in (lambda r: r["k"], lambda r: r.rows("k", 0, 1)):
        with pytest.raises(InputError, match="column range of a vector"):
            attempt(entry(tmp_path, np.arange(5.0), 0, "[1:3,0:0]"))


@pytest.mark.parametrize("head, width", [(b"\0BFM \4%b\4%b", 16 * 4), (b"\0BCM2 \0\0\0\0\0\0\0\x3f%b%b", 16 * 2)])
def test_a_slice_of_a_huge_matrix_reads_only_its_rows(tmp_path, head, width):
    rows, path = 2**27, tmp_path / "huge.ark"
    with open(path, "wb") as file:
        file.write(b"k " + head % (struct.pack("<i", rows), struct.pack("<i", 16)))
        file.truncate(file.tell() + rows * width)  # a hole: no disk is used
    (tmp_path / "huge.scp").write_text(f"k {path}:2\n")
    tracemalloc.start()
    reader = ScpReader(tmp_path / "huge.scp")
    assert reader.shape("k") == (rows, 16)
    np.testing.assert_array_equal(reader.rows("k", rows - 3, rows), np.zeros((3, 16)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_reader_travels_to_workers_and_limits_its_maps(in_tmp, monkeypatch):
    monkeypatch.setattr("pyasp.kaldi.scripts.MAPS", 2)
    for name in "pqrs":
        write(f"{name}.ark", {name: np.full((3, 2), ord(name), np.float32)}, scp=f"{name}.scp")
    (in_tmp / "all.scp").write_text("".join((in_tmp / f"{name}.scp").read_text() for name in "pqrs"))
    reader = ScpReader("all.scp")
    for name in "pqrsp":
        assert reader.rows(name, 1, 2)[0, 0] == ord(name)
    assert reader._map.cache_info().currsize == 2
    assert pickle.loads(pickle.dumps(reader)).rows("q", 0, 1)[0, 0] == ord("q")


def test_text_forms(in_tmp):
    (in_tmp / "x.ark").write_bytes(b"v  [ 1 -2.5e-3 inf -inf nan ]\nm  [\n  1 2 \n  3 4 ]\ns [ 1 2 ; 3 4 ]\ne  [ ]\n\n")
    table = dict(read_ark("x.ark"))
    np.testing.assert_array_equal(table["v"], np.float32([1, -2.5e-3, np.inf, -np.inf, np.nan]))
    np.testing.assert_array_equal(table["m"], [[1, 2], [3, 4]])
    assert table["e"].size == 0 and table["v"].dtype == np.float32
    assert serialise(table["v"], False) == b" [ 1 -0.0025 inf -inf nan ]\n"
    assert load("x.ark:2", dtype=np.float64).dtype == np.float64


def test_rspecifiers(in_tmp):
    write("x.ark", scp="x.scp")
    write("t.txt", text=True)
    for spec in ("x.ark", "ark:x.ark", "ark,s,cs:x.ark", "scp:x.scp", "x.scp", "scp,o:x.scp", in_tmp / "x.ark"):
        assert_same(dict(read_ark(spec)), TABLE)
    assert list(dict(read_ark("ark,t:t.txt"))) == list(TABLE)
    with pytest.raises(InputError, match="hides failures"):
        list(read_ark("scp,p:x.scp"))

"""One Kaldi object: everything written is read back, in binary and in text, every mismatch told with its place."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyasp.core.errors import InputError
from pyasp.kaldi.items import copy_model, read_items
from pyasp.kaldi.reader import Reader, open_object
from pyasp.kaldi.source import Source
from pyasp.kaldi.writer import Writer, write_object

BOUND = float(np.float32(1e30))
FLOATS = st.floats(-BOUND, BOUND, width=32)


def reader_of(data):
    return Reader(Source(io.BytesIO(data), "memory", size=len(data)))


def written(binary, fill):
    file = io.BytesIO()
    fill(Writer(file, binary))
    return file.getvalue()


def fill(writer, integer, real, vector, matrix, packed):
    writer.token("<Model>")
    writer.int32(integer)
    writer.float64(real)
    writer.float32(real)
    writer.integer(integer % 60000, -2)
    writer.vector(vector)
    writer.matrix(matrix)
    writer.packed(packed)
    writer.token("</Model>")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.booleans(), st.sampled_from([np.float32, np.float64]), st.integers(-(2**31), 2**31 - 1), FLOATS, st.data())
def test_written_is_read(binary, dtype, integer, real, data):
    elements = st.floats(-BOUND, BOUND, width=np.dtype(dtype).itemsize * 8)
    n, rows, columns = (data.draw(st.integers(low, 5)) for low in (0, 2, 1))
    vector = data.draw(hnp.arrays(dtype, n, elements=elements))
    matrix = data.draw(hnp.arrays(dtype, (rows, columns), elements=elements))
    packed = data.draw(hnp.arrays(dtype, n * (n + 1) // 2, elements=elements))
    raw = written(binary, lambda w: fill(w, integer, real, vector, matrix, packed))
    reader, close = reader_of(raw), dict(rtol=0 if binary else 1e-6)
    assert reader.binary == binary and reader.peek() == "<Model>" and reader.expect("<Model>") == "<Model>"
    assert reader.peek() == "" and reader.int32() == integer
    np.testing.assert_allclose([reader.float64(), reader.float32()], [real, np.float32(real)], **close)
    assert reader.integer() == integer % 60000
    got_vector, got_matrix = reader.vector(dtype), reader.matrix(dtype)
    size, got_packed = reader.packed(dtype)
    assert size == n and got_vector.dtype == got_matrix.dtype == got_packed.dtype == dtype
    for got, sent in ((got_vector, vector), (got_matrix, matrix), (got_packed, packed)):
        np.testing.assert_allclose(got, sent, **close)
    assert reader.token() == "</Model>" and reader.at_end()
    again = written(binary, lambda w: fill(w, integer, real, got_vector, got_matrix, got_packed))
    assert again == raw


def test_the_text_is_what_a_cpp_stream_prints():
    values = np.float32([1, -0.5, 1 / 3, 123456789, 1e-5, 1.0000001, 1e10, np.nan, -np.inf])
    assert written(False, lambda w: w.vector(values)) == b" [ 1 -0.5 0.3333333 1.234568e+08 1e-05 1 1e+10 nan -inf ]\n"
    assert written(False, lambda w: w.matrix(np.float64([[1, 2], [3, 4]]))) == b" [\n  1 2 \n  3 4 ]\n"
    assert written(False, lambda w: w.packed(np.float64([1, 2, 3]))) == b"[\n1 \n2 3 ]\n"
    assert written(False, lambda w: w.matrix(np.zeros((0, 4)))) == b" [ ]\n"
    assert written(True, lambda w: w.matrix(np.zeros((0, 4)))) == b"\0BDM \4\0\0\0\0\4\0\0\0\0"
    assert (
        written(False, lambda w: w.put(-3, 0.1, "<A>", "<DiagGMM>", np.float32([1])))
        == b"-3 0.1 <A> <DiagGMM> \n [ 1 ]\n"
    )
    assert written(True, lambda w: w.put(-3, "<DiagGMM>")) == b"\0B\4\xfd\xff\xff\xff<DiagGMM> "


def test_arrays_of_other_layout_are_written_as_their_values():
    matrix = np.arange(12.0).reshape(3, 4)
    assert written(True, lambda w: w.matrix(matrix.T)) == written(True, lambda w: w.matrix(matrix.T.copy()))
    assert written(True, lambda w: w.vector(matrix[:, 1])) == written(True, lambda w: w.vector(matrix[:, 1].copy()))


@pytest.mark.parametrize(
    "data, read, message",
    [
        (b"\0B<Other> ", lambda r: r.expect("<One>", "<Two>"), "byte 2: found <Other>; expected <One> or <Two>"),
        (b"\0B\x05abcde", lambda r: r.int32(), "byte 2: found size byte 5"),
        (b"\0B\x08" + struct.pack("<q", 3), lambda r: r.int32(), "size byte 8"),
        (b"\0B\x02ab", lambda r: r.float64(), "size byte 2"),
        (b"\0B\x04ab", lambda r: r.int32(), "found an int32 of 4 bytes in the 2 bytes left"),
        (b"\0BFV \4\1\0\0\0abcd", lambda r: r.matrix(), "byte 2: found a vector of 1; expected a matrix"),
        (b"\0BFM \4\1\0\0\0\4\1\0\0\0abcd", lambda r: r.vector(), "byte 2: found a 1 x 1 matrix; expected a vector"),
        (b"\0BFP \4\xff\xff\xff\xff", lambda r: r.packed(), "found -1 rows"),
        (b"\0BFV ", lambda r: r.packed(), "found FV; expected FP or DP"),
        (b"x [ 1 2 ]", lambda r: r.int32(), "found 'x'; expected an int32"),
        (b" [ 1 2 ]\n", lambda r: r.packed(), "found 2 numbers; expected n"),
        (b" [\n 1 2\n 3 4 ]\n", lambda r: r.vector(), "expected a vector"),
        (b"", lambda r: r.token(), "byte 0: found no token"),
        (b"\xff\xfe ", lambda r: r.token(), "found no token"),
    ],
)
def test_mismatches_are_told_with_their_place(data, read, message):
    with pytest.raises(InputError, match=f"memory: .*{message}"):
        read(reader_of(data))


def test_a_text_line_is_a_vector_or_a_matrix_of_one_row():
    assert reader_of(b" [ 1 2 3 ]\n").matrix().shape == (1, 3)
    assert reader_of(b" [ 1 2 3 ]\n").vector().shape == (3,)
    assert reader_of(b" [ ]\n").matrix().shape == (0, 0)
    assert reader_of(b" [ ]\n").vector().shape == (0,)


def test_a_file_appears_when_complete(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(RuntimeError):
        with write_object(path) as writer:
            writer.token("<Half>")
            raise RuntimeError
    assert not list(tmp_path.iterdir())
    for binary in (True, False):
        with write_object(path, binary) as writer:
            writer.token("<Whole>")
        with open_object(path) as reader:
            assert reader.binary == binary and reader.token() == "<Whole>" and reader.at_end()
    with pytest.raises(InputError, match="--allow-commands"):
        with open_object(f"touch {tmp_path / 'ran'} |"):
            pass
    assert not (tmp_path / "ran").exists()


def write_plda(path, binary, dimension=3):
    rng = np.random.default_rng(1)
    with write_object(path, binary) as writer:
        writer.token("<Plda>")
        writer.vector(rng.normal(size=dimension))
        writer.matrix(rng.normal(size=(dimension, dimension)))
        writer.vector(rng.uniform(size=dimension))
        writer.token("</Plda>")


@pytest.mark.parametrize("binary", [True, False])
def test_a_model_is_copied_between_its_forms(tmp_path, binary):
    write_plda(tmp_path / "plda", binary)
    assert [item.kind for item in read_items(tmp_path / "plda")[1]] == ["token", "array", "array", "array", "token"]
    copy_model(tmp_path / "plda", tmp_path / "same", binary)
    copy_model(tmp_path / "plda", tmp_path / "other", not binary)
    assert (tmp_path / "same").read_bytes() == (tmp_path / "plda").read_bytes()
    copy_model(tmp_path / "other", tmp_path / "third", True)
    copy_model(tmp_path / "third", tmp_path / "fourth", False)
    text = tmp_path / ("other" if binary else "plda")
    assert (tmp_path / "fourth").read_bytes() == text.read_bytes()


@pytest.mark.parametrize("binary", [True, False])
def test_a_model_cut_anywhere_is_told(tmp_path, binary):
    write_plda(tmp_path / "plda", binary)
    whole = (tmp_path / "plda").read_bytes()
    for cut in range(len(whole.rstrip())):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cut: "):
            read_items(tmp_path / "cut")

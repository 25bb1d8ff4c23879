"""Compressed matrices: errors within the step of the codes, slices, limits; Kaldi's bytes: golden tests."""

import io

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyasp.core.errors import InputError
from pyasp.kaldi import load, serialise
from pyasp.kaldi.compress import FIXED, encode
from pyasp.kaldi.source import Source
from pyasp.kaldi.tables import read_array

MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 14), st.integers(1, 5)),
    elements=st.integers(-(2**20), 2**20).map(lambda i: i / 1024),
)
LEVELS = {"CM2": 65535, "CM3": 255}


def decoded(matrix, method):
    header, body = encode(matrix, method)
    return header, header.decode(body)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MATRICES, st.sampled_from([3, 5]))
def test_the_error_of_linear_codes_is_half_a_step(matrix, method):
    header, result = decoded(matrix, method)
    step = header.span / LEVELS[header.kind]
    assert result.dtype == np.float32 and result.shape == matrix.shape
    assert np.abs(result - matrix).max() <= 0.502 * step + 1e-6 * (abs(header.lo) + header.span)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MATRICES)
def test_the_error_of_column_codes_follows_the_quartiles(matrix):
    """Between two percentiles the error is at most half of their distance / 64 (plus the 16-bit steps of both)."""
    header, result = decoded(matrix, 2)
    fine = 6 * header.span / 65535 + 1e-6 * (abs(header.lo) + header.span)
    assert header.kind == "CM"
    assert np.all(np.abs(result - matrix) <= np.ptp(matrix, axis=0) * 0.51 / 63 + fine)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(MATRICES, st.integers(1, 7), st.integers(0, 14), st.integers(0, 14))
def test_a_slice_is_part_of_the_whole(matrix, method, start, end):
    header, body = encode(matrix, method)
    start, end = min(start, len(matrix)), min(end, len(matrix))
    end = max(start, end)
    np.testing.assert_array_equal(header.decode(body, start, end), header.decode(body)[start:end])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(MATRICES, st.integers(1, 7))
def test_bytes_are_read_back_and_by_kaldiio_too(matrix, method):
    data = serialise(matrix, compression_method=method)
    header, expected = decoded(matrix, method)
    np.testing.assert_array_equal(read_array(Source(io.BytesIO(data), "memory", size=len(data))), expected)
    other = kaldiio.matio.read_kaldi(io.BytesIO(data))
    np.testing.assert_allclose(other, expected, atol=2e-6 * (abs(header.lo) + header.span))


@pytest.mark.parametrize("rows, kind", [(1, "CM2"), (8, "CM2"), (9, "CM"), (300, "CM")])
def test_method_1_goes_by_the_rows(rows, kind):
    assert encode(np.random.default_rng(0).normal(size=(rows, 3)), 1)[0].kind == kind


@pytest.mark.parametrize("method", FIXED)
def test_fixed_ranges_clip(method):
    lo, span = FIXED[method]
    inside = np.float32([[lo, lo + span]])
    _, result = decoded(np.concatenate([inside, inside + 10 * span, inside - 10 * span]), method)
    np.testing.assert_array_equal(result, [[lo, lo + span], [lo + span] * 2, [lo] * 2])


@pytest.mark.parametrize("method, values", [(4, np.arange(-32768, 32768, 97)), (6, np.arange(256))])
def test_integers_survive_the_integer_methods(method, values):
    _, result = decoded(values[None].astype(np.float32), method)
    np.testing.assert_array_equal(np.rint(result[0]), values)


@pytest.mark.parametrize("method", range(1, 8))
def test_constant_and_empty(method):
    _, result = decoded(np.full((10, 3), 0.25, np.float32), method)
    np.testing.assert_allclose(result, 0.25, atol=0.25 if method in (4, 6) else 2e-3)
    assert encode(np.zeros((0, 0)), method)[0].kind == "CM" and decoded(np.zeros((0, 0)), method)[1].shape == (0, 0)


def test_a_double_matrix_is_compressed_as_floats():
    matrix = np.random.default_rng(3).normal(size=(20, 3))
    for method in (2, 3, 5):
        assert serialise(matrix, True, method) == serialise(matrix.astype(np.float32), True, method)


@pytest.mark.parametrize(
    "method, matrix, message",
    [
        (8, np.zeros((2, 2)), "method 8"),
        (-1, np.zeros((2, 2)), "method -1"),
        (2, np.float32([[1, np.nan]]), "infinite or NaN"),
        (5, np.float32([[1, -np.inf]]), "infinite or NaN"),
    ],
)
def test_refused(method, matrix, message):
    with pytest.raises(InputError, match=message):
        encode(matrix, method)


def test_text_of_a_compressed_matrix_is_its_decoded_form(tmp_path):
    matrix = np.random.default_rng(4).normal(size=(9, 2)).astype(np.float32)
    assert serialise(matrix, False, 5) == serialise(decoded(matrix, 5)[1], False)
    (tmp_path / "x.mat").write_bytes(serialise(matrix, False, 5))
    np.testing.assert_allclose(load(tmp_path / "x.mat"), decoded(matrix, 5)[1], rtol=1e-6)

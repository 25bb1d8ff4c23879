"""Laws of readers, features and pooling that hold for any input, on what hypothesis draws: a few cases by default, many
under `-m reliability`.

Metrics and log-likelihood ratios against brute force, and archives, are in test_metrics.py, test_llr.py, test_kaldi_io.py
and test_kaldi_post.py; here are the laws that had no test.
"""

import io

import numpy as np
import stored_models
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from kaldi_steps import sliding_cmn
from laws import FLOATS, SEED, both

from pyasp import kaldi
from pyasp.backend.files import read_plda, write_plda
from pyasp.backend.plda import Plda
from pyasp.features.frontend import FrontendOptions
from pyasp.features.vad import VadOptions, energy_vad
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.ivector.model import IvectorExtractor
from pyasp.kaldi.names import Location
from pyasp.kaldi.reader import Reader
from pyasp.kaldi.source import Source
from pyasp.network.model import ArchitectureOptions
from pyasp.network.pooling import POOLINGS, length_mask

STEPS = FLOATS.map(
    lambda value: value if abs(value) > 1e-20 else 0.0
)  # differ by what 65535 steps of float32 can divide


# ---------------------------------------------------------------- readers


@both(
    array=arrays(
        st.sampled_from([np.float32, np.float64]),
        array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9),
        elements=FLOATS,
    ),
    binary=st.booleans(),
)
def what_is_written_is_read_back(array, binary):
    """Any vector or matrix, of no, one or many rows and columns; text keeps 7 digits (and no type, nor empty columns).
    A matrix without elements has no rows and no columns, as in Kaldi."""
    stream = io.BytesIO(kaldi.serialise(array, binary))
    found = Reader(Source(stream, "x")).array(array.dtype)
    if binary:
        shape = (0, 0) if array.ndim == 2 and not array.size else array.shape
        assert found.dtype == array.dtype and found.shape == shape and found.tobytes() == array.tobytes()
    else:
        np.testing.assert_allclose(found.ravel(), array.ravel(), rtol=1e-6)


@both(
    array=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30), elements=STEPS),
    method=st.integers(1, 3),
)
def compressed_matrices_keep_shape_and_range(array, method):
    """Kaldi's compression: what is decoded lies within the range of the matrix, near the original."""
    found = Reader(Source(io.BytesIO(kaldi.serialise(array, True, method)), "x")).array()
    width = float(array.max() - array.min()) or 1 + abs(float(array.min()))
    assert found.shape == array.shape and np.abs(found - array).max() <= width / 2 + 1e-3 * width
    assert found.min() >= array.min() - 1e-3 * width and found.max() <= array.max() + 1e-3 * width


def _same_fields(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@both(seed=SEED, gaussians=st.integers(1, 4), dim=st.integers(1, 4), factors=st.integers(1, 4))
def models_are_read_back_to_the_bit(seed, gaussians, dim, factors):
    """Diagonal and full GMM, extractor and PLDA of any size, from one Gaussian and one dimension on."""
    import tempfile

    rng = np.random.default_rng(seed)
    diag = DiagGmm.from_moments(
        rng.dirichlet(np.ones(gaussians)), rng.normal(size=(gaussians, dim)), rng.uniform(0.1, 3, (gaussians, dim))
    )
    full = FullGmm.from_diag(diag)
    plda = Plda(rng.normal(size=dim), rng.normal(size=(dim, dim)), np.sort(rng.uniform(0, 3, dim))[::-1].copy())
    with tempfile.TemporaryDirectory() as folder:
        for model in (diag, full, IvectorExtractor.from_ubm(full, factors, [seed])):
            stored_models.write(model, f"{folder}/x")
            assert _same_fields(stored_models.read(type(model), f"{folder}/x"), model)
        write_plda(f"{folder}/x", plda)
        assert _same_fields(read_plda(f"{folder}/x"), plda)


@both(
    path=st.text(st.characters(exclude_characters="|:[]\0", exclude_categories=("Cs",)), min_size=1),
    offset=st.integers(0, 10**12),
    first=st.integers(0, 99),
    more=st.integers(0, 99),
)
def extended_names_are_taken_apart(path, offset, first, more):
    """path:offset[first:last]: each part comes back."""
    from pyasp.kaldi.names import parse_location

    path = path.strip() or "x"
    assert parse_location(f"{path}:{offset}[{first}:{first + more}]") == Location(path, offset, (first, first + more))


# ---------------------------------------------------------------- front end


def vad_loop(energy, options):
    threshold = options.vad_energy_threshold + options.vad_energy_mean_scale * sum(map(float, energy)) / len(energy)
    found = []
    for t in range(len(energy)):
        window = energy[max(0, t - options.vad_frames_context) : t + options.vad_frames_context + 1]
        found.append(sum(e > threshold for e in window) >= len(window) * options.vad_proportion_threshold)
    return np.array(found)


QUARTERS = st.integers(-400, 400).map(lambda k: k / 4)  # sums and thresholds are exact
VAD = {
    "energy": arrays(np.float32, st.integers(1, 60), elements=QUARTERS),
    "context": st.integers(0, 6),
    "proportion": st.sampled_from([0.125, 0.25, 0.5, 0.75]),
    "scale": st.sampled_from([0.0, 0.5, 1.0]),
    "threshold": QUARTERS,
}


@both(**VAD)
def decisions_equal_a_loop(energy, context, proportion, scale, threshold):
    options = VadOptions(
        vad_energy_threshold=threshold,
        vad_energy_mean_scale=scale,
        vad_frames_context=context,
        vad_proportion_threshold=proportion,
    )
    mean = float(np.float64(energy).mean())
    if not any(abs(float(e) - threshold - scale * mean) < 1e-4 for e in energy):  # else round-off decides
        np.testing.assert_array_equal(energy_vad(energy, options), vad_loop(energy, options))


@both(**VAD, shift=st.integers(-50, 50))
def a_louder_recording_has_as_much_voice(energy, context, proportion, scale, threshold, shift):
    """With the whole mean in the threshold a gain (an offset of the log energy) changes no decision; without it a
    louder recording has no fewer voiced frames."""
    relative = VadOptions(
        vad_energy_threshold=threshold,
        vad_energy_mean_scale=1.0,
        vad_frames_context=context,
        vad_proportion_threshold=proportion,
    )
    gap = np.abs(np.float64(energy) - np.float64(energy).mean() - threshold).min()
    if gap > 1e-3:
        np.testing.assert_array_equal(energy_vad(energy, relative), energy_vad(energy + np.float32(shift), relative))
    fixed = VadOptions(
        vad_energy_threshold=threshold,
        vad_energy_mean_scale=0.0,
        vad_frames_context=context,
        vad_proportion_threshold=proportion,
    )
    assert (energy_vad(energy + np.float32(abs(shift)), fixed) >= energy_vad(energy, fixed)).all()


def cmn_loop(feats, options):
    rows, frames = [], len(feats)
    for t in range(frames):
        if options.center:
            first = t - options.cmn_window // 2
            end = first + options.cmn_window
        else:
            first, end = t - options.cmn_window, t + 1
        if first < 0:
            first, end = 0, end - first if options.center else end
        if not options.center and end < options.min_cmn_window:
            end = options.min_cmn_window
        if end > frames:
            first, end = max(0, first - (end - frames)), frames
        window = feats[first:end].astype(np.float64)
        row = feats[t] - window.mean(0)
        if options.norm_vars:
            row = row / np.sqrt(np.maximum(window.var(0), 1e-10)) if len(window) > 1 else 0 * row
        rows.append(row)
    return np.array(rows)


@both(
    feats=arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=QUARTERS),
    window=st.integers(1, 50),
    least=st.integers(1, 50),
    center=st.booleans(),
    norm_vars=st.booleans(),
)
def sliding_normalisation_equals_a_loop(feats, window, least, center, norm_vars):
    options = FrontendOptions(cmn_window=window, min_cmn_window=min(least, window), center=center, norm_vars=norm_vars)
    np.testing.assert_allclose(sliding_cmn(feats, options), cmn_loop(feats, options), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- pooling


@both(
    seed=SEED,
    lengths=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    pooling=st.sampled_from(sorted(POOLINGS)),
    filling=st.sampled_from([0.0, 1e3, -1e3, 7.0]),
)
def padding_and_order_of_a_batch_do_not_matter(seed, lengths, pooling, filling):
    """Whatever stands behind a recording's end, and wherever in the batch it stands, its vector is the same."""
    torch.manual_seed(seed)
    pool = POOLINGS[pooling](6, ArchitectureOptions(attention_dim=4)).eval()
    x, mask = torch.randn(len(lengths), max(lengths), 6), length_mask(torch.tensor(lengths), max(lengths))
    order = torch.randperm(len(lengths))
    with torch.no_grad():
        found = pool(x, mask)
        torch.testing.assert_close(pool(x.masked_fill(~mask.unsqueeze(-1), filling), mask), found)
        torch.testing.assert_close(pool(x[order], mask[order]), found[order])

"""Laws that hold for any input, checked on what hypothesis draws: a few cases by default, many under `-m reliability`.

Metrics and log-likelihood ratios against brute force, and archives, are in test_metrics.py, test_llr.py, test_kaldi_io.py
and test_kaldi_post.py; here are the laws that had no test.
"""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats as scipy_stats

from pyasp import backend, calibration, kaldi_io, metrics, plda_em
from pyasp.backend import ScoreOptions
from pyasp.frontend import FrontendOptions, sliding_cmn
from pyasp.gmm import DiagGmm, FullGmm
from pyasp.ivector import Estimator, IvectorExtractor
from pyasp.kaldi_location import Location
from pyasp.kaldi_source import Source
from pyasp.kaldi_stream import Reader
from pyasp.plda import Plda
from pyasp.pooling import POOLINGS, Pooling, length_mask
from pyasp.score_norm import moments
from pyasp.scoring import plda_scorer
from pyasp.vad import VadOptions, energy_vad

settings.register_profile("few", derandomize=True, deadline=None, max_examples=15)
MANY = settings(derandomize=True, deadline=None, max_examples=2000)
FEW = settings.get_profile("few")
SEED = st.integers(0, 2**32 - 1)
FLOATS = st.floats(-1e6, 1e6, width=32)
STEPS = FLOATS.map(lambda value: value if abs(value) > 1e-20 else 0.0)      # differ by what 65535 steps of float32 can divide


def both(**strategies):
    """A law as two tests of its name: with few examples by default, with many under the marker."""
    def decorate(law):
        few = FEW(given(**strategies)(lambda **drawn: law(**drawn)))
        many = MANY(given(**strategies)(lambda **drawn: law(**drawn)))
        globals()[f"test_{law.__name__}"] = _test(few, law)
        globals()[f"test_{law.__name__}_in_many_cases"] = pytest.mark.reliability(_test(many, law))
        return law
    return decorate


def _test(check, law):
    def run():
        check()
    run.__doc__ = law.__doc__
    return run


# ---------------------------------------------------------------- readers

@both(array=arrays(st.sampled_from([np.float32, np.float64]), array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9), elements=FLOATS),
      binary=st.booleans())
def what_is_written_is_read_back(array, binary):
    """Any vector or matrix, of no, one or many rows and columns; text keeps 7 digits (and no type, nor empty columns).
    A matrix without elements has no rows and no columns, as in Kaldi."""
    stream = io.BytesIO(kaldi_io.serialise(array, binary))
    found = Reader(Source(stream, "x")).array(array.dtype)
    if binary:
        shape = (0, 0) if array.ndim == 2 and not array.size else array.shape
        assert found.dtype == array.dtype and found.shape == shape and found.tobytes() == array.tobytes()
    else:
        np.testing.assert_allclose(found.ravel(), array.ravel(), rtol=1e-6)


@both(array=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30), elements=STEPS), method=st.integers(1, 3))
def compressed_matrices_keep_shape_and_range(array, method):
    """Kaldi's compression: what is decoded lies within the range of the matrix, near the original."""
    found = Reader(Source(io.BytesIO(kaldi_io.serialise(array, True, method)), "x")).array()
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
    diag = DiagGmm.from_moments(rng.dirichlet(np.ones(gaussians)), rng.normal(size=(gaussians, dim)), rng.uniform(0.1, 3, (gaussians, dim)))
    full = FullGmm.from_diag(diag)
    plda = Plda(rng.normal(size=dim), rng.normal(size=(dim, dim)), np.sort(rng.uniform(0, 3, dim))[::-1].copy())
    with tempfile.TemporaryDirectory() as folder:
        for model in (diag, full, IvectorExtractor.from_ubm(full, factors, [seed]), plda):
            model.write(f"{folder}/x")
            assert _same_fields(type(model).read(f"{folder}/x"), model)


@both(path=st.text(st.characters(exclude_characters="|:[]\0", exclude_categories=("Cs",)), min_size=1), offset=st.integers(0, 10**12),
      first=st.integers(0, 99), more=st.integers(0, 99))
def extended_names_are_taken_apart(path, offset, first, more):
    """path:offset[first:last]: each part comes back."""
    from pyasp.kaldi_location import parse_location
    path = path.strip() or "x"
    assert parse_location(f"{path}:{offset}[{first}:{first + more}]") == Location(path, offset, (first, first + more))


# ---------------------------------------------------------------- front end

def vad_loop(energy, options):
    threshold = options.vad_energy_threshold + options.vad_energy_mean_scale * sum(map(float, energy)) / len(energy)
    found = []
    for t in range(len(energy)):
        window = energy[max(0, t - options.vad_frames_context):t + options.vad_frames_context + 1]
        found.append(sum(e > threshold for e in window) >= len(window) * options.vad_proportion_threshold)
    return np.array(found)


QUARTERS = st.integers(-400, 400).map(lambda k: k / 4)      # sums and thresholds are exact
VAD = {"energy": arrays(np.float32, st.integers(1, 60), elements=QUARTERS), "context": st.integers(0, 6),
       "proportion": st.sampled_from([0.125, 0.25, 0.5, 0.75]), "scale": st.sampled_from([0.0, 0.5, 1.0]), "threshold": QUARTERS}


@both(**VAD)
def decisions_equal_a_loop(energy, context, proportion, scale, threshold):
    options = VadOptions(vad_energy_threshold=threshold, vad_energy_mean_scale=scale, vad_frames_context=context,
                         vad_proportion_threshold=proportion)
    mean = float(np.float64(energy).mean())
    if not any(abs(float(e) - threshold - scale * mean) < 1e-4 for e in energy):      # else round-off decides
        np.testing.assert_array_equal(energy_vad(energy, options), vad_loop(energy, options))


@both(**VAD, shift=st.integers(-50, 50))
def a_louder_recording_has_as_much_voice(energy, context, proportion, scale, threshold, shift):
    """With the whole mean in the threshold a gain (an offset of the log energy) changes no decision; without it a
    louder recording has no fewer voiced frames."""
    relative = VadOptions(vad_energy_threshold=threshold, vad_energy_mean_scale=1.0, vad_frames_context=context,
                          vad_proportion_threshold=proportion)
    gap = np.abs(np.float64(energy) - np.float64(energy).mean() - threshold).min()
    if gap > 1e-3:
        np.testing.assert_array_equal(energy_vad(energy, relative), energy_vad(energy + np.float32(shift), relative))
    fixed = VadOptions(vad_energy_threshold=threshold, vad_energy_mean_scale=0.0, vad_frames_context=context,
                       vad_proportion_threshold=proportion)
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


@both(feats=arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=QUARTERS), window=st.integers(1, 50),
      least=st.integers(1, 50), center=st.booleans(), norm_vars=st.booleans())
def sliding_normalisation_equals_a_loop(feats, window, least, center, norm_vars):
    options = FrontendOptions(cmn_window=window, min_cmn_window=min(least, window), center=center, norm_vars=norm_vars)
    np.testing.assert_allclose(sliding_cmn(feats, options), cmn_loop(feats, options), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- pooling

@both(seed=SEED, lengths=st.lists(st.integers(1, 12), min_size=2, max_size=4), pooling=st.sampled_from(sorted(POOLINGS)),
      filling=st.sampled_from([0.0, 1e3, -1e3, 7.0]))
def padding_and_order_of_a_batch_do_not_matter(seed, lengths, pooling, filling):
    """Whatever stands behind a recording's end, and wherever in the batch it stands, its vector is the same."""
    torch.manual_seed(seed)
    pool = Pooling(pooling, 6, 4).eval()
    x, mask = torch.randn(len(lengths), max(lengths), 6), length_mask(torch.tensor(lengths), max(lengths))
    order = torch.randperm(len(lengths))
    with torch.no_grad():
        found = pool(x, mask)
        torch.testing.assert_close(pool(x.masked_fill(~mask.unsqueeze(-1), filling), mask), found)
        torch.testing.assert_close(pool(x[order], mask[order]), found[order])


# ---------------------------------------------------------------- PLDA

def model(rng, dim):
    within, between = (root @ root.T + 0.1 * np.eye(dim) for root in rng.normal(size=(2, dim, dim)))
    return rng.normal(size=dim), within, between


def scores(parameters, enrol, counts, tests):
    plda = Plda.from_covariances(*parameters)
    scorer = plda_scorer(enrol, counts, tests, plda, ScoreOptions(normalize_length=False))
    return np.concatenate([block for _, block in scorer.cross(np.float64)])


@both(seed=SEED, dim=st.integers(1, 5))
def verification_is_symmetric(seed, dim):
    """Of two recordings either may be the model."""
    rng = np.random.default_rng(seed)
    vectors, one = rng.normal(size=(4, dim)), np.ones(4, np.int64)
    table = scores(model(rng, dim), vectors, one, vectors)
    np.testing.assert_allclose(table, table.T, rtol=1e-7, atol=1e-7)


@both(seed=SEED, dim=st.integers(1, 4), count=st.integers(1, 4))
def scores_are_invariant_to_affine_maps_of_the_space(seed, dim, count):
    rng = np.random.default_rng(seed)
    mean, within, between = model(rng, dim)
    enrol, tests, counts = rng.normal(size=(3, dim)), rng.normal(size=(2, dim)), np.full(3, count)
    matrix = np.linalg.qr(rng.normal(size=(dim, dim)))[0] * rng.uniform(0.5, 2, dim)
    shift = rng.normal(size=dim)
    moved = matrix @ mean + shift, matrix @ within @ matrix.T, matrix @ between @ matrix.T
    np.testing.assert_allclose(scores(moved, enrol @ matrix.T + shift, counts, tests @ matrix.T + shift),
                               scores((mean, within, between), enrol, counts, tests), rtol=1e-6, atol=1e-6)


@both(seed=SEED, dim=st.integers(1, 3), count=st.integers(1, 4))
def scores_are_ratios_of_joint_gaussians(seed, dim, count):
    """log p(enrolment and test of one speaker) - log p(enrolment) - log p(test), several enrolment recordings too."""
    rng = np.random.default_rng(seed)
    mean, within, between = model(rng, dim)
    enrol, test = rng.normal(size=(count, dim)), rng.normal(size=(1, dim))

    def log_joint(vectors):
        n = len(vectors)
        covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        return scipy_stats.multivariate_normal(np.tile(mean, n), covariance).logpdf(vectors.ravel())

    expected = log_joint(np.concatenate([enrol, test])) - log_joint(enrol) - log_joint(test)
    found = scores((mean, within, between), enrol.mean(0, keepdims=True), np.array([count]), test)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6, atol=1e-6)


@both(seed=SEED, dim=st.integers(1, 4), speakers=st.integers(2, 6), utts=st.integers(1, 4))
def training_never_lowers_the_likelihood(seed, dim, speakers, utts):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(speakers), utts + (np.arange(speakers) == 0))
    vectors = rng.normal(size=(speakers, dim))[labels] + 0.7 * rng.normal(size=(len(labels), dim))
    _, history = plda_em.train(plda_em.accumulate(vectors, labels), 4)
    assert np.isfinite(history).all() and (np.diff(history) > -1e-8).all()


# ---------------------------------------------------------------- i-vectors

@both(seed=SEED, gaussians=st.integers(1, 3), dim=st.integers(1, 3), factors=st.integers(1, 4))
def i_vectors_are_the_mean_of_the_dense_posterior(seed, gaussians, dim, factors):
    """h ~ N(p e_1, I), frames of Gaussian i ~ N(M_i h, Sigma_i): L = I + sum N_i M_i' S_i^-1 M_i, from (C D, R) matrices."""
    rng = np.random.default_rng(seed)
    ubm = FullGmm.from_moments(rng.dirichlet(np.ones(gaussians)), rng.normal(size=(gaussians, dim)),
                               np.stack([np.eye(dim) * rng.uniform(0.5, 2) for _ in range(gaussians)]))
    extractor = IvectorExtractor.from_ubm(ubm, factors, [seed])
    count, first = rng.uniform(0, 5, (1, gaussians)), rng.normal(size=(1, gaussians, dim))
    estimator = Estimator(extractor, torch.device("cpu"))
    result = estimator.solve(estimator.terms(torch.tensor(count), torch.tensor(first)), slice(0, 1))
    loading = extractor.projections.reshape(-1, factors)
    precision = np.zeros((gaussians * dim, gaussians * dim))
    for i in range(gaussians):
        triangle = np.zeros((dim, dim))
        triangle[np.tril_indices(dim)] = extractor.inv_covars[i]
        precision[i * dim:(i + 1) * dim, i * dim:(i + 1) * dim] = triangle + np.tril(triangle, -1).T
    weighted = np.kron(np.diag(count[0]), np.eye(dim)) @ precision
    start = np.zeros(factors)
    start[0] = extractor.prior_offset
    dense = np.linalg.solve(np.eye(factors) + loading.T @ weighted @ loading, loading.T @ precision @ first.ravel() + start)
    np.testing.assert_allclose(result.mean.numpy()[0], dense - start, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------- scores

def drawn_scores(seed, n):
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 3 == 0
    return rng.normal(size=n) + 1.5 * target, target


@both(seed=SEED, n=st.integers(12, 60), scale=st.floats(0.01, 100), offset=st.floats(-50, 50))
def calibration_keeps_the_order_and_does_not_see_affine_maps(seed, n, scale, offset):
    values, target = drawn_scores(seed, n)
    trained = calibration.train(values[:, None], target, ("s",))
    found = trained.apply(values[:, None])
    if trained.weights[0] > 0:
        np.testing.assert_array_equal(np.argsort(found, kind="stable"), np.argsort(values, kind="stable"))
    other = scale * values + offset
    np.testing.assert_allclose(calibration.train(other[:, None], target, ("s",)).apply(other[:, None]), found, rtol=1e-4, atol=1e-4)


@both(seed=SEED, rows=st.integers(1, 4), cohort=st.integers(3, 12), top=st.integers(0, 12), scale=st.floats(0.01, 100), offset=st.floats(-50, 50))
def score_normalisation_does_not_see_affine_maps(seed, rows, cohort, top, scale, offset):
    """(score - mean) / deviation: the same after any rising affine map of all scores."""
    rng = np.random.default_rng(seed)
    table, score = rng.normal(size=(rows, cohort)), rng.normal(size=rows)
    top = 0 if top == 1 else top
    mean, deviation = moments(table.copy(), top)
    moved, wider = moments(scale * table + offset, top)
    np.testing.assert_allclose((scale * score + offset - moved) / wider, (score - mean) / deviation, rtol=1e-6, atol=1e-6)


@both(values=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 1.0, np.inf]), min_size=2, max_size=12), split=st.integers(1, 11))
def error_rates_stand_ties_and_infinities(values, split):
    """Shares between 0 and 1, the same in any order of the trials."""
    split = min(split, len(values) - 1)
    values, target = np.array(values), np.arange(len(values)) < split
    t, u = metrics.split(values, target)
    counts = metrics.error_counts(t, u, every_threshold=True)
    figures = metrics.eer_kaldi(t, u)[0], metrics.eer_interpolated(counts), metrics.eer_rocch(counts), metrics.min_dcf(counts, 0.1)[0]
    assert all(0 <= figure <= 1 for figure in figures)
    t, u = metrics.split(values[::-1], target[::-1])
    assert metrics.eer_rocch(metrics.error_counts(t, u)) == figures[2]


@both(vectors=arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-1e3, 1e3)), scale=st.floats(1e-3, 1e3))
def length_normalisation_does_not_see_the_length(vectors, scale):
    found = backend.length_normalise(vectors)
    large = np.linalg.norm(vectors, axis=1) > 1e-100
    np.testing.assert_allclose(np.linalg.norm(found[large], axis=1), np.sqrt(vectors.shape[1]))
    np.testing.assert_allclose(backend.length_normalise(scale * vectors)[large], found[large], rtol=1e-9, atol=1e-9)
    assert np.isfinite(found).all()

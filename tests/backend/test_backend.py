"""Transforms, enrolment and training of the back end, and the tools that train it and score with it."""

import json

import numpy as np
import pytest

from pyasp import kaldi
from pyasp.backend import model
from pyasp.backend.files import read_back_end, read_plda
from pyasp.backend.options import BackendTrainOptions, ScoreOptions
from pyasp.backend.scoring import SCORERS
from pyasp.backend.transforms import apply_transform, lda, length_normalise, pca
from pyasp.bin import score
from pyasp.core.errors import InputError


def speakers(generator, count=20, each=6, dim=8, noise=0.5):
    """Embeddings (N, D) with a large mean, and their speaker numbers."""
    labels = np.repeat(np.arange(count), each)
    means = generator.normal(size=(count, dim)) * np.linspace(1, 2, dim)
    return (10 + means[labels] + noise * generator.normal(size=(len(labels), dim))).astype(np.float32), labels


@pytest.fixture
def data():
    return speakers(np.random.default_rng(0))


def test_whitened_training_vectors_have_unit_covariance(data):
    vectors, _ = data
    white = apply_transform(pca(vectors, normalize_mean=True, normalize_variance=True), vectors)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(8), atol=1e-9)


def test_principal_axes(data):
    vectors, _ = data
    matrix = pca(vectors, dim=3)
    variances = np.var(vectors @ matrix.T, axis=0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(variances, np.linalg.eigvalsh(np.cov(vectors.T, bias=True))[::-1][:3], rtol=1e-5)


def test_lda_makes_the_within_class_covariance_unit_and_maximises_the_ratio(data):
    vectors, labels = data
    projected = apply_transform(lda(vectors, labels, 3), vectors)
    means = np.array([projected[labels == k].mean(axis=0) for k in range(20)])
    within = (projected - means[labels]).T @ (projected - means[labels]) / len(labels)
    between = (means.T * 6) @ means / len(labels)
    np.testing.assert_allclose(within, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=1e-6)
    one = np.array([vectors[labels == k].mean(axis=0) for k in range(20)])
    raw_within = (vectors - one[labels]).T @ (vectors - one[labels]) / len(labels)
    raw_between = (one - one.mean(axis=0)).T @ (one - one.mean(axis=0)) / 20
    best = np.sort(np.linalg.eigvals(np.linalg.solve(raw_within, raw_between)).real)[::-1][:3]
    np.testing.assert_allclose(np.diag(between), best, rtol=1e-4)


def test_length_normalisation():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [1e-8, 0.0]])
    np.testing.assert_allclose(np.linalg.norm(length_normalise(vectors), axis=1), [np.sqrt(2), 0, np.sqrt(2)])
    np.testing.assert_allclose(length_normalise(vectors, scaleup=False)[0], [0.6, 0.8])


def test_affine_and_linear_transforms():
    matrix, vectors = np.arange(6.0).reshape(2, 3), np.ones((4, 3))
    affine = np.column_stack([matrix, [7.0, 8.0]])
    linear = apply_transform(matrix, vectors)
    np.testing.assert_allclose(apply_transform(affine, vectors), linear + [7, 8])
    np.testing.assert_allclose(linear, [[3, 12]] * 4)
    with pytest.raises(InputError, match="2 x 3 for vectors of dimension 5"):
        apply_transform(matrix, np.ones((1, 5)))


def test_enrolment_orders(data):
    """normalised: process, average, normalise again; raw: average the embeddings, process once."""
    vectors, labels = data
    back_end = model.train(vectors, labels, BackendTrainOptions(), log=lambda line: None)
    members = [np.array([0, 1, 2]), np.array([5])]
    processed = back_end.process(vectors)
    normalised = model.enroll(back_end, vectors, members, "normalised")
    mean = processed[:3].mean(axis=0)
    np.testing.assert_allclose(normalised[0], mean * np.sqrt(8) / np.linalg.norm(mean))
    raw = model.enroll(back_end, vectors, members, "raw")
    np.testing.assert_allclose(raw[0], back_end.process(vectors[:3].astype(float).mean(axis=0)[None])[0])
    np.testing.assert_allclose(raw[1], processed[5], atol=1e-9)
    np.testing.assert_allclose(normalised[1], processed[5], atol=1e-9)
    assert np.abs(raw[0] - normalised[0]).max() > 1e-3


def accuracy(back_end, vectors, labels, options=ScoreOptions()):
    """How often the best-scoring other recording is of the same speaker."""
    processed, n = back_end.process(vectors), len(vectors)
    scorer = SCORERS[options.scoring](processed, np.ones(n, int), processed, back_end.plda, options)
    scores = scorer.pairs(*np.indices((n, n)).reshape(2, -1)).reshape(n, n) - 1e9 * np.eye(n)
    return np.mean(labels[scores.argmax(axis=1)] == labels)


@pytest.mark.parametrize(
    "options",
    [
        BackendTrainOptions(),
        BackendTrainOptions(whitening=False),
        BackendTrainOptions(lda_dim=5),
        BackendTrainOptions(whitening=False, lda_dim=5, lda_total_covariance_factor=0.1),
    ],
)
@pytest.mark.parametrize("scoring", ["plda", "cosine"])
def test_trained_back_end_tells_new_speakers_apart(data, options, scoring):
    back_end = model.train(*data, options, log=lambda line: None)
    fresh, labels = speakers(np.random.default_rng(1), 10, 4)
    assert back_end.plda.dim == (options.lda_dim or 8)
    assert accuracy(back_end, fresh, labels, ScoreOptions(scoring=scoring)) > 0.85


def test_lda_on_whitened_vectors_is_lda(data):
    a, b = (
        model.train(*data, BackendTrainOptions(whitening=w, lda_dim=4), log=lambda line: None) for w in (True, False)
    )
    found, expected = a.process(data[0]), b.process(data[0])
    np.testing.assert_allclose(found * np.sign((found * expected).sum(axis=0)), expected, atol=1e-4)


def test_fewer_vectors_than_dimensions(capsys):
    """12 vectors span 11 directions about their mean: the back end keeps these, says so, and still works."""
    vectors, labels = speakers(np.random.default_rng(2), 4, 3, dim=40, noise=0.1)
    back_end = model.train(vectors, labels, BackendTrainOptions())
    assert "reduced dimension: 12 training vectors vary in 11 of 40 directions" in capsys.readouterr().out
    assert back_end.transform.shape == (11, 40) and back_end.plda.dim == 11
    assert accuracy(back_end, vectors, labels) == 1.0


@pytest.mark.parametrize(
    "options", [BackendTrainOptions(), BackendTrainOptions(whitening=False), BackendTrainOptions(lda_dim=5)]
)
def test_singular_covariance(options):
    """A constant and a repeated dimension."""
    vectors, labels = speakers(np.random.default_rng(3))
    vectors[:, 0], vectors[:, 1] = 1.0, vectors[:, 2]
    back_end = model.train(vectors, labels, options, log=lambda line: None)
    assert back_end.plda.dim == (options.lda_dim or 6) and np.isfinite(back_end.process(vectors)).all()
    assert accuracy(back_end, vectors, labels) > 0.9


def test_recordings_of_a_speaker_that_are_all_equal():
    """No variation within speakers at all: EM shrinks it, and the floor keeps it invertible."""
    means = np.random.default_rng(4).normal(size=(30, 5)).astype(np.float32)
    back_end = model.train(
        np.repeat(means, 3, axis=0),
        np.repeat(np.arange(30), 3),
        BackendTrainOptions(plda_iters=200),
        log=lambda line: None,
    )
    assert all(np.isfinite(part).all() for part in (back_end.plda.mean, back_end.plda.transform, back_end.plda.psi))


@pytest.mark.parametrize(
    "labels, message", [([0, 0, 0], "1 speaker; expected at least 2"), ([0, 1, 2], "one recording for every speaker")]
)
def test_speakers_that_cannot_train_a_back_end(labels, message):
    with pytest.raises(InputError, match=message):
        model.check_speakers(np.array(labels), "utt2spk")


def test_single_recording_speakers_are_counted(capsys):
    model.check_speakers(np.array([0, 0, 1, 2]), "utt2spk")
    assert "4 recordings of 3 speakers, 2 speakers with one recording" in capsys.readouterr().out


def test_lda_dimension_is_checked(data):
    with pytest.raises(InputError, match="at most 8"):
        model.train(*data, BackendTrainOptions(lda_dim=9), log=lambda line: None)


def test_identical_embeddings():
    with pytest.raises(InputError, match="identical vectors"):
        model.train(np.ones((4, 3), np.float32), np.array([0, 0, 1, 1]), BackendTrainOptions())


# ---------------------------------------------------------------- the tools


@pytest.fixture
def corpus(tmp_path, data):
    """train.scp, utt2spk, eval.scp, model2utts, trials in a directory."""
    vectors, labels = data
    fresh, fresh_labels = speakers(np.random.default_rng(5), 6, 5)
    for name, rows in (("train", vectors), ("eval", fresh)):
        with kaldi.ArkWriter(tmp_path / f"{name}.ark", tmp_path / f"{name}.scp") as ark:
            for k, row in enumerate(rows):
                ark.write(f"{name}{k:03}", row)
    (tmp_path / "utt2spk").write_text("".join(f"train{k:03} s{label:02}\n" for k, label in enumerate(labels)))
    models = {f"m{s}-{n}": [f"eval{5 * s + k:03}" for k in range(n)] for s in range(6) for n in (1, 2, 3)}
    (tmp_path / "model2utts").write_text("".join(f"{m} {' '.join(u)}\n" for m, u in sorted(models.items())))
    lines = [
        f"{m} eval{5 * t + k:03} {'target' if m[1] == str(t) else 'nontarget'}\n"
        for m in sorted(models)
        for t in range(6)
        for k in (3, 4)
    ]
    (tmp_path / "list").write_text("".join(lines))
    return tmp_path


def train_tool(corpus, *options, utt2spk="utt2spk"):
    return score.main(["train", *options, str(corpus / "train.scp"), str(corpus / utt2spk), str(corpus / "backend")])


def score_tool(corpus, *options, out="scores", trials="list", backend_dir="backend"):
    names = ("eval.scp", "model2utts", "eval.scp", backend_dir, trials, out)
    return score.main(["list", *options, *(str(corpus / name) for name in names)])


@pytest.mark.parametrize(
    "options", [(), ("--average=raw",), ("--scoring=cosine",), ("--num-utts=false", "--smoothing=0.1")]
)
def test_tools_train_and_score(corpus, options):
    assert train_tool(corpus) == 0 and score_tool(corpus, *options) == 0
    fields = [line.split() for line in (corpus / "scores").read_text().splitlines()]
    listed = [line.split() for line in (corpus / "list").read_text().splitlines()]
    assert [f[:2] for f in fields] == [t[:2] for t in listed]
    values, target = np.array([float(f[2]) for f in fields]), np.array([t[2] == "target" for t in listed])
    assert np.array_equal(np.load(corpus / "scores.f32.npy"), values.astype(np.float32))
    assert np.median(values[target]) > np.quantile(values[~target], 0.9)
    for name in ("scores", "backend/mean.vec", "backend/transform.mat", "backend/plda"):
        assert json.loads((corpus / f"{name}.made.json").read_text())["tool"] in ("score", "train_backend")


def test_scored_by_hand(corpus):
    """One trial of a model of three recordings, from the files on disk, in the order of the anchors."""
    assert train_tool(corpus) == 0 and score_tool(corpus) == 0
    mean, transform = (kaldi.load(str(corpus / "backend" / name)) for name in ("mean.vec", "transform.mat"))
    assert mean.dtype == np.float64 and transform.dtype == np.float32 and transform.shape == (8, 8)
    plda, reader = read_plda(corpus / "backend/plda"), kaldi.ScpReader(corpus / "eval.scp")

    def norm(x):
        return x * np.sqrt(8) / np.linalg.norm(x)

    u, v = (
        plda.transform @ (x - plda.mean)
        for x in (
            norm(np.mean([norm(transform @ (reader[f"eval00{k}"] - mean)) for k in range(3)], axis=0)),
            norm(transform @ (reader["eval004"] - mean)),
        )
    )
    u, v = u * np.sqrt(8 / np.sum(u**2 / (plda.psi + 1 / 3))), v * np.sqrt(8 / np.sum(v**2 / (plda.psi + 1)))
    shrink, given = 3 * plda.psi / (3 * plda.psi + 1), 1 + plda.psi / (3 * plda.psi + 1)
    expected = -0.5 * np.sum(np.log(given / (1 + plda.psi)) + (v - shrink * u) ** 2 / given - v**2 / (1 + plda.psi))
    found = next(line for line in (corpus / "scores").read_text().splitlines() if line.startswith("m0-3 eval004 "))
    assert float(found.split()[2]) == pytest.approx(expected, rel=1e-5)


def test_tools_skip_refuse_and_force(corpus, capsys):
    assert train_tool(corpus) == 0 and score_tool(corpus) == 0
    before = (corpus / "scores").stat().st_mtime_ns
    assert train_tool(corpus, "--smoothing=0.5") == 0 and score_tool(corpus) == 0  # scoring options train nothing anew
    assert (corpus / "scores").stat().st_mtime_ns == before
    capsys.readouterr()
    assert train_tool(corpus, "--plda-iters=3") == 1 and "--plda-iters: 10 -> 3" in capsys.readouterr().err
    assert train_tool(corpus, "--plda-iters=3", "--force=true") == 0
    assert score_tool(corpus) == 1 and "out-of-date" in capsys.readouterr().err
    assert score_tool(corpus, "--force=true") == 0 and (corpus / "scores").stat().st_mtime_ns != before


@pytest.mark.parametrize(
    "name, text, message",
    [
        (
            "list",
            "m0-1 eval003 target\nm0-1 nobody nontarget\n",
            "1 of 2 trials without an embedding: 1 ids (first: nobody)",
        ),
        ("list", "m0-1 eval003 target\nmx eval003 nontarget\n", "1 unknown models (first: mx)"),
        ("list", "m0-1 eval003 target\n", "every one of them target"),
        ("model2utts", "m0-1 nobody\n", "no utterances"),
    ],
)
def test_score_refuses(corpus, capsys, name, text, message):
    assert train_tool(corpus) == 0
    if name == "model2utts":
        (corpus / "list").write_text("m0-1 eval003 target\nm0-1 eval004 nontarget\n")
    (corpus / name).write_text(text)
    assert score_tool(corpus) == 1 and message in capsys.readouterr().err
    assert not (corpus / "scores").exists() and not (corpus / "scores.f32.npy").exists()


def test_embeddings_of_another_system(corpus, capsys):
    assert train_tool(corpus) == 0
    with kaldi.ArkWriter(corpus / "eval.ark", corpus / "eval.scp") as ark:
        for k in range(30):
            ark.write(f"eval{k:03}", np.ones(5, np.float32))
    assert score_tool(corpus) == 1
    assert "dimension 5; expected 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "vector, message", [(np.ones(7, np.float32), "shape (7,)"), (np.full(8, np.nan, np.float32), "8 values not finite")]
)
def test_bad_training_embedding_is_named(corpus, capsys, vector, message):
    with kaldi.ArkWriter(corpus / "train.ark", corpus / "train.scp") as ark:
        for k in range(120):
            ark.write(f"train{k:03}", vector if k == 77 else np.arange(8, dtype=np.float32) + k)
    assert train_tool(corpus) == 1
    error = capsys.readouterr().err
    assert "train077" in error and message in error and not (corpus / "backend/plda").exists()


def test_missing_training_embeddings(corpus, capsys):
    text = (corpus / "utt2spk").read_text()
    (corpus / "utt2spk").write_text(text + "zzz1 s00\nzzz2 s00\n")
    assert train_tool(corpus) == 1
    assert "no embedding for 2 of 122 utterances (first: zzz1, zzz2)" in capsys.readouterr().err
    assert train_tool(corpus, "--max-missing=0.02") == 0
    assert "done 120 of 122 training utterances, 2 failed" in capsys.readouterr().out


def test_back_end_files_that_do_not_belong_together(corpus):
    assert train_tool(corpus) == 0
    kaldi.save(corpus / "backend/transform.mat", np.eye(5, dtype=np.float32))
    with pytest.raises(InputError, match="do not belong together"):
        read_back_end(corpus / "backend")
    (corpus / "backend/plda").unlink()
    with pytest.raises(InputError, match="Run stage scores"):
        read_back_end(corpus / "backend")


def test_float_mean_and_affine_transform_are_read(corpus):
    """The same processing whether the mean is subtracted or sits in the offset column."""
    assert train_tool(corpus) == 0
    plain = read_back_end(corpus / "backend")
    vectors = np.array(list(kaldi.ScpReader(corpus / "eval.scp").values()))
    kaldi.save(corpus / "backend/mean.vec", np.zeros(8, np.float32))
    kaldi.save(corpus / "backend/transform.mat", np.column_stack([plain.transform, -plain.transform @ plain.mean]))
    np.testing.assert_allclose(read_back_end(corpus / "backend").process(vectors), plain.process(vectors), atol=1e-9)

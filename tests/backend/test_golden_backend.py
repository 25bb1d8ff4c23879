"""The back end against the real Kaldi: every case of the golden set's back-end stages, read from its manifest."""

import numpy as np
import pytest
from golden_cases import align_signs, cases, compare, compare_tables, path, read_scp_lines, single, table

from pyasp.backend import files, plda_em, scoring
from pyasp.backend.files import read_back_end, read_plda, write_plda
from pyasp.backend.options import ScoreOptions
from pyasp.backend.transforms import apply_transform, average_rows, global_mean, lda, length_normalise, pca

STAGES = (
    "mean",
    "subtract-mean",
    "length-norm",
    "pca",
    "lda",
    "transform",
    "plda-train",
    "plda-smooth",
    "plda-adapt",
    "speaker-mean",
    "plda-score",
    "cosine-score",
    "dense-score",
)


def groups(relative):
    """{first word: the other words} of a map file."""
    return {key: rest.split() for key, rest in read_scp_lines(relative).items()}


READERS = {
    "vectors": table,
    "enrol": table,
    "test": table,
    "scores": table,
    "mean": single,
    "transform": single,
    "plda": lambda p: read_plda(path(p)),
    "spk2utt": groups,
    "reco2utt": groups,
    "utt2spk": read_scp_lines,
    "num_utts": read_scp_lines,
    "trials": lambda p: [line.split() for line in path(p).read_text().splitlines()],
}


def rows(vectors, function):
    """Applies a function of an (N, D) array to a table of vectors."""
    return dict(zip(vectors, function(np.array(list(vectors.values()), np.float64))))


def stack(vectors, class2utts):
    """Vectors and class numbers of the utterances of a {class: utterances} map."""
    pairs = [(utt, number) for number, utts in enumerate(class2utts.values()) for utt in utts if utt in vectors]
    return np.array([vectors[utt] for utt, _ in pairs], np.float64), np.array([number for _, number in pairs])


def ivector_mean(roles, binary=False):
    if "spk2utt" not in roles:
        return {"mean": global_mean(np.array(list(roles["vectors"].values())))}
    keys = list(roles["vectors"])
    members = [np.array([keys.index(utt) for utt in utts]) for utts in roles["spk2utt"].values()]
    means = average_rows(np.array(list(roles["vectors"].values())), members)
    return {
        "vectors": dict(zip(roles["spk2utt"], means)),
        "num_utts": {key: len(utts) for key, utts in zip(roles["spk2utt"], members)},
    }


def subtract_global_mean(roles, subtract_mean=True):
    """`subtract_mean` speaks of the input's own mean; one that is given is always subtracted."""
    mean = roles.get("mean")
    return {"vectors": rows(roles["vectors"], lambda x: x - (subtract_mean * x.mean(axis=0) if mean is None else mean))}


def normalize_length(roles, scaleup=True, normalize=True):
    return {"vectors": rows(roles["vectors"], lambda x: length_normalise(x, scaleup) if normalize else x)}


def transform_vectors(roles):
    return {"vectors": rows(roles["vectors"], lambda x: apply_transform(roles["transform"], x))}


def est_pca(roles, read_vectors, dim=0, normalize_mean=False, normalize_variance=False):
    vectors = np.array(list(roles["vectors"].values()))
    return {
        "transform": pca(vectors, dim, normalize_mean, normalize_variance),
        "full_transform": pca(vectors, 0, normalize_mean, normalize_variance),
    }


def compute_lda(roles, dim, total_covariance_factor=0.0, covariance_floor=1e-6):
    vectors = roles["vectors"]
    _, labels = np.unique([roles["utt2spk"][utt] for utt in vectors], return_inverse=True)
    return {"transform": lda(np.array(list(vectors.values())), labels, dim, total_covariance_factor, covariance_floor)}


def compute_plda(roles, num_em_iters=10):
    model, history = plda_em.train(plda_em.accumulate(*stack(roles["vectors"], roles["spk2utt"])), num_em_iters)
    assert len(history) == num_em_iters + 1 and np.all(np.diff(history) > -1e-9)
    return {"plda": model}


def copy_plda(roles, smoothing):
    return {"plda": roles["plda"].smooth(smoothing)}


def adapt_plda(roles, within_covar_scale=0.3, between_covar_scale=0.7, mean_diff_scale=1.0):
    vectors = np.array(list(roles["vectors"].values()))
    return {"plda": plda_em.adapt(roles["plda"], vectors, within_covar_scale, between_covar_scale, mean_diff_scale)}


def score_trials(roles, make_scorer):
    models, tests = list(roles["enrol"]), list(roles["test"])
    arrays = [np.array(list(roles[role].values()), np.float64) for role in ("enrol", "test")]
    model_of, test_of = ({key: i for i, key in enumerate(keys)} for keys in (models, tests))
    pairs = np.array([(model_of[t[0]], test_of[t[1]]) for t in roles["trials"]])
    return {"scores": make_scorer(models, *arrays).pairs(pairs[:, 0], pairs[:, 1])}


def plda_scoring(roles, normalize_length=True, simple_length_normalization=False):
    options = ScoreOptions(normalize_length=normalize_length, simple_length_normalization=simple_length_normalization)

    def make(models, enrol, test):
        counts = np.array([int(roles["num_utts"][m]) if "num_utts" in roles else 1 for m in models])
        return scoring.plda_scorer(enrol, counts, test, roles["plda"], options)

    return score_trials(roles, make)


def dot_products(roles):
    return score_trials(roles, lambda models, enrol, test: scoring.dot_scorer(enrol, test))


def scoring_dense(roles, target_energy):
    vectors = {reco: np.array([roles["vectors"][utt] for utt in utts]) for reco, utts in roles["reco2utt"].items()}
    scores = (scoring.dense_scores(roles["plda"], each, target_energy) for each in vectors.values())
    return {"scores": dict(zip(vectors, scores))}


PROGRAMS = {
    "ivector-mean": ivector_mean,
    "ivector-subtract-global-mean": subtract_global_mean,
    "ivector-normalize-length": normalize_length,
    "transform-vec": transform_vectors,
    "ivector-transform": transform_vectors,
    "est-pca": est_pca,
    "ivector-compute-lda": compute_lda,
    "ivector-compute-plda": compute_plda,
    "ivector-copy-plda": copy_plda,
    "ivector-adapt-plda": adapt_plda,
    "ivector-plda-scoring": plda_scoring,
    "ivector-compute-dot-products": dot_products,
    "ivector-plda-scoring-dense": scoring_dense,
}


def run(step, roles):
    """Runs one program of a case; an option that its function does not know is an error."""
    return PROGRAMS[step["program"]](roles, **{key.replace("-", "_"): value for key, value in step["options"].items()})


def results_of(case):
    roles = {role: READERS[role](where) for role, where in case["inputs"].items()}
    for step in case.get("before", []):
        given = {role: roles[role] for role in step["inputs"]}
        roles[step["gives"]] = run(step, given)[step["gives"]]
    return run(case, roles)


def scores_of(where, trials):
    """The third column of a score file, whose first two are those of the trials."""
    lines = [line.split() for line in path(where).read_text().splitlines()]
    assert [line[:2] for line in lines] == [trial[:2] for trial in READERS["trials"](trials)]
    return [float(line[2]) for line in lines]


def compare_plda(case, result, reference):
    within, between = reference.covariances()
    parts = {"mean": reference.mean, "psi": reference.psi, "within": within, "between": between}
    for (block, expected), found in zip(parts.items(), (result.mean, result.psi, *result.covariances())):
        compare(case, found, expected, block=block)
    assert set(case["tolerance"]["blocks"]) == set(parts)


def compare_transform(case, result, reference):
    assert case["tolerance"]["up_to_sign"] == "rows"
    compare(case, align_signs(result, reference), reference)


def compare_counts(case, result, reference):
    assert list(result) == list(reference)
    assert {key: int(value) for key, value in result.items()} == {key: int(text) for key, text in reference.items()}


def compare_single(case, result, reference):
    compare(case, result, reference)


COMPARISONS = {  # (what the result is, output role) -> (reader of Kaldi's file, comparison)
    "mean": (single, compare_single),
    "transform": (single, compare_transform),
    "full_transform": (single, compare_transform),
    "plda": (READERS["plda"], compare_plda),
    "num_utts": (read_scp_lines, compare_counts),
    "vectors": (table, compare_tables),
}


@pytest.mark.parametrize("case", cases(*STAGES))
def test_golden_backend(case):
    result = results_of(case)
    for role, where in case["outputs"].items():
        if role == "scores":
            dense = isinstance(result["scores"], dict)
            reference = table(where) if dense else scores_of(where, case["inputs"]["trials"])
            (compare_tables if dense else compare)(case, result["scores"], reference)
        else:
            read, same = COMPARISONS[role]
            same(case, result[role], read(where))


def test_golden_back_end_stages_are_all_there():
    assert len(cases(*STAGES)) >= len(STAGES)


PLDA_FILES = sorted(
    {
        where
        for param in cases("plda-train", "plda-smooth", "plda-adapt")
        for where in param.values[0]["outputs"].values()
    }
)
PLDA_FORMATS = [param for param in cases("model-formats") if param.values[0]["program"] == "ivector-copy-plda"]


@pytest.mark.parametrize("where", PLDA_FILES)
def test_golden_plda_bytes(where, tmp_path):
    data = path(where).read_bytes()
    write_plda(tmp_path / "plda", read_plda(path(where)), data.startswith(b"\0B"))
    assert (tmp_path / "plda").read_bytes() == data


@pytest.mark.parametrize("case", PLDA_FORMATS)
def test_golden_plda_text(case, tmp_path):
    binary, text = read_plda(path(case["inputs"]["model"])), path(case["outputs"]["text"])
    write_plda(tmp_path / "from_binary", binary, binary=False)
    assert (tmp_path / "from_binary").read_bytes() == text.read_bytes()
    write_plda(tmp_path / "from_text", read_plda(text), binary=False)
    assert (tmp_path / "from_text").read_bytes() == text.read_bytes()
    for name in ("mean", "transform", "psi"):
        compare(case, getattr(binary, name), getattr(read_plda(text), name))


def test_golden_back_end_directory_of_kaldi(tmp_path):
    """mean.vec (text), an affine transform.mat and plda as Kaldi's programs leave them."""
    ready = {
        c.values[0]["outputs"]["vectors"]: c.values[0]
        for c in cases("length-norm")
        if {"mean", "transform"} <= set(c.values[0]["inputs"])
    }
    scored = [c.values[0] for c in cases("plda-score") if c.values[0]["inputs"]["test"] in ready]
    assert scored, "no case scores vectors that were mean-subtracted, transformed and length-normalised"
    for case in scored:
        made = ready[case["inputs"]["test"]]
        for name, where in (
            (files.MEAN, made["inputs"]["mean"]),
            (files.TRANSFORM, made["inputs"]["transform"]),
            (files.PLDA, case["inputs"]["plda"]),
        ):
            (tmp_path / name).write_bytes(path(where).read_bytes())
        back_end, vectors = read_back_end(tmp_path), table(made["inputs"]["vectors"])
        compare_tables(made, rows(vectors, back_end.process), table(made["outputs"]["vectors"]))

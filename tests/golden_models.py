"""Kaldi's GMM and i-vector programs, as the golden cases chain them, played by our library in float64.

A case names inputs (role -> file) and steps to run first (`before`), each of which makes or replaces a role. `roles`
plays the steps; nothing here knows a size, an option or a file name.
"""

from __future__ import annotations

import numpy as np
import stored_models
import torch
from golden_cases import compare, path, read_scp_lines, table

from pyasp.core.packed import unpack
from pyasp.features.stored import blocks
from pyasp.gmm.em import DiagStats, FullStats, UpdateOptions
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.posteriors import Alignment, DiagScorer, FullScorer, align
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.ivector.statistics import add_recording_stats
from pyasp.kaldi import read_gselect, read_posteriors

F64 = torch.float64
KINDS = {"<DiagGMM>": DiagGmm, "<FullGMM>": FullGmm, "<IvectorExtractor>": IvectorExtractor}


def _first_token(relative: str) -> str:
    return (path(relative).read_bytes()[:40].replace(b"\0B", b"").split() or [b""])[0].decode("latin-1")


def is_model(relative: str) -> bool:
    """Whether a file of the golden set is a GMM or an extractor, binary or text."""
    return path(relative).is_file() and _first_token(relative) in KINDS


def read_model(relative: str):
    """The model of a golden file, of the kind that its first token says."""
    return stored_models.read(KINDS[_first_token(relative)], path(relative))


def joined(relative: str | list[str]) -> dict[str, np.ndarray]:
    """One table, or several read one after the other."""
    names = [relative] if isinstance(relative, str) else relative
    return {key: array for name in names for key, array in table(name).items()}


def dense_posteriors(relative: str) -> dict[str, list[dict[int, float]]]:
    """{utterance: per frame {Gaussian: posterior}} of a posterior table."""
    return {
        key: [dict(zip(gauss.tolist(), weight.tolist())) for gauss, weight in frames]
        for key, frames in read_posteriors(str(path(relative)))
    }


def alignment_of(frames: list[dict[int, float]]) -> Alignment:
    """Stored posteriors of one recording as pairs."""
    triples = [(t, gauss, weight) for t, frame in enumerate(frames) for gauss, weight in frame.items()]
    frame, gauss, weight = (np.array(column) for column in zip(*triples))
    return Alignment(torch.as_tensor(frame), torch.as_tensor(gauss), torch.as_tensor(weight, dtype=F64), 0.0)


def all_loglikes(model, x: torch.Tensor, dtype: torch.dtype = F64) -> torch.Tensor:
    """(T, C) log w_i N(x_t; m_i, S_i) of every Gaussian at the frames x (T, D)."""
    if isinstance(model, DiagGmm):
        return DiagScorer(model, dtype=dtype).loglikes(x)
    return FullScorer(model, dtype=dtype).loglikes(x, torch.arange(model.num_gauss).expand(len(x), -1))


def selection(model, feats: dict[str, np.ndarray], count: int) -> dict[str, torch.Tensor]:
    """{utterance: (T, n) int64} best Gaussians: by gmm-gselect, or fgmm-gselect."""
    if isinstance(model, DiagGmm):
        scorer = DiagScorer(model, dtype=F64)
        return {utt: scorer.select(torch.as_tensor(x), count)[1] for utt, x in feats.items()}
    count = min(count, model.num_gauss)
    return {utt: all_loglikes(model, torch.as_tensor(x)).topk(count, 1).indices for utt, x in feats.items()}


def gmm_stats(model, feats: dict[str, np.ndarray], gselect: dict[str, torch.Tensor] | None):
    """DiagStats or FullStats over the selected Gaussians, or over all."""
    stats = (DiagStats if isinstance(model, DiagGmm) else FullStats).zeros(model.num_gauss, model.dim)
    scorer = (DiagScorer if isinstance(model, DiagGmm) else FullScorer)(model, dtype=F64)
    for block in blocks(feats.items(), 1 << 16):
        if isinstance(model, FullGmm):
            every = torch.arange(model.num_gauss).expand(len(block.x), -1)
            chosen = every if gselect is None else torch.cat([gselect[utt] for utt in block.names])
            stats.accumulate(block.x, align(scorer.loglikes(block.x, chosen), chosen))
        else:
            stats.accumulate(block.x, scorer, gselect and Stored(gselect, block.names), 1)
    return stats


class Stored:
    """A selector that plays back selection lists."""

    def __init__(self, gselect: dict[str, torch.Tensor], names: list[str]):
        self.lists, self.at = torch.cat([gselect[utt] for utt in names]), 0

    def select(self, x: torch.Tensor, count: int) -> tuple[None, torch.Tensor]:
        """The lists of the next len(x) frames."""
        self.at += len(x)
        return None, self.lists[self.at - len(x) : self.at]


def recording_stats(
    extractor: IvectorExtractor, feats, posteriors, utts
) -> tuple[torch.Tensor, torch.Tensor, FullStats]:
    """Statistics of each utterance from stored posteriors, and those of all frames."""
    count = torch.zeros((len(utts), extractor.num_gauss), dtype=F64)
    first = torch.zeros((*count.shape, extractor.dim), dtype=F64)
    total = FullStats.zeros(extractor.num_gauss, extractor.dim)
    for u, utt in enumerate(utts):
        x, alignment = torch.as_tensor(feats[utt]), alignment_of(posteriors[utt])
        add_recording_stats(count[u : u + 1], first[u : u + 1], x, torch.zeros(len(x), dtype=torch.int64), alignment)
        total.accumulate(x, alignment)
    return count, first, total


def ivector_stats(extractor: IvectorExtractor, feats, posteriors, second: bool = True) -> IvectorStats:
    """E-step from stored posteriors. Without the second order Kaldi's objective takes the extractor's own variances."""
    count, first, total = recording_stats(extractor, feats, posteriors, list(feats))
    stats = IvectorStats.zeros(*extractor.projections.shape)
    stats.accumulate(Estimator(extractor), count, first)
    if not second:
        own = torch.as_tensor(np.linalg.inv(unpack(extractor.inv_covars)))
        spread = torch.einsum("uci,ucj->cij", first / count.clamp_min(1e-300)[:, :, None], first)
        total.second = total.count[:, None, None] * own + spread
    stats.add_frames(total, extractor)
    if not second:
        stats.second = stats.second[:0]
    return stats


def read_gselect_lists(relative: str) -> dict[str, torch.Tensor]:
    """{utterance: (T, n)} of a stored selection table."""
    return {
        utt: torch.as_tensor(np.stack([np.asarray(frame, np.int64) for frame in frames]))
        for utt, frames in read_gselect(str(path(relative)))
    }


READERS = {
    "feats": joined,
    "model": read_model,
    "diag_model": read_model,
    "selection_model": read_model,
    "ubm": read_model,
    "gselect": read_gselect_lists,
    "posteriors": dense_posteriors,
    "spk2utt": lambda name: {k: v.split() for k, v in read_scp_lines(name).items()},
}
STEPS = {
    "subset-feats": lambda options, feats: dict(list(feats.items())[: options["n"]]),
    "gmm-gselect": lambda options, model, feats: selection(model, feats, options["n"]),
    "sort-gselect": lambda options, gselect: {utt: lists.sort(1).values for utt, lists in gselect.items()},
    "fgmm-global-to-gmm": lambda options, model: model.to_diag(),
    "gmm-global-acc-stats": lambda options, model, feats, gselect=None: gmm_stats(model, feats, gselect),
    "fgmm-global-acc-stats": lambda options, model, feats, gselect=None: gmm_stats(model, feats, gselect),
    "ivector-extractor-acc-stats": lambda options, model, feats, posteriors: ivector_stats(
        model, feats, posteriors, options.get("update-variances", True)
    ),
}


def roles(case: dict) -> dict:
    """Every role of a case after its `before` steps. Unknown programs and roles are a KeyError, hence a failure."""
    values = {role: READERS[role](name) for role, name in case["inputs"].items() if role in READERS}
    for step in case.get("before", []):
        values[step["gives"]] = STEPS[step["program"]](step["options"], *(values[role] for role in step["inputs"]))
    return values


UPDATE_OPTIONS = {
    "min-gaussian-weight": "min_gaussian_weight",
    "remove-low-count-gaussians": "remove_low_count",
    "min-gaussian-occupancy": "min_gaussian_occupancy",
    "variance-floor": "variance_floor",
    "min-variance": "variance_floor",
    "max-condition": "max_condition",
    "update-flags": "update_flags",
}


def update_options(case: dict) -> UpdateOptions:
    """Options of gmm-global-est and fgmm-global-est; the programs' defaults differ in the occupancy."""
    least = {"gmm-global-est": 10.0, "fgmm-global-est": 100.0}[case["program"]]
    given = {UPDATE_OPTIONS[key]: value for key, value in case["options"].items()}
    return UpdateOptions(**{"min_gaussian_occupancy": least, **given})


def compare_gmm(case: dict, result, reference) -> None:
    """Constants, weights, means, and inverse (co)variances per Gaussian, within the case's tolerance."""
    compare(case, result.gconsts, reference.gconsts, "gconsts")
    compare(case, result.weights, reference.weights, "weights")
    compare(case, result.means, reference.means, "means")
    name = "inv_vars" if isinstance(reference, DiagGmm) else "inv_covars"
    for i, (found, wanted) in enumerate(zip(result.inverse, reference.inverse, strict=True)):
        compare(case, found, wanted, name, f"Gaussian {i}")


def compare_extractor(case: dict, result: IvectorExtractor, reference: IvectorExtractor) -> None:
    """M up to one sign per i-vector dimension but the first, Sigma_inv per Gaussian, and the prior's offset."""
    assert case["tolerance"]["up_to_sign"] in ("dims 2..d", "none")
    signs = np.sign((result.projections * reference.projections).sum((0, 1)))
    signs[0 if case["tolerance"]["up_to_sign"] != "none" else slice(None)] = 1.0
    compare(case, result.projections * signs, reference.projections, "M")
    for i, (found, wanted) in enumerate(zip(result.inv_covars, reference.inv_covars, strict=True)):
        compare(case, found, wanted, "sigma_inv", f"Gaussian {i}")
    compare(case, result.prior_offset, reference.prior_offset, "prior_offset")

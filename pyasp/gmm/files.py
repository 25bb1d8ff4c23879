"""Gaussian mixtures in Kaldi's files: <DiagGMM>, <FullGMM>, binary or text.

Readers raise InputError for a file that is missing, damaged, or of another kind; writers are atomic.
"""

from __future__ import annotations

import dataclasses
import os
from typing import IO, TypeVar

import numpy as np

from pyasp.core.errors import InputError
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.kaldi.reader import Reader, open_object
from pyasp.kaldi.writer import write_object

Gmm = TypeVar("Gmm", DiagGmm, FullGmm)
DAMAGED = "The model is damaged: make it again"


def check_finite(where: object, **arrays: np.ndarray) -> None:
    """Raises InputError naming the first array that holds NaN or infinity."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            found = f"{np.sum(~np.isfinite(array))} values that are not finite"
            raise InputError(where, found, "finite numbers", DAMAGED, item=f"<{name.upper()}>")


def stacked(path: object, token: str, arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays of one shape as one array (C, ...). Raises InputError when there is none, or the shapes differ."""
    if len({array.shape for array in arrays}) != 1:
        raise InputError(
            path, f"{len(arrays)} arrays of unequal shapes", "at least one, all alike", DAMAGED, item=token
        )
    return np.stack(arrays)


def _check_shape(where: object, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise InputError(where, f"{found}", f"shape {expected}", DAMAGED, item=f"<{name.upper()}>")


def _read_head(reader: Reader) -> tuple[np.ndarray | None, np.ndarray]:
    """The optional constants, and the weights."""
    gconsts = None
    if reader.expect("<GCONSTS>", "<WEIGHTS>") == "<GCONSTS>":
        gconsts = reader.vector(np.float32)
        reader.expect("<WEIGHTS>")
    return gconsts, reader.vector(np.float32)


def _with_stored_constants(model: Gmm, stored: np.ndarray | None) -> Gmm:
    """The model with the constants of the file where they are right (up to round-off), else with the computed ones."""
    if stored is None or stored.shape != model.gconsts.shape:
        return model
    right = np.isclose(stored, model.gconsts, rtol=1e-5, atol=1e-3)
    return dataclasses.replace(model, gconsts=np.where(right, stored, model.gconsts))


def read_diag(path: str | os.PathLike) -> DiagGmm:
    """A diagonal-covariance GMM."""
    with open_object(path) as reader:
        reader.expect("<DiagGMM>", "<DiagGMMBegin>")
        gconsts, weights = _read_head(reader)
        reader.expect("<MEANS_INVVARS>")
        linear = reader.matrix(np.float32)
        reader.expect("<INV_VARS>")
        inverse = reader.matrix(np.float32)
        reader.expect("</DiagGMM>", "<DiagGMMEnd>")
    _check_shape(path, "weights", weights.shape, linear.shape[:1])
    _check_shape(path, "inv_vars", inverse.shape, linear.shape)
    check_finite(path, weights=weights, means_invvars=linear, inv_vars=inverse)
    if not (inverse > 0).all():
        raise InputError(path, "a variance that is not positive", "positive variances", DAMAGED, item="<INV_VARS>")
    return _with_stored_constants(DiagGmm.from_natural(weights, linear, inverse), gconsts)


def read_full(path: str | os.PathLike) -> FullGmm:
    """A full-covariance GMM."""
    with open_object(path) as reader:
        reader.expect("<FullGMM>", "<FullGMMBegin>")
        gconsts, weights = _read_head(reader)
        reader.expect("<MEANS_INVCOVARS>")
        linear = reader.matrix(np.float32)
        reader.expect("<INV_COVARS>")
        packed = stacked(path, "<INV_COVARS>", [reader.packed(np.float32)[1] for _ in range(len(weights))])
        reader.expect("</FullGMM>", "<FullGMMEnd>")
    dim = linear.shape[1]
    _check_shape(path, "weights", weights.shape, linear.shape[:1])
    _check_shape(path, "inv_covars", packed.shape, (len(linear), dim * (dim + 1) // 2))
    check_finite(path, weights=weights, means_invcovars=linear, inv_covars=packed)
    return _with_stored_constants(FullGmm.from_natural(weights, linear, packed, path), gconsts)


def write_gmm(model: DiagGmm | FullGmm, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """Writes Kaldi's <DiagGMM> or <FullGMM>."""
    kind, covariances = ("DiagGMM", "VARS") if isinstance(model, DiagGmm) else ("FullGMM", "COVARS")
    with write_object(path, binary) as writer:
        writer.token(f"<{kind}>")
        writer.newline()
        writer.token("<GCONSTS>")
        writer.vector(model.gconsts)
        writer.token("<WEIGHTS>")
        writer.vector(model.weights)
        writer.token(f"<MEANS_INV{covariances}>")
        writer.matrix(model.means_invvars if isinstance(model, DiagGmm) else model.means_invcovars)
        writer.token(f"<INV_{covariances}>")
        if isinstance(model, DiagGmm):
            writer.matrix(model.inv_vars)
        else:
            for triangle in model.inv_covars:
                writer.packed(triangle)
        writer.token(f"</{kind}>")
        writer.newline()

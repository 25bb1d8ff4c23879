"""Gaussian mixtures in Kaldi's files: <DiagGMM>, <FullGMM>, binary or text.

Readers raise InputError for a file that is missing, damaged, or of another kind; writers are atomic.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import IO, TypeVar

import numpy as np

from pyasp.core.errors import InputError
from pyasp.gmm.model import DiagGmm, FullGmm, Gmm
from pyasp.kaldi.reader import Reader, open_object
from pyasp.kaldi.writer import write_object

Model = TypeVar("Model", bound=Gmm)
TOKENS: dict[type[Gmm], tuple[str, str]] = {DiagGmm: ("DiagGMM", "VARS"), FullGmm: ("FullGMM", "COVARS")}
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
        found, expected, cure = f"{len(arrays)} arrays of unequal shapes", "at least one, all alike", DAMAGED
        raise InputError(path, found, expected, cure, item=token)
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


def _with_stored_constants(model: Model, stored: np.ndarray | None) -> Model:
    """The model with the constants of the file where they are right (up to round-off), else with the computed ones."""
    if stored is None or stored.shape != model.gconsts.shape:
        return model
    right = np.isclose(stored, model.gconsts, rtol=1e-5, atol=1e-3)
    return dataclasses.replace(model, gconsts=np.where(right, stored, model.gconsts))


def read_diag(path: str | os.PathLike) -> DiagGmm:
    """A diagonal-covariance GMM."""
    return _read(path, DiagGmm, lambda reader, count: reader.matrix(np.float32))


def read_full(path: str | os.PathLike) -> FullGmm:
    """A full-covariance GMM."""

    def triangles(reader: Reader, count: int) -> np.ndarray:
        return stacked(path, "<INV_COVARS>", [reader.packed(np.float32)[1] for _ in range(count)])

    return _read(path, FullGmm, triangles)


def _read(path: str | os.PathLike, kind: type[Model], inverses: Callable[[Reader, int], np.ndarray]) -> Model:
    """A GMM of that kind; inverses: reads those of so many Gaussians."""
    name, form = TOKENS[kind]
    with open_object(path) as reader:
        reader.expect(f"<{name}>", f"<{name}Begin>")
        gconsts, weights = _read_head(reader)
        reader.expect(f"<MEANS_INV{form}>")
        linear = reader.matrix(np.float32)
        reader.expect(f"<INV_{form}>")
        inverse = inverses(reader, len(weights))
        reader.expect(f"</{name}>", f"<{name}End>")
    dim = linear.shape[1]
    _check_shape(path, "weights", weights.shape, linear.shape[:1])
    _check_shape(path, f"inv_{form}", inverse.shape, (len(linear), dim if kind is DiagGmm else dim * (dim + 1) // 2))
    check_finite(path, **{"weights": weights, f"means_inv{form}": linear, f"inv_{form}": inverse})
    if kind is DiagGmm and not (inverse > 0).all():
        raise InputError(path, "a variance that is not positive", "positive variances", DAMAGED, item=f"<INV_{form}>")
    return _with_stored_constants(kind.from_natural(weights, linear, inverse, path), gconsts)


def write_gmm(model: Gmm, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """Writes Kaldi's <DiagGMM> or <FullGMM>."""
    name, form = TOKENS[type(model)]
    with write_object(path, binary) as writer:
        writer.put(f"<{name}>", "<GCONSTS>", model.gconsts, "<WEIGHTS>", model.weights)
        writer.put(f"<MEANS_INV{form}>", model.linear, f"<INV_{form}>")
        if isinstance(model, DiagGmm):
            writer.matrix(model.inverse)
        else:
            for triangle in model.inverse:
                writer.packed(triangle)
        writer.token(f"</{name}>")

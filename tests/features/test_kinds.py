"""The table of kinds of features, and the tools and names that go with it."""

import importlib

import numpy as np
import pytest

from pyasp.bin import _stale
from pyasp.bundle.format import COMMON, OPTIONAL
from pyasp.features.frontend import FEATURE_TYPES
from pyasp.features.kinds import KINDS, MAKERS


def test_the_table_and_the_names_are_the_same_kinds():
    assert tuple(KINDS) == FEATURE_TYPES and tuple(_stale.MAKERS) == MAKERS
    assert set(COMMON + OPTIONAL) > {f"{kind}.conf" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_its_tool_and_computes(kind):
    options, extractor = KINDS[kind].options, KINDS[kind].extractor
    main = importlib.import_module(f"pyasp.bin.make_{kind}").main
    assert options.kind == kind and issubclass(main.options, options)
    made = extractor(options(dither=0.0))
    frames = made.compute(np.random.default_rng(0).normal(0, 1000, 16000))
    assert frames.shape == (98, made.dim) and np.isfinite(frames).all()

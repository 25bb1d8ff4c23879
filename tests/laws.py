"""Laws that hypothesis tries: each as a quick test and as one of many cases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

settings.register_profile("few", derandomize=True, deadline=None, max_examples=15)
MANY = settings(derandomize=True, deadline=None, max_examples=2000)
FEW = settings.get_profile("few")
SEED = st.integers(0, 2**32 - 1)
FLOATS = st.floats(-1e6, 1e6, width=32)


def both(**strategies):
    """A law as two tests of its name: with few examples by default, with many under the marker."""

    def decorate(law):
        few = FEW(given(**strategies)(lambda **drawn: law(**drawn)))
        many = MANY(given(**strategies)(lambda **drawn: law(**drawn)))
        law.__globals__[f"test_{law.__name__}"] = _test(few, law)
        law.__globals__[f"test_{law.__name__}_in_many_cases"] = pytest.mark.reliability(_test(many, law))
        return law

    return decorate


def _test(check, law):
    def run():
        check()

    run.__doc__ = law.__doc__
    return run

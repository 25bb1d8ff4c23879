"""The environment is the locked one: another version of a package is named with the pin and the cure."""

import importlib.metadata

import pytest

from pyasp.bin import check
from pyasp.core import environment
from pyasp.core.errors import InputError


def test_this_environment_is_the_pinned_one(capsys):
    assert check.main(["environment", "conf/requirements.txt"]) == 0
    assert "packages are of the pinned versions" in capsys.readouterr().err


def test_another_version_and_a_missing_package_are_named(tmp_path, capsys):
    installed = importlib.metadata.version("numpy")
    pins = tmp_path / "requirements.txt"
    pins.write_text(
        f"# chosen\nnumpy==1.0.0   # why\nno-such-package==3.1\ntqdm=={importlib.metadata.version('tqdm')}\n"
    )
    assert check.main(["environment", str(pins)]) == 1
    message = capsys.readouterr().err
    assert (
        f"2 packages of another version: numpy {installed} (pinned: 1.0.0), no-such-package none (pinned: 3.1)"
        in message
    )
    assert f"pip install -r {pins}" in message


def test_the_build_of_a_package_does_not_count(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert environment.installed("torch") == "2.13.0"


def test_every_requirement_is_pinned(tmp_path):
    (tmp_path / "r").write_text("numpy>=2\n")
    with pytest.raises(InputError, match="line 1: found 'numpy>=2'; expected name==version"):
        environment.pins(tmp_path / "r")
    for name in ("requirements.txt", "requirements-test.txt", "requirements-bench.txt"):
        assert environment.pins(f"conf/{name}") or "bench" in name

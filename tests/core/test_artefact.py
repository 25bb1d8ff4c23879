"""Complete or absent: atomic writes; a step is skipped only for the very same recipe."""

import json
import os
from dataclasses import dataclass

import pytest

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.options import option
from pyasp.core.records import describe, fingerprint, is_current, made_path, making


@dataclass(frozen=True)
class Options:
    size: int = option(1, "a size")
    force: bool = option(False, "make again")


def make(path, made, text="content"):
    with making(path, made) as temporary:
        temporary.write_text(text)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    target = tmp_path / "x"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        with atomic_write(target, "w") as stream:
            stream.write("half")
            raise RuntimeError
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["x"]


def test_same_recipe_is_skipped_and_changes_are_named(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("1")
    made = describe("tool", Options(), [source], seed=1)
    assert not is_current(target, made)
    make(target, made)
    assert is_current(target, describe("tool", Options(force=True), [source], seed=1))
    with pytest.raises(InputError, match="--size: 1 -> 2.*--force"):
        is_current(target, describe("tool", Options(2), [source], seed=1))
    with pytest.raises(InputError, match="seed: 1 -> 2"):
        is_current(target, describe("tool", Options(), [source], seed=2))
    source.write_text("2")
    changed = describe("tool", Options(), [source], seed=1)
    with pytest.raises(InputError, match="input .*in changed"):
        is_current(target, changed)
    assert is_current(target, changed, force=True) is False


def test_another_name_of_the_same_place_is_no_change(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/in").write_text("1")
    (tmp_path / "other").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "link")

    def recipe(root, more="x"):
        return describe("tool", {"root": str(root), "lists": [f"{root}/in", more]}, [f"{root}/in"])

    make(tmp_path / "out", recipe(tmp_path / "real"))
    monkeypatch.chdir(tmp_path)
    for name in ("real", "./real/", "other/../real", str(tmp_path / "link")):
        assert is_current("out", recipe(name))
    (tmp_path / "other/in").write_text("1")
    with pytest.raises(InputError, match="--lists: .*--root: .*real -> other; input other/in changed; input .*real/in"):
        is_current("out", recipe("other"))
    with pytest.raises(InputError, match="--lists: "):
        is_current("out", recipe("real", "y"))


def test_an_artefact_without_record_is_not_trusted(tmp_path):
    (tmp_path / "x").write_text("?")
    with pytest.raises(InputError, match="no record"):
        is_current(tmp_path / "x", describe("tool", Options(), []))


def test_inputs_carry_their_own_recipe(tmp_path):
    """The same bytes made with other options are another input: what follows is out of date."""
    for size in (1, 2):
        make(tmp_path / f"{size}", describe("tool", Options(size), []), "same bytes")
    first, second = fingerprint(tmp_path / "1"), fingerprint(tmp_path / "2")
    assert first.split()[0] == second.split()[0] and first != second


def test_versions_do_not_make_an_artefact_stale(tmp_path):
    make(tmp_path / "x", describe("tool", Options(), []))
    before = fingerprint(tmp_path / "x")
    record = json.loads(made_path(tmp_path / "x").read_text())
    record["versions"]["numpy"] = "0"
    made_path(tmp_path / "x").write_text(json.dumps(record))
    assert is_current(tmp_path / "x", describe("tool", Options(), [])) and fingerprint(tmp_path / "x") == before


def test_missing_input_and_damaged_record(tmp_path):
    with pytest.raises(InputError, match="absent: found no such file"):
        describe("tool", Options(), [tmp_path / "absent"])
    make(tmp_path / "x", describe("tool", Options(), []))
    made_path(tmp_path / "x").write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        is_current(tmp_path / "x", describe("tool", Options(), []))

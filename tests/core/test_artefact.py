"""Complete or absent: atomic writes; a step is skipped only for the very same recipe."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyasp.core import records
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write, whole_or_none
from pyasp.core.options import option
from pyasp.core.records import (
    ask,
    describe,
    digest_of,
    fingerprint,
    is_as_asked,
    is_current,
    made_path,
    making,
    with_beside,
)


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


def test_an_artefact_that_was_cut_or_replaced_is_not_taken_for_what_was_made(tmp_path, capsys):
    """Nor is it written over unasked: it may be somebody's own. Its recipe, and what was made from it, are as before."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("1")
    made = describe("tool", Options(), [source], seed=1)
    make(target, made)
    mark = fingerprint(target)
    target.write_text("cont")
    with pytest.raises(
        InputError, match="out: found 4 bytes; expected 7, as when it was made. Restore it, or delete it"
    ):
        is_current(target, made)
    assert target.read_text() == "cont" and not is_as_asked(target, "")
    assert not is_current(target, made, force=True) and "made again, since it had 4 bytes" in capsys.readouterr().err
    target.unlink()
    assert not is_current(target, made)
    make(target, made)
    assert is_current(target, made) and fingerprint(target) == mark
    record = json.loads(made_path(target).read_text())
    made_path(target).write_text(json.dumps({key: value for key, value in record.items() if key != "size"}))
    assert is_current(target, made) and fingerprint(target) == mark  # a record of an older release


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
    (tmp_path / "other/in").write_text("another")
    with pytest.raises(
        InputError, match="--lists: .*--root: .*real -> other; input other/in is new; input .*real/in is none now"
    ):
        is_current("out", recipe("other"))
    with pytest.raises(InputError, match="--lists: "):
        is_current("out", recipe("real", "y"))


@pytest.mark.parametrize(
    "name, again",
    [
        ("table", "another"),
        ("table", None),
        ("log", None),
        ("log", "another"),
        ("ark", None),
        ("ark", "a"),
        ("ark", "kra"),
    ],
)
def test_what_is_gone_beside_an_artefact_is_made_again_with_it(tmp_path, monkeypatch, capsys, name, again):
    """A table by its bytes; an archive, which would take long to read, by its size; what grows by being there."""
    monkeypatch.chdir(tmp_path)
    for each in ("in", "table", "ark", "log"):
        Path(each).write_text(each)
    recipe = describe("tool", {}, ["in"])
    monkeypatch.setenv("PYASP_ASKED", "digest out")
    make("out", with_beside(recipe, "table", sized={"ark": 3}, there=["log"]))
    assert is_current("out", recipe) and is_as_asked("out", "digest")
    Path(name).write_text(again) if again else Path(name).unlink()
    whole = (name, again) in (("log", "another"), ("ark", "kra"))
    capsys.readouterr()
    assert is_current("out", recipe) == is_as_asked("out", "digest") == whole
    assert (f"out: made again, since {name} beside it is gone or another" in capsys.readouterr().err) != whole


def test_a_directory_that_moved_has_the_inputs_that_it_had(tmp_path, monkeypatch):
    """The same bytes, made by the same recipe, under another folder: nothing is made again."""
    monkeypatch.chdir(tmp_path)
    Path("exp").mkdir()
    Path("given").write_text("1")
    make("exp/part", describe("tool", {}, ["given"]))
    for name in ("test", "enroll"):  # of the same name and the same bytes
        (Path("exp") / name).mkdir()
        (Path("exp") / name / "utt2dur").write_text("1")
    inputs = ["part", "test/utt2dur", "enroll/utt2dur"]
    make("exp/out", describe("tool", {}, [f"exp/{name}" for name in inputs]))
    Path("exp").rename("moved")
    assert is_current("moved/out", describe("tool", {}, [f"moved/{name}" for name in inputs]))
    make("moved/part", describe("tool", {"a": 1}, ["given"]))
    with pytest.raises(InputError, match="input exp/part is none now; input moved/part is new"):
        is_current("moved/out", describe("tool", {}, [f"moved/{name}" for name in inputs]))


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """`out`, asked for by a command and made from `part`, which lies below its directory, and that from `in`."""
    monkeypatch.chdir(tmp_path)
    for name in ("in", "conf", "elsewhere"):
        (tmp_path / name).write_text("1")
    (tmp_path / "made/parts").mkdir(parents=True)
    words = ["tool", "x.log", "--config", "conf", "made/out"]
    monkeypatch.setenv("PYASP_ASKED", f"{digest_of('made/out', words)} made/out")
    make("made/parts/1", describe("tool", Options(), ["in"]))
    make("made/out", describe("merge", {}, ["made/parts/1", "elsewhere"]))
    return words


def test_what_the_same_command_left_is_known_to_be_up_to_date(asked, capsys):
    Path("x.log").write_text("a log is no input")
    assert ask("made/out", asked) == 0 and "made/out: up to date" in capsys.readouterr().err
    assert "asked" in json.loads(made_path("made/out").read_text())
    assert "asked" not in json.loads(made_path("made/parts/1").read_text())


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("conf").write_text("2"),
        lambda: Path("in").write_text("2"),
        lambda: Path("elsewhere").write_text("2"),
        lambda: Path("in").unlink(),
        lambda: Path("made/out").unlink(),
        lambda: Path("made/parts/1").unlink(),
        lambda: made_path("made/out").unlink(),
        lambda: made_path("made/out").write_text("{"),
        lambda: make("made/parts/1", describe("tool", Options(2), ["in"])),
    ],
)
def test_a_command_is_run_where_anything_changed(asked, capsys, change):
    change()
    assert ask("made/out", asked) == 1
    assert capsys.readouterr().out == f"{digest_of('made/out', asked)} made/out\n"


def test_another_command_or_other_code_is_another_question(asked, tmp_path, monkeypatch):
    assert ask("made/out", [*asked, "--force"]) == 1
    shutil.copytree(Path(records.__file__).parents[1], tmp_path / "code")
    monkeypatch.setattr(records, "__file__", str(tmp_path / "code/core/records.py"))
    assert ask("made/out", asked) == 0
    (tmp_path / "code/gmm/em.py").write_text("")
    assert ask("made/out", asked) == 1


def test_a_command_that_finds_its_artefact_up_to_date_is_known_from_then_on(asked, monkeypatch):
    """The record says so, and stays what it is for whatever was made from the artefact."""
    before, words = fingerprint("made/out"), [*asked, "--nothing-new"]
    monkeypatch.setenv("PYASP_ASKED", f"{digest_of('made/out', words)} made/out")
    assert is_current("made/out", describe("merge", {}, ["made/parts/1", "elsewhere"]))
    assert ask("made/out", words) == 0 and fingerprint("made/out") == before


def test_the_question_waits_for_no_library(asked):
    code = (
        "import runpy, sys; sys.argv[1:] = sys.argv[2:]\n"
        "try: runpy.run_module('pyasp.core.records', run_name='__main__')\n"
        "except SystemExit as request: print(request.code, {'numpy', 'torch', 'lhotse', 'scipy'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", code, "-", "made/out", *asked]
    root = str(Path(records.__file__).parents[2])
    done = subprocess.run(run, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": root})
    assert done.stdout == "0 set()\n", done.stderr


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
    for text, told in (
        ("{", "broken JSON"),
        ('{"inputs": []}', "no objects"),
        ('{"inputs": {"a": {}}}', "without its digest"),
        ('{"beside": {"b": 1}}', "without its digest"),
    ):
        made_path(tmp_path / "x").write_text(text)
        with pytest.raises(InputError, match=told):
            is_current(tmp_path / "x", describe("tool", Options(), []))


def test_what_a_block_wrote_goes_again_where_it_fails_and_nothing_else(tmp_path):
    (tmp_path / "o/old").mkdir(parents=True)
    (tmp_path / "o/kept").write_text("before")
    with pytest.raises(ValueError, match="half way"), whole_or_none(tmp_path / "o"):
        for name in ("new", "kept", "sub/new", "old/new"):
            with atomic_write(tmp_path / "o" / name, "w") as stream:
                stream.write("after")
        (tmp_path / "o/of another process").touch()
        raise ValueError("half way")
    assert sorted(str(path.relative_to(tmp_path / "o")) for path in (tmp_path / "o").rglob("*") if path.is_file()) == [
        "kept",
        "of another process",
    ]
    assert not (tmp_path / "o/sub").exists()
    with whole_or_none(tmp_path / "p"), atomic_write(tmp_path / "p/new"):
        pass
    assert (tmp_path / "p/new").is_file()

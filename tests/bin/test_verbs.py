"""The one command: its list of verbs, mistakes, switches, and completion that follows the declarations."""

import importlib
import inspect
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import shtab

from pyasp import __main__ as verbs
from pyasp.bin import completion
from pyasp.core.command import command, one_of, parse
from pyasp.core.options import option, option_fields

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_every_verb_is_listed_with_a_line_of_its_own(capsys):
    assert verbs.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for path in (ROOT / "pyasp/bin").glob("[a-z]*.py"):
        (line,) = (line for line in lines if line.split()[:1] == [path.stem])
        assert len(line.split()) > 2 and len(line) <= 120
    for group in verbs.GROUPS.values():
        assert set(group) <= set(verbs.verb_lines())


def test_a_wrong_verb_names_the_near_one(capsys):
    assert verbs.main(["shwo"]) == 2 and "did you mean show" in capsys.readouterr().err
    assert verbs.main([]) == 2
    assert verbs.main(["--version"]) == 0 and "pyasp" in capsys.readouterr().out


def examples():
    """(main, the lines of the example that ends its help) of every verb and action."""
    for verb in verbs.verb_lines():
        main = importlib.import_module(f"pyasp.bin.{verb}").main
        for each in getattr(main, "actions", {"": main}).values():
            told = inspect.cleandoc(each.__doc__).partition("\n\nExample, after ./run.sh:\n")[2]
            yield pytest.param(verb, each, [line.strip() for line in told.splitlines()], id=f"{verb}-{each.__name__}")


@pytest.mark.parametrize("verb, main, lines", list(examples()))
def test_help_ends_with_an_example_that_can_be_parsed(verb, main, lines, capsys):
    assert lines and lines[-1].startswith(f"pyasp {verb} ")
    assert main(["--help"]) == 0 and capsys.readouterr().out.rstrip().endswith(lines[-1])
    words = [word for word in shlex.split(lines[-1].partition(" > ")[0].partition(" || ")[0])[2:]]
    parse(main.options, [word for word in words if word != "--"])  # an unknown option or a wrong value is raised


@pytest.mark.parametrize("words", ["pyasp --help", "pyasp.bin.make_mfcc --help"])
def test_help_that_nobody_reads_is_no_error(words):
    result = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m {words} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        env=ENV,
    )
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_help_of_the_command_and_of_the_verbs_for_people_imports_no_large_library():
    people = [*(verb for group in verbs.GROUPS.values() for verb in group), "report"]
    code = (
        f"import sys; from pyasp.__main__ import main; main(['--help']); [main([verb, '--help']) for verb in {people}]; "
        "print({'torch', 'lhotse', 'scipy', 'matplotlib', 'soundfile'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV)
    assert done.stdout.endswith("set()\n"), done.stdout[-200:] + done.stderr
    assert all(f"usage: pyasp {verb}" in done.stdout for verb in people)


def test_scoring_waits_for_no_torch():
    code = (
        "import sys, numpy as np; from pyasp.bin import score; from pyasp.backend.scoring import dot_scorer; "
        "print(*dot_scorer(np.eye(2), np.eye(2)).pairs(np.arange(2), np.arange(2)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV)
    assert done.stdout == "1.0 1.0 False\n", done.stderr[-300:]


@dataclass(frozen=True)
class Options:
    flag: bool = option(False, "a switch")
    name: str = option("x", "a word")


@command(Options, "ENROL...", "--", "TEST...", failure=7)
def tool(options, enrol, test):
    """Prints what it was given."""
    if options.name == "bad":
        raise OSError("no good")
    print(options.flag, enrol, test)


@pytest.mark.parametrize(
    "argv, said",
    [
        (["a", "b"], "False ['a'] ['b']"),
        (["--flag", "a", "b", "c"], "True ['a', 'b'] ['c']"),
        (["a", "b", "--flag"], "True ['a'] ['b']"),
        (["--flag", "false", "a", "b"], "False ['a'] ['b']"),
        (["a", "--", "b", "--flag"], "True ['a'] ['b']"),
        (["--name", "y", "a", "--", "b", "--name=z", "./--c"], "False ['a'] ['b', './--c']"),
        (["--flag=true", "a", "--", "b"], "True ['a'] ['b']"),
    ],
)
def test_switches_and_the_double_dash(capsys, argv, said):
    assert tool(argv) == 0 and capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize(
    "argv, code",
    [(["a"], 2), (["a", "--"], 2), (["--", "a"], 2), (["--name", "bad", "a", "b"], 7), (["a", "--", "b", "--c"], 7)],
)
def test_mistakes_and_the_exit_code_of_failures(argv, code, capsys):
    assert tool(argv) == code and "error:" in capsys.readouterr().err


@dataclass(frozen=True)
class Others:
    name: str = option("y", "of the other command")


@command(Others, "WORD", action="second")
def second(options, word):
    """Prints its option."""
    print(options.name, word)


def test_a_verb_of_several_commands_keeps_their_options_apart(capsys):
    several, by_words = one_of(first=tool, second=second), one_of(lambda words: "second", first=tool, second=second)
    assert several(["second", "a"]) == by_words(["a"]) == 0 and capsys.readouterr().out == "y a\ny a\n"
    assert several(["second", "--flag", "a"]) == 1 and "unknown option --flag" in capsys.readouterr().err
    assert several(["third", "a"]) == 2 and "'third'; expected first or second" in capsys.readouterr().err
    assert several([]) == 2 and several(["first", "a"]) == 2
    assert several(["--help"]) == 0 and {"flag", "name"} == {key for key in option_fields(several.options)}
    assert "ENROL..." in (told := capsys.readouterr().out) and "second [--config=FILE]" in told and "--flag" not in told
    assert (
        several(["second", "--help"]) == by_words(["--help"]) == 0 and "of the other command" in capsys.readouterr().out
    )


@pytest.fixture(scope="module")
def parser():
    return completion.parser()


def complete(script, *words):
    """What bash would offer for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    ask = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        f"$(complete -p pyasp | sed 's/.*-F \\([^ ]*\\).*/\\1/') pyasp '{words[-1]}' '{words[-2]}'; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()


def test_bash_completes_verbs_options_values_and_files(parser):
    script = shtab.complete(parser, "bash")
    assert complete(script, "pyasp", "sho") == ["show"]
    assert "--text" in complete(script, "pyasp", "show", "--te")
    assert complete(script, "pyasp", "score", "--scoring", "c") == ["cosine"]
    assert complete(script, "pyasp", "score", "--scoring", "") == ["plda", "cosine", "auto"]
    assert complete(script, "pyasp", "show", "pyproj") == ["pyproject.toml"]


def test_completion_knows_every_declared_option(parser):
    zsh = shtab.complete(parser, "zsh")
    for verb in verbs.verb_lines():
        declared = importlib.import_module(f"pyasp.bin.{verb}").main.options
        assert all(f"--{key}[" in zsh for key in ("config", "help", *option_fields(declared))), verb


def test_an_unknown_shell_is_told(capsys):
    assert completion.main(["fish"]) == 1 and "bash or zsh" in capsys.readouterr().err


END = """
import atexit, gc, sys
collected = []
gc.callbacks.append(lambda phase, info: collected.append(phase))
atexit.register(lambda: print(int(gc.isenabled()), len(gc.get_objects()), len(collected), file=sys.stderr))
"""


def test_a_tool_does_not_look_for_garbage_in_what_it_imports_or_leaves(tmp_path):
    """But in what its main makes; a program that imports ours stays as it is."""
    (tmp_path / "sitecustomize.py").write_text(END)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    found = []
    for words in (["pyasp.bin.show", "--help"], ["pyasp", "show", "--help"], None):
        command = [sys.executable, *(["-m", *words] if words else ["-c", "import pyasp.bin.show"])]
        result = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
        assert result.returncode == 0, result.stderr
        found.append(tuple(map(int, result.stderr.split())))
    tools, (enabled, left, collected) = found[:2], found[2]
    assert all(on and objects < 100 and times < min(60, collected / 2) for on, objects, times in tools), found
    assert enabled and left >= 100, found

"""Options: precedence, types, errors that list what is known, generated help."""

import gc
import weakref
from dataclasses import dataclass

import pytest

from pyasp.core.command import command, parse
from pyasp.core.conf import read_conf, write_conf
from pyasp.core.errors import InputError
from pyasp.core.options import Count, Fraction, Part, Positive, Share, check_options, option, picked, subset


@dataclass(frozen=True)
class Base:
    num_gauss: int = option(8, "number of Gaussians")
    scale: float = option(0.5, "a factor")


@dataclass(frozen=True)
class Options(Base):
    kind: str = option("a", "a choice", choices=("a", "b"))
    flag: bool = option(False, "a switch")
    lists: tuple[str, ...] = option((), "repeatable")


@command(Options, "DATA", "[KEY]")
def tool(options, data, key):
    """Prints what it was given."""
    print(options, data, key)


def test_precedence_is_default_conf_command_line(tmp_path):
    conf = tmp_path / "x.conf"
    conf.write_text("--num-gauss=16  # why\n\n# a comment\n--scale=2\n--lists=p\n--lists=q\n")
    options, words = parse(Options, ["--config", str(conf), "--num-gauss=32", "in", "--flag", "true"])
    assert (options, words) == (Options(32, 2.0, "a", True, ("p", "q")), ["in"])


@pytest.mark.parametrize(
    "error", [lambda: InputError("here", "x", "y", "z"), lambda: FileNotFoundError(2, "none", "f"), MemoryError]
)
def test_what_a_refused_tool_held_is_given_back_at_once(error):
    """Its threads that read ahead end with it, not where the garbage collector finds them."""
    held = []

    @command(Options)
    def refuse(options):
        """Holds something, and refuses."""
        something = set()
        held.append(weakref.ref(something))
        raise error()

    gc.disable()
    try:
        assert refuse([]) == 1 and held[0]() is None
    finally:
        gc.enable()


def test_conf_round_trip(tmp_path):
    options = Options(3, 0.25, "b", True, ("x", "y"))
    write_conf(tmp_path / "o.conf", options)
    assert read_conf(tmp_path / "o.conf", Options) == options


@dataclass(frozen=True)
class Bounded:
    count: Count = option(1, "at least one")
    rate: Positive = option(0.1, "more than nothing")
    part: Part = option(0.0, "below one")
    fraction: Fraction = option(1.0, "some of all")
    share: Share = option(0.5, "any part")


@pytest.mark.parametrize(
    "word, expected",
    [
        ("--count=0", "at least 1"),
        ("--rate=0", "more than 0"),
        ("--part=1", r"a number in \[0, 1\)"),
        ("--part=-0.1", r"a number in \[0, 1\)"),
        ("--fraction=0", r"a number in \(0, 1\]"),
    ],
)
def test_numbers_lie_in_the_interval_of_their_type(tmp_path, word, expected):
    key, value = word.split("=")
    (tmp_path / "x.conf").write_text(f"{word}\n")
    with pytest.raises(InputError, match=f"x.conf:1: {key}: found {value}; expected {expected}. Correct {key}"):
        read_conf(tmp_path / "x.conf", Bounded)
    with pytest.raises(InputError, match=f"command line: {key}"):
        parse(Bounded, [word])
    with pytest.raises(InputError, match=f"here: {key}"):
        check_options(Bounded(**{key[2:]: float(value)}), "here")


def test_a_percentage_is_told_to_be_a_fraction():
    with pytest.raises(InputError, match=r"--share: found 20; expected 0 to 1. Give a fraction: 0.2 is a fifth"):
        parse(Bounded, ["--share=20"])


def test_stored_values_are_picked_and_checked():
    assert picked({"num_gauss": 3, "lists": ["x"], "other": 1}, Options, "a record") == Options(3, lists=("x",))
    for value in (0, "many", None):
        with pytest.raises(InputError, match="a record: --count: found .*expected at least 1"):
            picked({"count": value}, Bounded, "a record")


def test_the_ends_of_an_interval_are_in_it_where_it_is_closed():
    assert parse(Bounded, ["--count=1", "--part=0", "--fraction=1"])[0] == Bounded()


def test_subset_picks_the_fields_of_a_class():
    assert subset(Options(5, 0.75), Base) == Base(5, 0.75)


@pytest.mark.parametrize(
    "line, message",
    [
        ("--num-gaus=3", "unknown option --num-gaus.*Did you mean --num-gauss\\?"),
        ("--num-gauss=three", "found 'three'; expected integer"),
        ("--flag=yes", "true or false|true.false"),
        ("--kind=c", "expected a or b"),
        ("num-gauss=3", "expected --key=value"),
        ("--num-gauss", "expected --key=value"),
        ("--num-gauss=3\n--num-gauss=4", "a second time"),
    ],
)
def test_bad_conf_lines_name_file_and_line(tmp_path, line, message):
    conf = tmp_path / "x.conf"
    conf.write_text(line + "\n")
    with pytest.raises(InputError, match=message) as error:
        read_conf(conf, Options)
    assert "x.conf:" in str(error.value)


def test_values_are_not_evaluated(tmp_path):
    options, _ = parse(Options, ["--lists=$(touch evil)", "--lists", "__import__('os')"])
    assert options.lists == ("$(touch evil)", "__import__('os')")


@pytest.mark.parametrize(
    "argv, code, message",
    [
        ([], 2, "DATA is missing"),
        (["d", "k", "extra"], 2, "unexpected argument 'extra'"),
        (["--num-gauss"], 2, "--num-gauss: expected one argument"),
        (["--nothing=1", "d"], 1, "unknown option --nothing"),
        (["--config=absent.conf", "d"], 1, "absent.conf"),
    ],
)
def test_mistakes_give_one_message_and_a_code(capsys, argv, code, message):
    assert tool(argv) == code
    assert message in capsys.readouterr().err


def test_optional_words_and_help(capsys):
    assert tool(["d"]) == 0 and "d None" in capsys.readouterr().out
    assert tool(["d", "k"]) == 0 and "d k" in capsys.readouterr().out
    assert tool(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Prints what it was given." in text and "--kind <a|b>" in text and "[default: 0.5]" in text
    assert "(none)" not in text


def test_options_stand_under_the_class_that_declares_them(capsys):
    @dataclass(frozen=True)
    class Base:
        """What all share; and no more."""

        dull: str = option("", "last")

    @dataclass(frozen=True)
    class Own(Base):
        """What this one
        does. In two sentences."""

        keen: int = option(1, "first")

    assert command(Own)(lambda options: None)(["--help"]) == 0
    heads = "What this one does:", "--keen", "What all share:", "--dull", "of every tool:", "--config FILE"
    text = capsys.readouterr().out
    assert [text.index(head) for head in heads] == sorted(text.index(head) for head in heads)

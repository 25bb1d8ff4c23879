"""A tool's command line: from declared options and positional words to a `main` with exit codes, through argparse.

The command line reads `--key=value` or `--key value`; `--config=FILE` reads a conf file. A true|false option may stand
alone, which means true. Precedence: default < conf file < command line. Help is generated from the declarations.
"""

import argparse
import atexit
import dataclasses
import functools
import gc
import inspect
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyasp.core.conf import conf_values, value_text
from pyasp.core.costs import record_costs
from pyasp.core.errors import InputError, lacks_memory, note_rerun, refusal, too_little_memory
from pyasp.core.options import KINDS, REPEATABLE, T, option_fields, option_types, value_of

CLOSED_PIPE = 141  # what a shell says of a program that a closed pipe ended (128 + SIGPIPE)


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Of a tool that has none of its own."""


class UsageError(Exception):
    """A mistake on the command line: printed with the tool's usage, exit code 2."""


class Parser(argparse.ArgumentParser):
    """The options of a tool; what is wrong is raised, and help may go to a reader that has gone away."""

    def error(self, message: str) -> Any:
        """Raises UsageError, where argparse would end the process."""
        raise UsageError(message)

    def print_help(self, file: Any = None) -> None:
        """On standard output, whatever `file` is."""
        print_help(self.format_help())


def parser_of(cls: type, names: tuple[str, ...] = (), doc: str | None = "", tool: str = "") -> Parser:
    """A parser of the declared options; positional words, which it does not know, are bound by `_bind`.

    Options stand under the first sentence of the class that declares them, inherited ones last. A last paragraph of doc
    that begins with "Example" stands at the end of the help.
    """
    width = min(120, shutil.get_terminal_size((120, 24)).columns)  # 120: what a file gets, too
    text, heading, example = inspect.cleandoc(doc or "").partition("\n\nExample")
    parser = Parser(
        usage=f"{tool} [--config=FILE] [--option=value ...] {' '.join(names)}",
        description=text,
        epilog=(heading + example).lstrip() or None,
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=32, width=width),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    declared = {cls: dict[str, dataclasses.Field](), **{base: {} for base in cls.__mro__}}
    for key, field in option_fields(cls).items():
        declared[next(base for base in cls.__mro__ if field.name in inspect.get_annotations(base))][key] = field
    groups = {base: fields for base, fields in declared.items() if fields}
    for base, fields in groups.items():
        title = re.split(r"[.;](?:\s|$)", " ".join((base.__doc__ or "options").split()))[0]
        _add_options(parser.add_argument_group(title if len(groups) > 1 else "options"), cls, fields)
    every = parser.add_argument_group("of every tool")
    every.add_argument("--config", action="append", metavar="FILE", help="file of options")
    every.add_argument("--help", action="help", help="what it does, and its options")
    return parser


def _add_options(group: Any, cls: type, fields: dict[str, dataclasses.Field]) -> None:
    """Options of a class as arguments of argparse; a default that says nothing is not shown."""
    for key, field in fields.items():
        kind = option_types(cls)[field.name]
        choices, default = field.metadata["choices"], field.default
        shown = " ".join(default) if isinstance(default, tuple) else value_text(default)
        group.add_argument(
            f"--{key}",
            type=functools.partial(value_of, cls, key, where="command line"),
            action="append" if kind == REPEATABLE else "store",
            choices=choices,
            metavar=f"<{'|'.join(choices or ()) or KINDS[kind][1]}>",
            help=(field.metadata["help"] + f" [default: {shown}]" * bool(shown)).replace("%", "%%"),
        )


def _joined(cls: type, words: list[str]) -> list[str]:
    """`--key value` as `--key=value`, since a value may look like an option; a switch without a value is true."""
    switches = {key for key, field in option_fields(cls).items() if option_types(cls)[field.name] is bool}
    rest, joined = list(words), []
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and "=" not in word and word != "--help":
            if word[2:] in switches and rest[:1] not in (["true"], ["false"]):
                word += "=true"
            elif rest:
                word += f"={rest.pop(0)}"
        joined.append(word)
    return joined


def parse(cls: type[T], argv: list[str]) -> tuple[T, list[str]]:
    """Options object and positional arguments of a command line (conf files first, then the line itself)."""
    options, words, behind = _parse_parts(cls, argv, parser_of(cls))
    return options, words + (behind or [])


def _parse_parts(
    cls: type[T], argv: list[str], parser: Parser, names: tuple[str, ...] = ()
) -> tuple[T, list[str], list[str] | None]:
    """As `parse`, with the arguments behind `--` apart (None without a `--`).

    Where `names` holds "--" it parts two groups of words, and options may stand in both (but for words that are another
    tool's, OPTION); elsewhere it ends the options.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    given, words = parser.parse_known_args(_joined(cls, argv[:end]))
    behind, parts = argv[end + 1 :] if "--" in argv else None, "--" in names and "OPTION" not in names[-1]
    if behind and parts:
        given, behind = parser.parse_known_args(_joined(cls, behind), given)
    for word in words + (behind or [] if parts else []):
        if word.startswith("--"):
            value_of(cls, word[2:].partition("=")[0], "", "command line")  # unknown: tells what is known
    line = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(given).items()}
    values: dict[str, Any] = {}
    for path in line.pop("config", ()):
        values |= conf_values(path, cls)
    return cls(**values | line), words, behind


def _bind(names: tuple[str, ...], words: list[str], behind: list[str] | None = None) -> list[Any]:
    """Positional words in the order of `names`: "DATA", "[KEY]" (optional, None), "FILE..." (a list, at least one).

    Of several "..." names the first takes what the others can spare. Where `names` holds "--", the words behind `--`
    belong to the names behind it.
    """
    if "--" in names and behind is not None:
        place = names.index("--")
        if not behind and "OPTION" not in names[-1]:  # a pattern that matches nothing: no other word takes its place
            raise UsageError(f"nothing stands behind the `--`: {re.sub(r'[][]', '', names[-1])} is missing")
        return _bind(names[:place], words) + _bind(names[place + 1 :], behind)
    rest, names = words + (behind or []), tuple(name for name in names if name != "--")
    bound: list[Any] = []
    for index, name in enumerate(names):
        spare, optional = len(rest) - sum(not later.startswith("[") for later in names[index + 1 :]), name[0] == "["
        many = name.endswith("...")
        taken = rest[: spare if many else int(spare > 0 or not optional)]
        rest = rest[len(taken) :]
        if not taken and not optional:
            raise UsageError(f"{name} is missing")
        bound.append(taken if many else taken[0] if taken else None)
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}")
    return bound


def _tool_name(path: Path) -> str:
    if path.parent.name != "bin":
        return f"python {os.path.relpath(path, Path(__file__).parents[2])}"
    return f"pyasp {path.stem}" if Path(sys.argv[0]).name == "pyasp" else f"python -m pyasp.bin.{path.stem}"


def print_help(text: str) -> None:
    """Also where nobody reads to the end (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_output()


def _drop_output() -> None:
    """What is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command(
    cls: type[T], *names: str, action: str = "", failure: int = 1, closed_pipe: int = CLOSED_PIPE
) -> Callable[[Callable], Any]:
    """Turns `function(options, *positional)` into `main(argv=None) -> exit code`.

    InputError and OSError become one line on stderr and exit code `failure`; a mistake on the command line exits with
    2, and one whose reader went away (`| head`) with `closed_pipe`: 0 for tools that only print. The result carries its
    declarations, `main.options` (the class) and `main.names`, and the `main.function` itself, whose errors pass.
    action: its name in a verb of several (`one_of`).
    """

    def decorate(function: Callable) -> Any:
        path = Path(inspect.getsourcefile(function) or "tool.py")

        def main(argv: list[str] | None = None) -> int:
            words: list[str] = []
            if argv is None:
                keep_imported()
            parser = parser_of(cls, names, function.__doc__, f"{_tool_name(path)} {action}".rstrip())
            try:
                options, words, behind = _parse_parts(cls, sys.argv[1:] if argv is None else argv, parser, names)
                result = function(options, *_bind(names, words, behind)) or 0
                sys.stdout.flush()
                return result
            except UsageError as error:
                print(f"{parser.format_usage()}error: {error} (--help tells more)", file=sys.stderr)
                note_rerun(error, refused=True)
                return 2
            except BrokenPipeError:  # `| head` has seen enough
                _drop_output()
                return closed_pipe
            except (InputError, OSError, MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not lacks_memory(error):
                    raise
                _tell(error, words)
                return failure
            except SystemExit as request:  # help, or what a tool ends with itself
                if request.code:
                    raise
                return 0
            finally:
                record_costs(path.stem)

        def summary() -> str:
            parser = parser_of(cls, names, function.__doc__, f"{_tool_name(path)} {action}".rstrip())
            return f"{parser.format_usage()}\n{parser.description}\n"

        declared: Any = functools.update_wrapper(main, function)
        declared.options, declared.names, declared.summary, declared.function = cls, names, summary, function
        return declared

    return decorate


def keep_imported() -> None:
    """In a process that is one tool's alone: what it has imported is no garbage, and what is left ends with it.

    Python would look through torch's hundreds of thousands of objects again and again, and once more at the end: a
    third of the processor time of a tool that has little to do. `pyasp.bin` does without while a tool is imported.
    """
    gc.freeze()
    gc.enable()
    atexit.register(gc.freeze)


def _tell(error: Exception, words: list[str]) -> None:
    """One line on stderr about what ended the command `words`. Where `main` named it, frames and error would keep each
    other, and what the frames hold (open files, threads that read ahead) until some thread collects them."""
    told = refusal(error) or error if isinstance(error, OSError) else error
    if isinstance(error, (MemoryError, RuntimeError)):
        told = too_little_memory(words, error)
    print(f"error: {told}", file=sys.stderr)
    note_rerun(told)


def action_of(verb: str, table: Mapping[str, tuple[Any, str]], what: str, words: list[str]) -> Callable[..., Any]:
    """What a verb does where its first word names it: table {word: (function, names as of `command`)}. The function
    takes options; the words are bound. Raises InputError for another word, and for too few or too many behind it."""
    if what not in table:
        raise InputError("command line", repr(what), " or ".join(table), "Name one of these")
    function, names = table[what]
    try:
        bound = _bind(tuple(names.split()), words)
    except UsageError as error:
        raise InputError("command line", str(error), names or "no word", f"pyasp {verb} {what} {names}") from None
    return lambda options, *more: function(options, *bound, *more)


def one_of(choose: Callable[[list[str]], str] | None = None, **actions: Any) -> Any:
    """A `main` of several commands with options of their own: the first word names the one that runs, or `choose`
    tells it from all words. `--help` without it says what each does; with `choose` it shows their options too.

    The result carries `main.actions` and, for completion, `main.options`: all options together.
    """

    def main(argv: list[str] | None = None) -> int:
        words = sys.argv[1:] if argv is None else list(argv)
        if argv is None:
            keep_imported()
        if words[:1] == ["--help"] and not choose:
            options = f"Their options: one of {', '.join(actions)} with --help behind it."
            print_help("\n".join([*(action.summary() for action in actions.values()), options]))
            return 0
        if words[:1] == ["--help"]:
            return max([action(words) for action in actions.values()])
        if choose:
            return actions[choose(words)](words)
        if words[:1] and words[0] in actions:
            return actions[words[0]](words[1:])
        found = repr(words[0]) if words else "nothing"
        print(f"error: command line: found {found}; expected {' or '.join(actions)} as the first word", file=sys.stderr)
        return 2

    declared: Any = main
    classes = dict.fromkeys(action.options for action in actions.values())
    bases = tuple(each for each in classes if not any(each in other.__mro__[1:] for other in classes))
    declared.actions, declared.options = actions, dataclasses.make_dataclass("Options", [], bases=bases, frozen=True)
    return declared

"""A tool's command line: from declared options and positional words to a `main` with exit codes.

The command line reads `--key=value` or `--key value`; `--config=FILE` reads a conf file. A true|false option may stand
alone, which means true. Precedence: default < conf file < command line. Help is generated from the declarations.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyasp.core.conf import conf_values, value_text
from pyasp.core.costs import record_costs
from pyasp.core.errors import InputError, lacks_memory, refusal, too_little_memory
from pyasp.core.options import TYPE_NAMES, T, option_fields, option_types, store

CLOSED_PIPE = 141  # what a shell says of a program that a closed pipe ended (128 + SIGPIPE)


class UsageError(Exception):
    """A mistake on the command line: printed with the tool's usage, exit code 2."""


def _split(argv: list[str], switches: set[str]) -> tuple[list[tuple[str, str]], list[str], list[str] | None]:
    """(key, value) pairs, positional arguments, and those behind `--`, which ends the options (None without it).

    switches: options that are true when no true or false follows.
    """
    pairs, positional, rest = [], [], list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return pairs, positional, rest
        if not word.startswith("--"):
            positional.append(word)
            continue
        key, equals, value = word[2:].partition("=")
        if key == "help":
            raise SystemExit("help")
        if not equals:
            if key in switches and rest[:1] not in (["true"], ["false"]):
                value = "true"
            elif not rest:
                raise UsageError(f"--{key} needs a value")
            else:
                value = rest.pop(0)
        pairs.append((key, value))
    return pairs, positional, None


def parse(cls: type[T], argv: list[str]) -> tuple[T, list[str]]:
    """Options object and positional arguments of a command line (conf files first, then the line itself)."""
    options, words, behind = parse_parts(cls, argv)
    return options, words + (behind or [])


def parse_parts(cls: type[T], argv: list[str]) -> tuple[T, list[str], list[str] | None]:
    """As `parse`, with the arguments behind `--` apart (None without a `--`)."""
    pairs, positional, behind = _split(
        argv, {key for key, field in option_fields(cls).items() if option_types(cls)[field.name] is bool}
    )
    values: dict[str, Any] = {}
    for path in (value for key, value in pairs if key == "config"):
        values.update(conf_values(path, cls))
    given: dict[str, Any] = {}
    for key, value in pairs:
        if key != "config":
            store(cls, given, key, value, "command line")
    return cls(**{**values, **given}), positional, behind


def _bind_parts(names: tuple[str, ...], words: list[str], behind: list[str] | None) -> list[Any]:
    """As _bind; where `names` holds "--", the words behind `--` belong to the names behind it."""
    if behind is None or "--" not in names:
        return _bind(tuple(name for name in names if name != "--"), words + (behind or []))
    place = names.index("--")
    return _bind(names[:place], words) + _bind(names[place + 1 :], behind)


def _bind(names: tuple[str, ...], words: list[str]) -> list[Any]:
    """Positional words in the order of `names`: "DATA", "[KEY]" (optional, None), "FILE..." (a list, at least one).

    Of several "..." names the first takes what the others can spare.
    """
    rest, bound = list(words), []
    for index, name in enumerate(names):
        later = sum(not n.startswith("[") for n in names[index + 1 :])
        if name.endswith("..."):
            cut = len(rest) - later
            taken, rest = rest[:cut], rest[cut:]
            bound.append(taken)
        else:
            bound.append(rest.pop(0) if len(rest) > later or (rest and not name.startswith("[")) else None)
        if not bound[-1] and not name.startswith("["):
            raise UsageError(f"{name} is missing")
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}")
    return bound


def usage(cls: type, names: tuple[str, ...], doc: str, tool: str) -> str:
    """The help text of a tool, generated from its options."""
    lines = [
        f"usage: {tool} [--config=FILE] [--option=value ...] {' '.join(names)}",
        "",
        inspect.cleandoc(doc or ""),
        "",
        "options:",
    ]
    for key, field in option_fields(cls).items():
        default = "(none)" if field.default in ("", ()) else value_text(field.default)
        kind = "|".join(field.metadata.get("choices") or ()) or TYPE_NAMES[option_types(cls)[field.name]]
        lines.append(f"  --{key}=<{kind}>  {field.metadata.get('help', '')} [default: {default}]")
    return "\n".join(lines)


def _tool_name(function: Callable) -> str:
    path = Path(inspect.getsourcefile(function) or "tool.py")
    if path.parent.name != "bin":
        return f"python {path.parent.name}/{path.name}"
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
    cls: type, *names: str, failure: int = 1, closed_pipe: int = CLOSED_PIPE
) -> Callable[[Callable], Callable[[list[str] | None], int]]:
    """Turns `function(options, *positional)` into `main(argv=None) -> exit code`.

    InputError and OSError become one line on stderr and exit code `failure`; a mistake on the command line exits with
    2, and one whose reader went away (`| head`) with `closed_pipe`: 0 for tools that only print. The result carries its
    declarations: `main.options` (the class) and `main.names`.
    """

    def decorate(function: Callable) -> Callable[[list[str] | None], int]:
        def main(argv: list[str] | None = None) -> int:
            words: list[str] = []
            try:
                options, words, behind = parse_parts(cls, sys.argv[1:] if argv is None else argv)
                result = function(options, *_bind_parts(names, words, behind)) or 0
                sys.stdout.flush()
                return result
            except UsageError as error:
                print(f"error: {error}\n\n{usage(cls, names, function.__doc__, _tool_name(function))}", file=sys.stderr)
                return 2
            except BrokenPipeError:  # `| head` has seen enough
                _drop_output()
                return closed_pipe
            except (InputError, OSError) as error:
                print(f"error: {isinstance(error, OSError) and refusal(error) or error}", file=sys.stderr)
                return failure
            except (MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
                print(f"error: {too_little_memory(words, error)}", file=sys.stderr)
                return failure
            except SystemExit as request:
                if request.code != "help":
                    raise
                print_help(usage(cls, names, function.__doc__, _tool_name(function)))
                return 0
            finally:
                record_costs(Path(inspect.getsourcefile(function) or "tool.py").stem)

        functools.update_wrapper(main, function)
        main.options, main.names = cls, names
        return main

    return decorate

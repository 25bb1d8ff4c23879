"""Options declared once: a frozen dataclass holds name, type, default and help of every option of a tool.

The command line reads `--key=value` or `--key value`; `--config=FILE` reads Kaldi's conf lines (`--key=value  # why`).
A true|false option may stand alone, which means true. Precedence: default < conf file < command line. Nothing is
evaluated. Help is generated from the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
import sys
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pyasp.core.files import atomic_write
from pyasp.core.errors import InputError, lacks_memory, refusal, too_little_memory
from pyasp.core.usage import record_usage

T = TypeVar("T")
CLOSED_PIPE = 141  # what a shell says of a program that a closed pipe ended (128 + SIGPIPE)
BOOLEANS = {"true": True, "false": False}


class UsageError(Exception):
    """A mistake on the command line: printed with the tool's usage, exit code 2."""


def option(default: Any, help: str, choices: Iterable[str] | None = None) -> Any:
    """A dataclass field that is a command-line option; its type is the field's annotation.

    Types: int, float, str, bool (true|false) and tuple[str, ...] (a repeatable option).
    """
    return dataclasses.field(default=default, metadata={"help": help, "choices": tuple(choices) if choices else None})


def _number(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError("finite")
    return float(text)


def _bool(text: str) -> bool:
    if text not in BOOLEANS:
        raise ValueError("true or false")
    return BOOLEANS[text]


PARSERS: dict[Any, Callable[[str], Any]] = {int: int, float: _number, str: str, bool: _bool, tuple[str, ...]: str}
TYPE_NAMES = {int: "integer", float: "number", str: "text", bool: "true|false", tuple[str, ...]: "text, repeatable"}


@functools.cache
def _types(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def type_of(cls: type, name: str) -> Any:
    """Declared type of the option in the field `name`."""
    return _types(cls)[name]


def _fields(cls: type) -> dict[str, dataclasses.Field]:
    """Option fields by the name the user types (dashes)."""
    return {field.name.replace("_", "-"): field for field in dataclasses.fields(cls)}


def _parse_value(cls: type, key: str, text: str, where: str) -> Any:
    field, kind = _fields(cls)[key], _types(cls)[_fields(cls)[key].name]
    try:
        value = PARSERS[kind](text)
    except ValueError:
        raise InputError(where, repr(text), TYPE_NAMES[kind], f"Give --{key} a valid value", item=f"--{key}") from None
    check_choice(field, value, where)
    return value


def check_choice(field: dataclasses.Field, value: Any, where: object) -> None:
    """Raises InputError for a value that an option with choices does not have."""
    choices, key = field.metadata.get("choices"), f"--{field.name.replace('_', '-')}"
    if choices and value not in choices:
        raise InputError(where, repr(value), " or ".join(choices), f"Give {key} one of them", item=key)


def _check_known(cls: type, key: str, where: str) -> None:
    if key not in _fields(cls):
        known = " ".join(f"--{name}" for name in sorted(_fields(cls)))
        raise InputError(where, f"unknown option --{key}", "one of the known options", f"Known: {known}")


def _store(cls: type, values: dict[str, Any], key: str, text: str, where: str) -> None:
    _check_known(cls, key, where)
    name, value = key.replace("-", "_"), _parse_value(cls, key, text, where)
    repeatable = _types(cls)[name] == tuple[str, ...]
    values[name] = (*values.get(name, ()), value) if repeatable else value


def _conf_values(path: str | Path, cls: type) -> dict[str, Any]:
    values: dict[str, Any] = {}
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            path, f"an unreadable file ({error})", "a conf file", "Check the path given with --config"
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        key, equals, value = line.partition("=")
        where = f"{path}:{number}"
        if not key.startswith("--") or not equals:
            raise InputError(where, repr(line), "--key=value", "Write one option a line, comments after #")
        if (
            key[2:].strip().replace("-", "_") in values
            and _types(cls).get(key[2:].replace("-", "_")) != tuple[str, ...]
        ):
            raise InputError(where, f"{key} a second time", "each option once", "Delete one of the two lines")
        _store(cls, values, key[2:].strip(), value.strip(), where)
    return values


def read_conf(path: str | Path, cls: type[T]) -> T:
    """Options from a conf file alone, the rest at their defaults. Raises InputError on unknown keys and wrong types."""
    return cls(**_conf_values(path, cls))


def subset(options: Any, cls: type[T]) -> T:
    """The fields of `cls` picked out of a bigger options object."""
    return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def conf_lines(*options: Any) -> list[str]:
    """`--key=value` lines of one or more options objects, in declaration order, each key once."""
    lines: dict[str, None] = {}
    for each in options:
        for key, field in _fields(type(each)).items():
            value = getattr(each, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                lines[f"--{key}={_text(item)}"] = None
    return list(lines)


def write_conf(path: str | Path, *options: Any) -> None:
    """Saves resolved options as a conf file that can be read back."""
    with atomic_write(path, "w") as stream:
        stream.write("\n".join(conf_lines(*options)) + "\n")


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
        argv, {key for key, field in _fields(cls).items() if _types(cls)[field.name] is bool}
    )
    values: dict[str, Any] = {}
    for path in (value for key, value in pairs if key == "config"):
        values.update(_conf_values(path, cls))
    given: dict[str, Any] = {}
    for key, value in pairs:
        if key != "config":
            _store(cls, given, key, value, "command line")
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
    for key, field in _fields(cls).items():
        default = "(none)" if field.default in ("", ()) else _text(field.default)
        kind = "|".join(field.metadata.get("choices") or ()) or TYPE_NAMES[_types(cls)[field.name]]
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
                record_usage(Path(inspect.getsourcefile(function) or "tool.py").stem)

        functools.update_wrapper(main, function)
        main.options, main.names = cls, names
        return main

    return decorate

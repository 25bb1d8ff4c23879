"""Options declared once: a frozen dataclass holds name, type, default and help of every option of a tool.

Types: int, float, str, bool (true|false) and tuple[str, ...] (a repeatable option). Nothing is evaluated. A number that
must lie in an interval says so by its type: `Count`, `Share` or another Annotated one.
"""

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pyasp.core.errors import InputError

T = TypeVar("T")

REPEATABLE = tuple[str, ...]

# Numbers that lie in an interval, told in mathematics' way; any other Annotated number may say its own.
Count = Annotated[int, "[1, inf)"]
Natural = Annotated[int, "[0, inf)"]
Channel = Annotated[int, "[-1, inf)"]  # from 0; -1: none is named
Positive = Annotated[float, "(0, inf)"]
Amount = Annotated[float, "[0, inf)"]
Share = Annotated[float, "[0, 1]"]
Part = Annotated[float, "[0, 1)"]
Fraction = Annotated[float, "(0, 1]"]
OpenShare = Annotated[float, "(0, 1)"]


def option(default: Any, help: str, choices: Iterable[str] | None = None) -> Any:
    """A dataclass field that is a command-line option; its type is the field's annotation.

    Types: int, float, str, bool (true|false) and tuple[str, ...] (a repeatable option).
    """
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})  # a table stays open


def _number(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError("finite")
    return float(text)


KINDS: dict[
    Any, tuple[Callable[[str], Any], str]
] = {  # of each type how its text is read (KeyError or ValueError: not so), and what it is called
    int: (int, "integer"),
    float: (_number, "number"),
    str: (str, "text"),
    bool: ({"true": True, "false": False}.__getitem__, "true|false"),
    REPEATABLE: (str, "text, repeatable"),
}

option_types = functools.cache(typing.get_type_hints)  # {field: type} of a class of options


@functools.cache
def option_intervals(cls: type) -> dict[str, str]:
    """{field: interval} of the options of a class that have one."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if typing.get_origin(hint) is Annotated}


def option_fields(cls: type) -> dict[str, dataclasses.Field]:
    """Option fields by the name the user types (dashes)."""
    return {field.name.replace("_", "-"): field for field in dataclasses.fields(cls)}


def value_of(cls: type, key: str, text: str, where: object) -> Any:
    """The value that `text` is of the option --key. Raises InputError on an unknown option or an unfit value."""
    fields = option_fields(cls)
    if key not in fields:
        known = " ".join(f"--{name}" for name in sorted(fields))
        near = "".join(f"Did you mean --{name}? " for name in difflib.get_close_matches(key, fields, 1))
        raise InputError(where, f"unknown option --{key}", "one of the known options", f"{near}Known: {known}")
    read, kind = KINDS[option_types(cls)[fields[key].name]]
    try:
        value = read(text)
    except (KeyError, ValueError):
        cure = f"Give --{key} a valid value"
        if text == "auto":
            cure = "Give it a number, or let the training set decide: pyasp fit CONF_DIR DATA/train NEW_CONF_DIR"
        raise InputError(where, repr(text), kind, cure, item=f"--{key}") from None
    check_value(cls, fields[key], value, where)
    return value


def check_value(cls: type, field: dataclasses.Field, value: Any, where: object) -> None:
    """Raises InputError for a value that is none of an option's choices, or not within its interval."""
    choices, within = field.metadata.get("choices"), option_intervals(cls).get(field.name)
    key = f"--{field.name.replace('_', '-')}"
    if choices and value not in choices:
        raise InputError(where, repr(value), " or ".join(choices), f"Give {key} one of them", item=key)
    if within and not isinstance(value, (int, float)):
        raise InputError(where, repr(value), _told(within), f"Correct {key}", item=key)
    if within and not _lies(value, within):
        cure = "Give a fraction: 0.2 is a fifth" if within[3:-1] == " 1" and value > 1 else f"Correct {key}"
        raise InputError(where, f"{value:.6g}", _told(within), cure, item=key)


def _lies(value: float, within: str) -> bool:
    low, high = map(float, within[1:-1].split(","))
    return (low < value or low == value and within[0] == "[") and (value < high or value == high and within[-1] == "]")


def _told(within: str) -> str:
    """An interval in words."""
    low, high = within[1:-1].split(", ")
    if high == "inf":
        return f"{'at least' if within[0] == '[' else 'more than'} {low}"
    return f"{low} to {high}" if within[0] == "[" and within[-1] == "]" else f"a number in {within}"


def check_options(options: Any, where: str) -> None:
    """Raises InputError naming `where` for the first option that is none of its choices, or not in its interval."""
    for field in option_fields(type(options)).values():
        check_value(type(options), field, getattr(options, field.name), where)


def subset(options: Any, cls: type[T]) -> T:
    """The fields of `cls` picked out of a bigger options object."""
    return cls(**{field.name: getattr(options, field.name) for field in option_fields(cls).values()})


def picked(values: Mapping[str, Any], cls: type[T], where: object) -> T:
    """The options of `cls` among stored values, lists being tuples; the rest at their defaults.

    Raises InputError naming `where` for a value that is none of an option's choices, or not in its interval.
    """
    mine = {field.name: values[field.name] for field in option_fields(cls).values() if field.name in values}
    for field in option_fields(cls).values():
        if field.name in mine:
            check_value(cls, field, mine[field.name], where)
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in mine.items()})


def check_values(options: Any, where: str, expected: str, **wrong: bool) -> None:
    """Raises InputError for the first of the named options that is wrong."""
    for name in (name for name, bad in wrong.items() if bad):
        item = f"--{name.replace('_', '-')}"
        raise InputError(where, str(getattr(options, name)), expected, "Correct tdnn.conf", item=item)

"""Options declared once: a frozen dataclass holds name, type, default and help of every option of a tool.

Types: int, float, str, bool (true|false) and tuple[str, ...] (a repeatable option). Nothing is evaluated.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pyasp.core.errors import InputError

T = TypeVar("T")

REPEATABLE = tuple[str, ...]


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
    check_choice(fields[key], value, where)
    return value


def check_choice(field: dataclasses.Field, value: Any, where: object) -> None:
    """Raises InputError for a value that an option with choices does not have."""
    choices, key = field.metadata.get("choices"), f"--{field.name.replace('_', '-')}"
    if choices and value not in choices:
        raise InputError(where, repr(value), " or ".join(choices), f"Give {key} one of them", item=key)


def subset(options: Any, cls: type[T]) -> T:
    """The fields of `cls` picked out of a bigger options object."""
    return cls(**{field.name: getattr(options, field.name) for field in option_fields(cls).values()})


def check_values(options: Any, where: str, expected: str, **wrong: bool) -> None:
    """Raises InputError for the first of the named options that is wrong."""
    for name in (name for name, bad in wrong.items() if bad):
        item = f"--{name.replace('_', '-')}"
        raise InputError(where, str(getattr(options, name)), expected, "Correct tdnn.conf", item=item)

"""Options declared once: a frozen dataclass holds name, type, default and help of every option of a tool.

Types: int, float, str, bool (true|false) and tuple[str, ...] (a repeatable option). Nothing is evaluated.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pyasp.core.errors import InputError

T = TypeVar("T")


BOOLEANS = {"true": True, "false": False}


def option(default: Any, help: str, choices: Iterable[str] | None = None) -> Any:
    """A dataclass field that is a command-line option; its type is the field's annotation.

    Types: int, float, str, bool (true|false) and tuple[str, ...] (a repeatable option).
    """
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})  # a table stays open


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
def option_types(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def type_of(cls: type, name: str) -> Any:
    """Declared type of the option in the field `name`."""
    return option_types(cls)[name]


def option_fields(cls: type) -> dict[str, dataclasses.Field]:
    """Option fields by the name the user types (dashes)."""
    return {field.name.replace("_", "-"): field for field in dataclasses.fields(cls)}


def _parse_value(cls: type, key: str, text: str, where: str) -> Any:
    field, kind = option_fields(cls)[key], option_types(cls)[option_fields(cls)[key].name]
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
    if key not in option_fields(cls):
        known = " ".join(f"--{name}" for name in sorted(option_fields(cls)))
        raise InputError(where, f"unknown option --{key}", "one of the known options", f"Known: {known}")


def store(cls: type, values: dict[str, Any], key: str, text: str, where: str) -> None:
    _check_known(cls, key, where)
    name, value = key.replace("-", "_"), _parse_value(cls, key, text, where)
    repeatable = option_types(cls)[name] == tuple[str, ...]
    values[name] = (*values.get(name, ()), value) if repeatable else value


def subset(options: Any, cls: type[T]) -> T:
    """The fields of `cls` picked out of a bigger options object."""
    return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})

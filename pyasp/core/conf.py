"""Conf files as Kaldi writes them: one `--key=value` a line, comments after `#`; each key is a declared option."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.options import REPEATABLE, T, option_fields, option_types, value_of


def conf_values(path: str | Path, cls: type, auto: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """{field: value} of the options in a conf file. auto: {option: what `auto` stands for}. Errors as `read_conf`."""
    values: dict[str, Any] = {}
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cure = "Check the path given with --config"
        raise InputError(path, f"an unreadable file ({error})", "a conf file", cure) from None
    for number, line in enumerate(text.splitlines(), 1):
        line, where = line.split("#", 1)[0].strip(), f"{path}:{number}"
        if not line:
            continue
        key, equals, text = line.partition("=")
        if not key.startswith("--") or not equals:
            raise InputError(where, repr(line), "--key=value", "Write one option a line, comments after #")
        key, text = key[2:].strip(), text.strip()
        if auto and text == "auto" and key in auto:
            text = str(auto[key])
        value, name = value_of(cls, key, text, where), key.replace("-", "_")
        if option_types(cls)[name] == REPEATABLE:
            value = (*values.get(name, ()), value)
        elif name in values:
            raise InputError(where, f"--{key} a second time", "each option once", "Delete one of the two lines")
        values[name] = value
    return values


def read_conf(path: str | Path, cls: type[T], *over: str | Path, auto: Mapping[str, Any] | None = None) -> T:
    """Options from a conf file and those `over` it, the rest at their defaults; auto: as `conf_values`.

    Raises InputError on unknown keys, wrong types and values that do not go together.
    """
    values: dict[str, Any] = {}
    for each in (path, *over):
        values |= conf_values(each, cls, auto)
    try:
        return cls(**values)
    except InputError as error:  # which knows no file
        raise error.within(" over ".join(map(str, (*reversed(over), path)))) from None


def value_text(value: Any) -> str:
    """A value as a conf file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def conf_lines(*options: Any) -> list[str]:
    """`--key=value` lines of one or more options objects, in declaration order, each key once."""
    lines: dict[str, None] = {}
    for each in options:
        for key, field in option_fields(type(each)).items():
            value = getattr(each, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                lines[f"--{key}={value_text(item)}"] = None
    return list(lines)


def write_conf(path: str | Path, *options: Any) -> None:
    """Saves resolved options as a conf file that can be read back."""
    with atomic_write(path, "w") as stream:
        stream.write("\n".join(conf_lines(*options)) + "\n")

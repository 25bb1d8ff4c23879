"""Conf files as Kaldi writes them: one `--key=value` a line, comments after `#`; each key is a declared option."""

from pathlib import Path
from typing import Any

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.options import REPEATABLE, T, option_fields, option_types, value_of


def conf_values(path: str | Path, cls: type, undecided: str = "") -> dict[str, Any]:
    """{field: value} of the options in a conf file, without those of the value `undecided`. Errors as `read_conf`."""
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
        if undecided and text.strip() == undecided:
            continue
        value, name = value_of(cls, key[2:].strip(), text.strip(), where), key[2:].strip().replace("-", "_")
        if option_types(cls)[name] == REPEATABLE:
            value = (*values.get(name, ()), value)
        elif name in values:
            raise InputError(where, f"{key} a second time", "each option once", "Delete one of the two lines")
        values[name] = value
    return values


def read_conf(path: str | Path, cls: type[T]) -> T:
    """Options from a conf file alone, the rest at their defaults. Raises InputError on unknown keys and wrong types."""
    return cls(**conf_values(path, cls))


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

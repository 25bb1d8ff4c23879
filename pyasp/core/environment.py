"""The installed packages against the pinned ones: results are reproducible with these versions."""

import importlib.metadata
from pathlib import Path

from pyasp.core.errors import InputError


def pins(path: str | Path) -> dict[str, str]:
    """{package: version} of a requirements file of lines `name==version  # why`. InputError on any other line."""
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        name, equals, version = text.partition("==")
        if text and not (equals and name and version):
            raise InputError(path, repr(text), "name==version", "Pin the package", item=f"line {number}")
        if text:
            found[name] = version
    return found


def installed(name: str) -> str:
    """The version of a package without its build (`2.13.0+cpu` -> `2.13.0`), or "none"."""
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "none"


def check(path: str | Path) -> int:
    """How many packages were looked at. Raises InputError when one is missing or of another version than its pin."""
    pinned = pins(path)
    wrong = [(name, found, version) for name, version in pinned.items() if (found := installed(name)) != version]
    if wrong:
        told = ", ".join(f"{name} {found} (pinned: {version})" for name, found, version in wrong[:5])
        cure = f"Install them: .venv/bin/python -m pip install -r {path}; or pin what you mean to use"
        raise InputError(path, f"{len(wrong)} packages of another version: {told}", "the pinned versions", cure)
    return len(pinned)

"""The one command: `pyasp <verb> ...` is `python -m pyasp.bin.<verb> ...`; `pyasp --help` lists the verbs.

A verb's line is the first sentence of its module's docstring, read without importing it: no verb pays for another's
libraries.
"""

import ast
import difflib
import gc
import importlib
import sys
from pathlib import Path

from pyasp import __version__
from pyasp.core.command import keep_imported, print_help

BIN = Path(__file__).parent / "bin"
GROUPS = {
    "Look inside": ("show", "plot", "diff", "data"),
    "Use a trained system": ("bundle", "verify", "enroll", "identify", "embed", "export"),
    "The shell": ("completion",),
}
STEPS = "Steps of run.sh, each on its own"


def verb_lines() -> dict[str, str]:
    """{verb: what it does in a line}, sorted."""
    return {verb: _line(BIN / f"{verb}.py") for verb in verb_names()}


def verb_names() -> list[str]:
    """The verbs, sorted."""
    return sorted(path.stem for path in BIN.glob("*.py") if not path.stem.startswith("_"))


def _line(path: Path) -> str:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return words.split("\n\n")[0].replace("\n", " ").rstrip(".")


def usage() -> str:
    """The list of verbs, those for people first."""
    lines = verb_lines()
    named = {verb for verbs in GROUPS.values() for verb in verbs}
    groups = {**GROUPS, STEPS: tuple(verb for verb in lines if verb not in named)}
    width = max(map(len, lines)) + 2
    text = ["usage: pyasp VERB [--option=value ...] ...      (pyasp VERB --help says more)"]
    for title, verbs in groups.items():
        text += ["", f"{title}:", *(f"  {verb.ljust(width)}{lines[verb]}" for verb in verbs if verb in lines)]
    return "\n".join(text)


def main(argv: list[str] | None = None) -> int:
    """Runs a verb; returns its exit code, 2 for a verb that there is none of."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("--help", "-h", "help"):
        print_help(usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"pyasp {__version__}")
        return 0
    verb = words[0].replace("-", "_")
    if verb not in verb_names():
        near = difflib.get_close_matches(verb, verb_names(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        print(f"error: no verb {words[0]!r}: {hint}`pyasp --help` lists them", file=sys.stderr)
        return 2
    sys.argv[0] = "pyasp"
    if argv is None:
        gc.disable()
    tool = importlib.import_module(f"pyasp.bin.{verb}")
    if argv is None:
        keep_imported()
    return tool.main(words[1:])


if __name__ == "__main__":
    raise SystemExit(main())

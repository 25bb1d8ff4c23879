"""Prints the completion of pyasp for bash or zsh."""

import argparse
import importlib

from pyasp.__main__ import verb_lines
from pyasp.core.command import NoOptions, command, parser_of
from pyasp.core.errors import InputError

SHELLS = ("bash", "zsh")


def parser() -> argparse.ArgumentParser:
    """Every verb with the options that its module declares; other words are files."""
    import shtab

    root = argparse.ArgumentParser(prog="pyasp")
    verbs = root.add_subparsers()
    for name, line in verb_lines().items():
        mine = parser_of(importlib.import_module(f"pyasp.bin.{name}").main.options)
        mine.add_argument("words", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]
        verbs.add_parser(name, parents=[mine], add_help=False, help=line)
    return root


@command(NoOptions, "SHELL")
def main(options: NoOptions, shell: str) -> None:
    """Prints a script that completes verbs, options and their values: for SHELL bash or zsh.

    bash: `source <(pyasp completion bash)`; zsh: `pyasp completion zsh > DIR/_pyasp`, DIR being in $fpath.

    Example, after ./run.sh:
        pyasp completion bash > completion.sh
    """
    if shell not in SHELLS:
        raise InputError("command line", repr(shell), " or ".join(SHELLS), "Name one of these shells")
    import shtab

    print(shtab.complete(parser(), shell))


if __name__ == "__main__":
    raise SystemExit(main())

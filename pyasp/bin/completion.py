"""Prints the completion of pyasp for bash or zsh."""

from dataclasses import dataclass

from pyasp.bin import _completion as completion
from pyasp.core.command import command
from pyasp.core.errors import InputError


@dataclass(frozen=True)
class Options:
    """completion has no options of its own."""


@command(Options, "SHELL")
def main(options: Options, shell: str) -> None:
    """Prints a script that completes verbs, options and their values: for SHELL bash or zsh.

    bash: `source <(pyasp completion bash)`; zsh: `pyasp completion zsh > DIR/_pyasp`, DIR being in $fpath.
    """
    if shell not in completion.SHELLS:
        raise InputError("command line", repr(shell), " or ".join(completion.SHELLS), "Name one of these shells")
    print(completion.SHELLS[shell](completion.verbs()), end="")


if __name__ == "__main__":
    raise SystemExit(main())

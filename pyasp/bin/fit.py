"""Decides what `auto` in conf files stands for, from the training set."""

import sys
from pathlib import Path

from pyasp.core.command import NoOptions, command
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.data.datadir import DataDir
from pyasp.data.fit import Facts, fitted


@command(NoOptions, "CONF", "TRAIN", "OUT")
def main(options: NoOptions, conf: str, train: str, out: str) -> None:
    """Writes the conf files of the directory CONF to the directory OUT, with numbers where they say `auto`, by the
    voiced frames, recordings and speakers of TRAIN (a data directory). conf/folder/README.md has the rules.

    Other options stay as they are: to choose one yourself, write its value in place of `auto`.

    Example, after ./run.sh:
        pyasp fit conf/folder data/toy/train my_conf
    """
    data, said = DataDir(train), dict[str, str]()
    data.require("utt2spk", "utt2num_voiced")
    facts = Facts.of(data.utt2spk, data.counts("utt2num_voiced"))
    if not facts.recordings:
        raise InputError(data / "utt2num_voiced", "no voiced frame", "recordings with speech", "Check the audio")
    for path in sorted(Path(conf).rglob("*.conf")):
        text, chosen = fitted(path.read_text(encoding="utf-8-sig"), facts)
        said |= {f"--{key}={value}": path.name for key, value in chosen.items()}
        text = f"# Made of {path}: edit that file, this one is written anew.\n{text}"
        target = Path(out) / path.relative_to(conf)
        old = target.read_text(encoding="utf-8") if target.is_file() else None
        if old != text:
            if other := sorted(set((old or "").splitlines()) - set(text.splitlines())):
                told = f"{target}: written anew, it had {' '.join(other)}; a value of your own belongs in {path}"
                print(told, file=sys.stderr)
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target, "w") as stream:
                stream.write(text)
    if said:  # else `auto` is for the tools themselves
        print(f"fitted to {facts}: {' '.join(said)} (in {out})", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())

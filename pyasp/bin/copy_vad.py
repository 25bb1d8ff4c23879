"""Takes the clean recordings' voice activity over to their augmented copies."""

from dataclasses import dataclass

from pyasp import cli
from pyasp.artefact import describe, is_current, making
from pyasp.datadir import DataDir, write_table
from pyasp.errors import InputError


@dataclass(frozen=True)
class Options:
    """Options of copy_vad."""
    force: bool = cli.option(False, "make again what is out of date")


@cli.command(Options, "CLEAN", "AUGMENTED")
def main(options: Options, clean: str, augmented: str) -> None:
    """Writes AUGMENTED/vad.scp and utt2num_voiced from CLEAN through utt2clean; a copy is aligned with its original.

    A copy whose number of frames differs from its original's is an error.
    """
    source, target = DataDir(clean), DataDir(augmented)
    source.require("vad.scp", "utt2num_voiced", "utt2num_frames")
    target.require("utt2clean", "utt2num_frames")
    inputs = [source / "vad.scp", target / "utt2clean", target / "utt2num_frames"]
    made = describe("copy_vad", options, inputs)
    if is_current(target / "vad.scp", made, options.force):
        return
    origin, frames, clean_frames = target.read("utt2clean"), target.read("utt2num_frames"), source.read("utt2num_frames")
    for utt, count in frames.items():
        if count != clean_frames[origin[utt]]:
            raise InputError(target / "utt2num_frames", f"{count} frames", f"{clean_frames[origin[utt]]}, as its original has",
                             "Run stage 3 again with --force", item=utt)
    vad, voiced = source.read("vad.scp"), source.read("utt2num_voiced")
    target.write("utt2num_voiced", {utt: voiced[origin[utt]] for utt in frames})
    with making(target / "vad.scp", made) as temporary:
        write_table(temporary, {utt: vad[origin[utt]] for utt in frames})


if __name__ == "__main__":
    raise SystemExit(main())

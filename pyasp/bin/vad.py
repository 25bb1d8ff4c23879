"""Energy VAD of a data directory; augmented copies take over that of their clean recordings."""

import os
from dataclasses import dataclass

import numpy as np

from pyasp.core.command import command, one_of
from pyasp.core.errors import InputError, rerun
from pyasp.core.options import option, subset
from pyasp.core.progress import bar
from pyasp.core.records import describe, is_current, making, with_beside
from pyasp.data.datadir import DataDir, write_table
from pyasp.data.shards import JobOptions, run_shards
from pyasp.features.vad import VadOptions, at_speed, decisions, recorded
from pyasp.kaldi import ArkWriter, ScpReader, read_scp


@dataclass(frozen=True)
class VadJobOptions(JobOptions, VadOptions):
    """Options of `vad compute`: Kaldi's compute-vad's own and the job's."""


def decide(options: VadOptions, feats: ScpReader, utt: str) -> np.ndarray:
    """(T,) float32, the decisions on one utterance. Raises InputError when there is nothing to decide on."""
    if utt not in feats:
        way_out = rerun("features", "The log of the features says what failed")
        raise InputError("feats.scp", "no entry", "features of every utterance", way_out, item=utt)
    matrix, cure = feats[utt], "Leave the recording out"
    if len(matrix) == 0:
        raise InputError("feats.scp", "an empty matrix", "at least one frame", cure, item=utt)
    voiced = decisions(matrix[:, 0], options)
    if options.omit_unvoiced_utts and not voiced.any():
        expected = "at least one (--omit-unvoiced-utts)"
        raise InputError("feats.scp", "no voiced frame", expected, cure, item=utt)
    return voiced


def process(options: VadOptions, feats: ScpReader, utts: list[str]):
    """(utterance, (T,) decisions or None, tables) of each utterance of a shard."""
    for utt in utts:
        try:
            voiced = decide(options, feats, utt)
        except (InputError, OSError) as error:
            yield utt, None, {"failed": " ".join(str(error).split())}
        else:
            silent = int((~recorded(voiced)).sum())
            yield utt, voiced, {"utt2num_voiced": str(int(voiced.sum())), "utt2num_silent": str(silent)}


@command(VadJobOptions, "DATA", "PREFIX", action="compute")
def compute(options: VadJobOptions, data: str, prefix: str) -> None:
    """Writes decisions (1 = voiced) of this job's shards S of DATA: PREFIX.S.ark, .scp, .utt2num_voiced and
    .utt2num_silent, frames of digital silence.

    Example, after ./run.sh:
        pyasp vad compute --config conf/toy/vad.conf data/toy/enroll my_vad/enroll
    """
    source = DataDir(data)
    _, table = source.require("utt2spk", "feats.scp")
    feats, settings = ScpReader(table), subset(options, VadOptions)
    recipe = {"tool": "compute_vad", "options": settings, "inputs": [table]}
    run_shards(source, options, prefix, lambda: recipe, lambda utts: process(settings, feats, utts))


@dataclass(frozen=True)
class CopyOptions:
    """Options of `vad copy`."""

    force: bool = option(False, "make again what is out of date")


def check_frames(target: DataDir, utt: str, count: int, expected: float, slack: float) -> None:
    """Raises InputError when a copy has another number of frames than its original leaves it."""
    if abs(count - expected) > slack:
        told, cure = f"{expected:g}, as its original has", rerun("augment", force=True)
        raise InputError(target / "utt2num_frames", f"{count} frames", told, cure, item=utt)


def same_speed(source: DataDir, target: DataDir, frames: dict[str, int]) -> tuple[dict[str, str], dict[str, str]]:
    """vad.scp and utt2num_voiced of the copies in `frames` {copy: frames}: their originals' entries."""
    origin, expected = target.read("utt2clean"), source.read("utt2num_frames")
    for utt, count in frames.items():
        check_frames(target, utt, count, int(expected[origin[utt]]), 0)
    vad, voiced = source.read("vad.scp"), source.read("utt2num_voiced")
    return {utt: vad[origin[utt]] for utt in frames}, {utt: voiced[origin[utt]] for utt in frames}


def other_speeds(
    source: DataDir, target: DataDir, frames: dict[str, int], speeds: dict[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The same of copies at another speed, whose decisions are written to TARGET/vad/speed.ark."""
    if not frames:
        return {}, {}
    originals, voiced = ScpReader(source / "vad.scp"), {}
    stem = target / "vad" / "speed"
    with ArkWriter(os.path.abspath(f"{stem}.ark"), f"{stem}.scp") as writer:
        for utt, count in bar(frames.items(), len(frames), "VAD at other speeds", "utt"):
            speed, original = speeds[utt].split(maxsplit=1)
            check_frames(target, utt, count, len(originals[original]) / float(speed), 2)
            ours = at_speed(originals[original], float(speed), count)
            writer.write(utt, ours)
            voiced[utt] = str(int(np.count_nonzero(ours)))
    return read_scp(f"{stem}.scp"), voiced


@command(CopyOptions, "CLEAN", "AUGMENTED", action="copy")
def copy(options: CopyOptions, clean: str, augmented: str) -> None:
    """Writes AUGMENTED/vad.scp and utt2num_voiced from CLEAN through utt2clean; a copy is aligned with its original,
    or follows it at its speed where utt2speed has it.

    A copy whose number of frames differs from what its original leaves it is an error.

    Example, after ./run.sh:
        pyasp vad copy data/toy/train data/toy/train_aug
    """
    source, target = DataDir(clean), DataDir(augmented)
    vad_scp, *_ = source.require("vad.scp", "utt2num_voiced", "utt2num_frames")
    inputs, speeds = [vad_scp, *target.require("utt2clean", "utt2num_frames")], target.read_if_there("utt2speed")
    made = describe("copy_vad", options, inputs + ([target / "utt2speed"] if speeds else []))
    if is_current(target / "vad.scp", made, options.force):
        return
    frames = target.counts("utt2num_frames")
    vad, voiced = same_speed(source, target, {utt: n for utt, n in frames.items() if utt not in speeds})
    changed = other_speeds(source, target, {utt: n for utt, n in frames.items() if utt in speeds}, speeds)
    target.write("utt2num_voiced", voiced | changed[1])
    with making(target / "vad.scp", with_beside(made, target / "utt2num_voiced")) as temporary:
        write_table(temporary, vad | changed[0])


main = one_of(compute=compute, copy=copy)

if __name__ == "__main__":
    raise SystemExit(main())

"""Prepares VoxCeleb: VoxCeleb1 dev (and VoxCeleb2 dev if given) for training, trial lists over VoxCeleb1.

The layouts are those of voxceleb_tree.py. A model is one utterance and bears its id.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local import trial_lists
from local.audio_header import probe_all
from local.common import Preparation, PrepOptions, Utterance, index_by_id, seen_in_training, unreadable
from local.trial_lists import Trial
from local.voxceleb_tree import (
    Clip,
    Metadata,
    check_md5,
    clips_below,
    find_clips,
    find_metadata,
    missing_audio,
    parse_name,
)
from pyasp.audio.decoders import require_program
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import Share, option

DEFAULT_LIST = "veri_test.txt"
META = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta"
VOXCELEB2_PLACES = ("dev/wav", "wav", "dev/aac", "dev/dev/aac", "aac")
TRAINING = {"voxceleb1": ("dev1",), "voxceleb2": ("dev2",), "voxceleb1+2": ("dev1", "dev2")}


@dataclass(frozen=True)
class VoxcelebOptions(PrepOptions):
    """The corpora and their trial lists."""

    root: str = option("", "VoxCeleb1: the directory with dev/ and test/, wav/, voxceleb1/ or voxceleb1_wav/")
    voxceleb2: str = option("", "VoxCeleb2 for training: the directory with dev/aac (m4a, through ffmpeg) or dev/wav")
    train_on: str = option(
        "auto",
        "training speakers; auto = VoxCeleb1 dev, and VoxCeleb2 dev if its directory is given",
        choices=("auto", *TRAINING),
    )
    trials: tuple[str, ...] = option((), f"trial list of lines `1|0 path path`; default: {DEFAULT_LIST} under the root")
    check_md5: bool = option(False, "verify the downloaded archives under the root first")
    max_missing: Share = option(
        0.0, "largest fraction of a list's trials whose files may be missing (they are left out)"
    )


def find_lists(options: VoxcelebOptions) -> list[str]:
    """Trial lists given, or the original list under the root.
    Raises InputError when there is none, or two of one name."""
    lists = list(options.trials)
    places = (Path(options.root), Path(options.root) / "voxceleb1", Path(options.root) / "meta")
    if not lists:
        lists = [str(place / DEFAULT_LIST) for place in places if (place / DEFAULT_LIST).is_file()][:1]
    if not lists:
        cure = f"Fetch it from {META}/{DEFAULT_LIST}, or name lists with --trials"
        raise InputError(options.root, f"no {DEFAULT_LIST}", "a trial list", cure)
    trial_lists.by_name(lists)
    return lists


def _part(clip: Clip, metadata: Metadata) -> str:
    """dev or test. The directory says it, or the metadata;
    v1.0 without metadata: names with E are the test speakers."""
    part = clip.part or metadata.part.get(clip.speaker, "")
    if not part and not clip.speaker.startswith("id"):
        part = "test" if clip.speaker.startswith("E") else "dev"
    if not part:
        found, cure = f"speaker {clip.speaker} of an unknown part", f"Fetch {META}/vox1_meta.csv"
        raise InputError(clip.path, found, "vox1_meta.csv under the root, or dev/ and test/", cure)
    return part


def _utterance(clip: Clip, metadata: Metadata) -> Utterance:
    return Utterance(
        clip.id, clip.speaker, clip.path, metadata.gender.get(clip.speaker, ""), info={"session": clip.video}
    )


def _named(clip: Clip, metadata: Metadata) -> Clip:
    """The clip with its speaker's id where the directory bears a celebrity's name (v1.0)."""
    return dataclasses.replace(clip, speaker=metadata.ids.get(clip.speaker, clip.speaker))


def voxceleb1(root: str) -> tuple[dict[str, list[Utterance]], Metadata]:
    """({"dev": utterances, "test": utterances}, metadata)."""
    metadata = find_metadata(root, "vox1_meta.csv")
    parts: dict[str, list[Utterance]] = {"dev": [], "test": []}
    for clip in (_named(clip, metadata) for clip in find_clips(root)):
        parts[_part(clip, metadata)].append(_utterance(clip, metadata))
    return parts, metadata


def voxceleb2_dev(root: str) -> list[Utterance]:
    """Training utterances of VoxCeleb2: converted files, and m4a where there are none.

    Raises InputError when there is no audio, or when m4a files need ffmpeg and it is missing (said before any work).
    """
    metadata = find_metadata(root, "vox2_meta.csv")
    places = [os.path.join(os.path.abspath(root), place) for place in VOXCELEB2_PLACES]
    clips = [clip for clip in clips_below(places) if metadata.part.get(clip.speaker, "dev") == "dev"]
    if not clips:
        raise missing_audio(os.path.abspath(root), 2)
    aac = [clip.path for clip in clips if clip.path.lower().endswith(".m4a")]
    if aac:
        require_program("m4a", aac[0])
        print(f"{root}: {len(aac)} of {len(clips)} clips are m4a, decoded by ffmpeg whenever they are read")
    return [_utterance(clip, metadata) for clip in clips]


def read_trials(path: str, metadata: Metadata, training: set[str]) -> Iterator[Trial]:
    """Trials of a VoxCeleb list, `label path path`.

    Raises InputError for a path that is no clip's name, and for a speaker of the training set (lists E and H draw from
    VoxCeleb1 dev).
    """
    for where, (label, *paths) in trial_lists.read_lines(path, 3):
        clips = [parse_name(name) for name in paths]
        if None in clips:
            raise InputError(where, repr(paths[clips.index(None)]), "speaker/video/00001.wav", "Repair the line")
        model, test = (_named(clip, metadata) for clip in clips)
        for speaker in (model.speaker, test.speaker):
            if speaker in training:
                raise InputError(
                    where,
                    f"speaker {speaker}, who is in the training set",
                    "speakers the systems never saw",
                    "Lists E and H draw from VoxCeleb1 dev: score list O (veri_test.txt), or train on VoxCeleb2 "
                    "alone (--voxceleb2=DIR --train-on=voxceleb2)",
                )
        yield Trial(model.id, test.id, trial_lists.read_label(label, where))


def present(path: str, trials: list[Trial], known: set[str], max_missing: float) -> tuple[list[Trial], int]:
    """(trials whose files are there, number of the others). Counts and names them; InputError above the fraction."""
    missing = Counter(utt for trial in trials for utt in {trial.model, trial.test} if utt not in known)
    kept = [trial for trial in trials if trial.model in known and trial.test in known]
    lost = len(trials) - len(kept)
    if missing:
        named = " ".join(list(missing)[:5]) + (" ..." if len(missing) > 5 else "")
        told = f"{len(missing)} missing files in {lost} of {len(trials)} trials ({named})"
        if lost > max_missing * len(trials):
            expected = "every file of the list"
            raise InputError(path, told, expected, "Complete the corpus, or allow a fraction with --max-missing")
        print(f"{path}: left out {told}")
    return kept, lost


def _write(
    prep: Preparation, lists: list[str], train: list[Utterance], evaluation: list[Utterance], metadata: Metadata
) -> None:
    """Trial lists first (they decide which recordings are used), then the three data directories."""
    options, speakers = prep.options, {utt.speaker for utt in train}
    trials = {path: list(read_trials(path, metadata, speakers)) for path in lists}
    wanted = {utt for group in trials.values() for trial in group for utt in (trial.model, trial.test)}
    index = index_by_id([utt for utt in evaluation if utt.id in wanted], options.root)
    train_index = index_by_id(train, options.root)
    used = (utt.path for group in (train_index, index) for utt in group.values())
    audio, failed = probe_all(used, options.max_bad, options.data)
    prep.begin()
    known = {key for key, utt in index.items() if utt.path in audio}
    alone = {key: [key] for key in index}
    models, tests = set(), set()
    for path, every in trials.items():
        kept, lost = present(path, every, known, options.max_missing)
        name = trial_lists.list_name(path)
        check = trial_lists.Check(
            alone, lambda utt: index[utt].speaker, lambda utt: trial_lists.Stretch(index[utt].path)
        )
        counts = trial_lists.write_list(prep.data, name, kept, (), known, known, check)
        prep.summary[f"trials/{name}"] = {**counts, "left out": lost}
        models.update(trial.model for trial in kept)
        tests.update(trial.test for trial in kept)
    readable = {key: utt for key, utt in train_index.items() if utt.path in audio}
    prep.write("train", readable, audio, dropped=unreadable(train_index, failed))
    prep.write("enroll", {utt: index[utt] for utt in models}, audio, {utt: [utt] for utt in models})
    prep.write("test", {utt: index[utt] for utt in tests}, audio)
    prep.summary.update(seen_in_training(readable.values(), index.values()))


@command(VoxcelebOptions)
def main(options: VoxcelebOptions) -> None:
    """Prepares VoxCeleb1 (and VoxCeleb2) as data/<corpus>/{train,enroll,test} and trials.

    Must be given: --root. Without --trials it must hold veri_test.txt. How it must lie: local/README.md.
    """
    if not options.root or not options.data:
        found = "no --root or no --data"
        raise InputError("command line", found, "both", f"Give --root=DIR of the corpus ({DEFAULT_LIST} in it)")
    automatic = "voxceleb1+2" if options.voxceleb2 else "voxceleb1"
    wanted = automatic if options.train_on == "auto" else options.train_on
    if "dev2" in TRAINING[wanted] and not options.voxceleb2:
        cure = "Give --voxceleb2=DIR, or a conf that trains on VoxCeleb1 (conf/voxceleb)"
        raise InputError("command line", f"--train-on={wanted} without --voxceleb2", "VoxCeleb2's directory", cure)
    roots = [root for root in (options.root, options.voxceleb2) if root]
    verified = {"archives verified": " ".join(check_md5(roots))} if options.check_md5 else {}
    lists = find_lists(options)
    second = voxceleb2_dev(options.voxceleb2) if options.voxceleb2 else []
    parts, metadata = voxceleb1(options.root)
    for part in ("test", *(("dev",) if "dev1" in TRAINING[wanted] else ())):
        if not parts[part]:
            raise missing_audio(os.path.abspath(options.root), 1, part)
    paths = [utt.path for group in (parts["dev"], parts["test"], second) for utt in group]
    prep = Preparation("prep_voxceleb", options, paths, lists, lists=lists)
    if prep.current():
        return
    prep.summary.update(verified)
    pools = {"dev1": parts["dev"], "dev2": second}
    train = [utt for name in TRAINING[wanted] for utt in pools[name]]
    _write(prep, lists, train, parts["dev"] + parts["test"], metadata)
    prep.report()


if __name__ == "__main__":
    raise SystemExit(main())

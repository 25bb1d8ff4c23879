"""Prepares anybody's own data: a tree of audio, tables, lhotse manifests or Kaldi data directories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import folder_trials, trial_lists
from local.audio_header import probe_all
from local.common import (
    PrepOptions,
    Utterance,
    fit,
    index_by_id,
    listing_digest,
    recipe,
    report,
    start,
    unreadable,
    write_data_dir,
)
from local.folder_sources import Source, from_lhotse, from_tables, from_tree
from local.kaldi_source import from_kaldi
from local.trial_lists import Trial
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option
from pyasp.core.records import describe


@dataclass(frozen=True)
class FolderOptions(PrepOptions):
    """Options of this preparation."""

    root: str = option(
        "", "a tree <speaker>/[<session>/]<utterance>.<wav|flac|sph|...>; with --tables: what paths are relative to"
    )
    tables: str = option("", "directory with train.tsv, test.tsv, enroll.tsv and trials or trials_*")
    recordings: str = option("", "lhotse recordings manifest")
    supervisions: str = option("", "lhotse supervisions manifest (each an utterance of its speaker)")
    kaldi_data: str = option("", "a Kaldi data directory, or one with train/, test/ and enroll/ in it")
    trials: tuple[str, ...] = option((), "trial list `model test target|nontarget`; without any, trials are drawn")
    eval_fraction: float = option(0.2, "share of the speakers kept for evaluation when no list says who")
    targets: int = option(40, "largest number of target trials a speaker when trials are drawn")
    nontargets: int = option(10, "non-target trials a target when trials are drawn")


def read_source(options: FolderOptions) -> Source:
    """Utterances of the one source that was named. Raises InputError unless exactly one was."""
    readers = {
        "--tables": (options.tables, lambda: from_tables(options.tables, options.root)),
        "--recordings": (
            options.recordings or options.supervisions,
            lambda: from_lhotse(options.recordings, options.supervisions),
        ),
        "--kaldi-data": (options.kaldi_data, lambda: from_kaldi(options.kaldi_data)),
        "--root": ("" if options.tables else options.root, lambda: from_tree(options.root)),
    }
    given = {name: read for name, (value, read) in readers.items() if value}
    if len(given) != 1 or not options.data:
        raise InputError(
            "command line",
            " and ".join(given) or "no data",
            "--data and one of " + ", ".join(readers),
            "Name one source (--root may go with --tables)",
        )
    return next(iter(given.values()))()


def index_files(options: FolderOptions) -> list[str]:
    """Tables and manifests whose change makes the preparation out of date."""
    files = [*options.trials, options.recordings, options.supervisions]
    if options.tables:
        files += [str(path) for path in sorted(Path(options.tables).iterdir()) if path.is_file()]
    if options.kaldi_data:
        files += [
            str(path)
            for path in sorted(Path(options.kaldi_data).rglob("*"))
            if path.name in ("utt2spk", "wav.scp", "segments", "model2utts", "trials", "spk2gender") and path.is_file()
        ]
    return [path for path in files if path]


def read_trials(path: str, source: Source) -> Iterator[Trial]:
    """Trials of a list `model test label` (or `1|0 model test`);
    utterances may go by their ids or paths in the source."""
    for where, words in trial_lists.read_lines(path, 3):
        if words[2] not in trial_lists.LABELS and words[0] in ("0", "1"):
            words = [*words[1:], words[0]]
        model = words[0] if words[0] in source.models else source.aliases.get(words[0], words[0])
        yield Trial(model, source.aliases.get(words[1], words[1]), trial_lists.read_label(words[2], where))


def _unite(lists: list[str], source: Source, where: object) -> None:
    """Divides a pool by the lists: speakers who appear in a trial are for evaluation."""
    source.models = {key: [key] for key in source.pool}
    named = {name for path in lists for trial in read_trials(path, source) for name in (trial.model, trial.test)}
    speakers = {source.pool[name].speaker for name in named if name in source.pool}
    if not speakers or len(speakers) == len({utt.speaker for utt in source.pool.values()}):
        raise InputError(
            where,
            f"{len(speakers)} speakers in the lists",
            "some speakers in the trials and others for training",
            "Check the ids of the list; add speakers for training",
        )
    folder_trials.divide(source, speakers)


def trial_groups(options: FolderOptions, source: Source) -> dict[str, Any]:
    """{list name: trials or the path to read them from}; divides a pool on the way."""
    lists, where = list(options.trials) or source.lists, options.root or options.recordings or options.kaldi_data
    if source.pool and lists:
        _unite(lists, source, where)
    elif source.pool:
        folder_trials.divide(source, folder_trials.choose_speakers(source, options.eval_fraction, options.seed, where))
    if lists:
        return trial_lists.by_name(lists)
    drawn = folder_trials.draw_trials(source.test, options.targets, options.nontargets, options.seed)
    source.models.update({trial.model: [trial.model] for trial in drawn})
    source.enroll.update({trial.model: source.test[trial.model] for trial in drawn})
    return {"trials": drawn}


def compare_told(source: Source) -> None:
    """Prints how many files are not what a manifest says; the files decide."""
    other = [
        f"{path}: found {source.audio[path]}; expected {told} as its manifest says"
        for path, told in source.told.items()
        if path in source.audio and str(source.audio[path]) != str(told)
    ]
    if other:
        print(f"{len(other)} of {len(source.told)} files are not what the manifest says (first: {other[0]})")


def drop_unusable(source: Source, failed: dict[str, str], max_bad: float) -> None:
    """Takes utterances without a readable header, or behind the end of their recording, out of every set.

    Keeps the reasons (a pool's with `train`). Raises InputError where more than the fraction max_bad lie behind.
    """
    groups = [getattr(source, name) for name in ("pool", "train", "enroll", "test")]
    behind = {key: reason for group in groups for key, reason in fit(group, source.audio).items()}
    if len(behind) > max_bad * len({key for group in groups for key in group}):
        utt, reason = next(iter(behind.items()))
        told = f"{len(behind)} utterances behind the end ({reason})"
        cure = "Mend the times, or allow a fraction with --max-bad: they are left out, with their reasons"
        raise InputError("segments or supervisions", told, "stretches of their recordings", cure, utt)
    for name, group in zip(("pool", "train", "enroll", "test"), groups):
        lost = {**unreadable(group, failed), **{key: behind[key] for key in behind if key in group}}
        source.dropped.setdefault("train" if name == "pool" else name, {}).update(lost)
        for key in lost:
            del group[key]
    source.models = {
        model: kept for model, utts in source.models.items() if (kept := [utt for utt in utts if utt in source.enroll])
    }


def one_speaker_each(source: Source, options: FolderOptions) -> None:
    """Raises InputError for a stretch of a recording that goes under two speakers' names."""
    owner: dict[tuple[Any, ...], Utterance] = {}
    for utt in source.all():
        other = owner.setdefault((utt.path, utt.channel, utt.start, utt.seconds), utt)
        if other.speaker != utt.speaker:
            raise InputError(
                options.tables or options.supervisions or options.kaldi_data or options.root,
                f"{utt.path} of the speakers {other.speaker} and {utt.speaker}",
                "one speaker a recording",
                "Correct the labels: one person under two names spoils training and trials",
                item=utt.id,
            )


def settle_channels(source: Source) -> None:
    """Doubtful channels that the file does not have become its only one; prints how often one of several is used."""
    several: list[str] = []
    for utt in source.all():
        count = source.audio[utt.path].channels
        if utt.id in source.hints and utt.channel >= count:
            utt.channel = 0
        if utt.channel >= count:
            raise InputError(
                utt.path, f"{count} channels", f"channel {utt.channel + 1}", "Repair the table", item=utt.id
            )
        if count > 1:
            several.append(f"channel {utt.channel + 1} of {count} in {utt.path}")
    if several:
        print(f"{len(several)} utterances are one channel of several (first: {several[0]})")


def _open(group: Any, source: Source) -> Iterator[Trial]:
    """A list's trials, from its path or as they were drawn."""
    return read_trials(group, source) if isinstance(group, str) else iter(group)


def _write(data: Path, source: Source, groups: dict[str, Any]) -> dict[str, Any]:
    """Trial lists with the columns that tell their trials apart, then the data directories; returns the counts."""
    summary: dict[str, Any] = {}
    columns = folder_trials.split_columns(source)
    for name, group in groups.items():
        sizes = folder_trials.enrolment_sizes(_open(group, source), source)
        names = (*columns, *(("enroll_utts",) if sizes else ()))
        summary[f"trials/{name}"] = trial_lists.write_list(
            data,
            name,
            folder_trials.with_columns(_open(group, source), source, columns, sizes),
            names,
            source.models,
            source.test,
        )
    index_by_id([*source.train.values(), *source.enroll.values(), *source.test.values()], data)
    for name in ("train", "enroll", "test"):
        summary[name] = write_data_dir(
            data / name,
            getattr(source, name),
            source.audio,
            source.models if name == "enroll" else None,
            source.dropped.get(name, {}),
        )
    seen = {utt.speaker for utt in source.train.values()} & {utt.speaker for utt in source.test.values()}
    if seen:
        summary["warning"] = f"{len(seen)} evaluation speakers are in the training set too (first: {min(seen)})"
    return summary


def prepare(options: FolderOptions) -> None:
    """Writes data directories and trial lists from the source that the options name."""
    source = read_source(options)
    one_speaker_each(source, options)
    listing = listing_digest(utt.path for utt in source.all())
    made = describe("prep_folder", recipe(options, listing=listing), index_files(options), seed=options.seed)
    if not start(options.data, made, options.force):
        return
    failed: dict[str, str] = {}
    source.audio = probe_all((utt.path for utt in source.all()), options.max_bad, failed)
    compare_told(source)
    drop_unusable(source, failed, options.max_bad)
    settle_channels(source)
    groups = trial_groups(options, source)
    report(options.data, made, _write(Path(options.data), source, groups))


@command(FolderOptions)
def main(options: FolderOptions) -> None:
    """Prepares own data as data/<corpus>/{train,enroll,test} and trials (see local/README.md)."""
    prepare(options)


if __name__ == "__main__":
    raise SystemExit(main())

"""Prepares anybody's own data: a tree of audio, tables, lhotse manifests or Kaldi data directories."""

import operator
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from local import folder_trials, trial_lists
from local.audio_header import probe_all, rates_of
from local.common import Preparation, PrepOptions, Utterance, fit, index_by_id, seen_in_training, unreadable
from local.folder_sources import OwnData, from_tables, from_tree, know_speakers, settle_genders
from local.toolkit_sources import NAMED, READ, from_kaldi, from_lhotse
from local.trial_lists import Trial
from pyasp.audio.folders import copies_of, some
from pyasp.audio.recording import same_samples
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import Count, OpenShare, option


@dataclass(frozen=True)
class FolderOptions(PrepOptions):
    """The data, and the trials drawn from it."""

    root: str = option(
        "", "a tree <speaker>/[<session>/]<utterance>.<wav|flac|sph|...>; with --tables: what paths are relative to"
    )
    tables: str = option("", "directory with train.tsv, test.tsv, enroll.tsv and trials or trials_*")
    recordings: str = option("", "lhotse recordings manifest")
    supervisions: str = option("", "lhotse supervisions manifest (each an utterance of its speaker)")
    kaldi_data: str = option("", "a Kaldi data directory, or one with train/, test/ and enroll/ in it")
    trials: tuple[str, ...] = option((), "trial list `model test target|nontarget`; without any, trials are drawn")
    eval_fraction: OpenShare = option(0.2, "share of the speakers kept for evaluation when no list says who")
    speaker_table: str = option(
        "", "what is known of speakers: a table, `speaker` and gender, language, ... with tabs between"
    )
    same_condition: bool = option(
        True, "drawn non-targets share gender, language, ... of their speakers, as far as there are enough who do"
    )
    targets: Count = option(40, "largest number of target trials a speaker when trials are drawn")
    nontargets: Count = option(10, "non-target trials a target when trials are drawn")


def read_source(options: FolderOptions) -> OwnData:
    """Utterances of the one source that was named. Raises InputError unless exactly one was."""
    root = os.path.abspath(options.root) if options.root else ""
    readers = {
        "--tables": (options.tables, lambda source: from_tables(source, options.tables)),
        "--recordings": (
            options.recordings or options.supervisions,
            lambda source: from_lhotse(source, options.recordings, options.supervisions),
        ),
        "--kaldi-data": (options.kaldi_data, lambda source: from_kaldi(source, options.kaldi_data)),
        "--root": ("" if options.tables else options.root, lambda source: from_tree(source, root)),
    }
    given = {name: (value, read) for name, (value, read) in readers.items() if value}
    if len(given) != 1 or not options.data:
        found, expected = " and ".join(given) or "no data", "--data and one of " + ", ".join(readers)
        raise InputError("command line", found, expected, "Name one source (--root may go with --tables)")
    ((value, read),) = given.values()
    source = OwnData(value, root, options.allow_commands)
    read(source)
    if options.speaker_table:
        know_speakers(source, options.speaker_table)
    settle_genders(source)
    return source


def index_files(options: FolderOptions, source: OwnData) -> list[str]:
    """Tables, manifests and lists whose change makes the preparation out of date."""
    files = [*(options.trials or source.lists), options.recordings, options.supervisions, options.speaker_table]
    if options.tables:
        files += [str(path) for path in sorted(Path(options.tables).iterdir()) if path.is_file()]
    if options.kaldi_data:
        top = Path(options.kaldi_data)
        tables = (top / part / name for part in ("", "train", "enroll", "test") for name in (*READ, *NAMED))
        files += [str(path) for path in tables if path.is_file()]
    return [path for path in files if path]


def read_trials(path: str, source: OwnData, order: str) -> Iterator[Trial]:
    """Trials of a list whose columns are in this order; models and recordings may go by any of their names.

    Raises InputError for a name of several, and for a label that is none.
    """
    model, test, label = trial_lists.ORDERS[order]
    for where, words in trial_lists.read_lines(path, 3):
        yield Trial(
            source.model_names.find(words[model], where) or words[model],
            source.test_names.find(words[test], where) or words[test],
            trial_lists.read_label(words[label], where),
        )


def order_of(path: str, source: OwnData) -> str:
    """The order of a list's columns, decided once for all of it, and said."""

    def known(model: str, test: str) -> bool:
        return bool(source.model_names.find(model, path) and source.test_names.find(test, path))

    order = trial_lists.order_of(path, known)
    print(f"{path}: its columns are {order}")
    return order


def _unite(lists: Mapping[str, str], source: OwnData) -> None:
    """Divides a pool by the lists (path: order): speakers who appear in a trial are for evaluation."""
    trials = (trial for path, order in lists.items() for trial in read_trials(path, source, order))
    named = {name for trial in trials for name in (trial.model, trial.test)}
    speakers = {source.pool[name].speaker for name in named if name in source.pool}
    strange = sorted(named - set(source.pool))
    if not speakers or len(speakers) == len({utt.speaker for utt in source.pool.values()}):
        ids = f" ({len(strange)} ids are unknown: {some(strange)})" if strange else ""
        found = f"{len(speakers)} speakers in the lists{ids}"
        known = source.test_names.example(source.pool)
        cure = f"Check the ids of the list (known are {known}, ...); add speakers for training"
        raise InputError(source.where, found, "some speakers in the trials and others for training", cure)
    folder_trials.divide(source, speakers)


def trial_groups(options: FolderOptions, source: OwnData) -> dict[str, Callable[[], Iterator[Trial]]]:
    """{list name: a way to go through its trials}; divides a pool on the way."""
    lists = trial_lists.by_name(options.trials or source.lists)
    orders = {path: order_of(path, source) for path in lists.values()}
    if source.pool and lists:
        _unite(orders, source)
    elif source.pool:
        speakers = folder_trials.choose_speakers(source, options.eval_fraction, options.seed, source.where)
        folder_trials.divide(source, speakers)
    if lists:
        return {name: partial(read_trials, path, source, orders[path]) for name, path in lists.items()}
    conditions, used = folder_trials.Conditions(source.test.values()), options.same_condition
    allow = conditions.allow if used else operator.ne
    drawn = folder_trials.draw_trials(source, options.targets, options.nontargets, options.seed, allow)
    source.drawn = folder_trials.how_hard(drawn, source.test, conditions, used)
    source.models.update({trial.model: [trial.model] for trial in drawn})
    source.enroll.update({trial.model: source.test[trial.model] for trial in drawn})
    return {"trials": lambda: iter(drawn)}


def compare_told(source: OwnData) -> None:
    """Prints how many files are not what a manifest says; the files decide."""
    other = [
        f"{path}: found {source.audio[path]}; expected {told} as its manifest says"
        for path, told in source.told.items()
        if path in source.audio and str(source.audio[path]) != str(told)
    ]
    if other:
        print(f"{len(other)} of {len(source.told)} files are not what the manifest says (first: {other[0]})")


def drop_unusable(source: OwnData, failed: dict[str, str], max_bad: float) -> None:
    """Takes utterances without a readable header, or outside of their recording, out of every set.

    Keeps the reasons (a pool's with `train`). Raises InputError where more than the fraction max_bad lie outside.
    """
    groups = [getattr(source, name) for name in ("pool", "train", "enroll", "test")]
    behind = {key: reason for group in groups for key, reason in fit(group, source.audio).items()}
    if len(behind) > max_bad * len({key for group in groups for key in group}):
        utt, reason = next(iter(behind.items()))
        told = f"{len(behind)} utterances outside of their recordings ({reason})"
        cure = "Mend the times, or allow a fraction with --max-bad: they are left out, with their reasons"
        raise InputError("segments or supervisions", told, "stretches of their recordings", cure, utt)
    for name, group in zip(("pool", "train", "enroll", "test"), groups):
        lost = {**unreadable(group, failed), **{key: behind[key] for key in behind if key in group}}
        source.dropped.setdefault("train" if name == "pool" else name, {}).update(lost)
        source.lost.update(lost)
        for key in lost:
            del group[key]
    alone = {model: utts[0] for model, utts in source.models.items() if not set(utts) & set(source.enroll)}
    source.lost.update({model: f"{utt}: {source.lost[utt]}" for model, utt in alone.items() if utt in source.lost})
    source.models = {
        model: kept for model, utts in source.models.items() if (kept := [utt for utt in utts if utt in source.enroll])
    }


def one_name_each(source: OwnData) -> dict[str, str]:
    """Raises InputError for a stretch of a recording under two speakers' names; the summary's entry of those under two
    ids of one, none when there is none.

    A copy is no other recording.
    """
    source.real.take_for(copies_of(utt.path for utt in source.all()))
    files = {path: each for path, each in source.audio.items() if not path.endswith("|")}
    source.real.same_sounds(same_samples(files, ((utt.path, utt.channel) for utt in source.all())))
    owner: dict[tuple[Any, ...], Utterance] = {}
    wrong, twice = [], []
    for utt in source.all():
        other = owner.setdefault(source.place(utt), utt)
        copy = "" if other.path == utt.path else f" (a copy of {other.path})"
        if other.speaker != utt.speaker:
            wrong.append(f"{utt.path} of the speakers {other.speaker} and {utt.speaker}{copy}")
        elif other.id != utt.id:
            twice.append(f"{other.id} and {utt.id}{copy}")
    if wrong:
        found = f"{len(wrong)} recordings under two names: {some(wrong)}"
        cure = "Correct the labels: one person under two names spoils training and trials"
        raise InputError(source.where, found, "one speaker a recording", cure)
    twice = list(dict.fromkeys(twice))
    return {"warning of copies": f"{len(twice)} recordings have two ids: {some(twice)}"} if twice else {}


def alike_speakers(source: OwnData) -> dict[str, str]:
    """The summary's entry of speakers whose names differ in capitals alone, who may be one person; none when there are
    none."""
    names: dict[str, set[str]] = {}
    for utt in source.all():
        names.setdefault(utt.speaker.casefold(), set()).add(utt.speaker)
    alike = [" and ".join(sorted(each)) for each in names.values() if len(each) > 1]
    told = (
        f"{len(alike)} times the names of speakers differ in capitals alone ({some(alike)}): give one person one name"
    )
    return {"warning of names": told} if alike else {}


def settle_channels(source: OwnData) -> None:
    """Doubtful channels that the file does not have become its only one; prints how often one of several is used."""
    several: list[str] = []
    for utt in source.all():
        count = source.audio[utt.path].channels
        if utt.id in source.hints and utt.channel >= count:
            utt.channel = 0
        if utt.channel >= count:
            found = f"{count} channels"
            raise InputError(utt.path, found, f"channel {utt.channel}, counted from 0", "Repair the table", item=utt.id)
        if count > 1:
            several.append(f"channel {utt.channel} of {count}, counted from 0, in {utt.path}")
    if several:
        print(f"{len(several)} utterances are one channel of several, the others are not used (first: {several[0]})")


def _write(prep: Preparation, source: OwnData, groups: Mapping[str, Callable[[], Iterator[Trial]]]) -> None:
    """Trial lists with the columns that tell their trials apart, then the data directories."""
    columns, summary = folder_trials.split_columns(source), prep.summary
    examples = source.model_names.example(source.models), source.test_names.example(source.test)
    for name, trials in groups.items():
        sizes = folder_trials.enrolment_sizes(trials(), source)
        described, header = folder_trials.with_columns(trials(), source, columns, sizes), [*columns]
        header += ["enroll_utts"] * sizes
        summary[f"trials/{name}"] = trial_lists.write_list(
            prep.data, name, described, header, source.models, source.test, _check(source), examples, source.lost
        )
        if source.drawn:
            summary[f"trials/{name}"] |= source.drawn[0]
            summary["drawn"] = source.drawn[1]
    index_by_id([*source.train.values(), *source.enroll.values(), *source.test.values()], prep.data)
    for name in ("train", "enroll", "test"):
        models, dropped = source.models if name == "enroll" else None, source.dropped.get(name, {})
        prep.write(name, getattr(source, name), source.audio, models, dropped)
    evaluation = [*source.enroll.values(), *source.test.values()]
    summary.update(seen_in_training(source.train.values(), evaluation, source.real))


def _check(source: OwnData) -> trial_lists.Check:
    """What the labels of a list are compared with."""
    both = {**source.enroll, **source.test}
    speakers = {utt.speaker for utt in both.values() if utt.speaker != utt.id}
    speaker = {key: utt.speaker if utt.speaker in speakers else "" for key, utt in both.items()}
    return trial_lists.Check(source.models, speaker.__getitem__, lambda key: source.sound(both[key]))


@command(FolderOptions)
def main(options: FolderOptions) -> None:
    """Prepares own data as data/<corpus>/{train,enroll,test} and trials.

    Must be given: one of --root, --tables (with --root), --kaldi-data, and --recordings with --supervisions.
    Without --trials a fifth of the speakers is kept for trials, which are drawn. How each must lie: local/README.md.
    """
    source = read_source(options)
    paths = [utt.path for utt in source.all()]
    prep = Preparation("prep_folder", options, paths, index_files(options, source))
    if prep.current():
        return
    if not source.pool:
        prep.require_training(source.train, source.where)
    commands = {path: header for path, header in source.told.items() if path.endswith("|")}  # run when they are read
    files = (utt.path for utt in source.all() if utt.path not in commands)
    audio, failed = probe_all(files, options.max_bad, options.data)
    source.audio = commands | audio
    rates = rates_of(source.audio, options.rate)
    compare_told(source)
    drop_unusable(source, failed, options.max_bad)
    settle_channels(source)
    prep.summary.update(source.doubts | one_name_each(source) | alike_speakers(source))
    try:
        groups = trial_groups(options, source)
    except InputError:
        for doubt in (text for name, text in source.doubts.items() if name.startswith("warning")):
            print(f"warning: {doubt}")  # which may be why
        raise
    prep.require_training(source.train, source.where)
    prep.begin()
    _write(prep, source, groups)
    prep.summary.update(rates)
    prep.report()


if __name__ == "__main__":
    raise SystemExit(main())

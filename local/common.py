"""What every preparation shares: utterances in, data directories and trial lists out.

An utterance is one channel of a recording, or a stretch of it. `cuts.jsonl.gz` holds lhotse MonoCuts, written by hand
since a million of them should take a minute; wav.scp (segments, reco2file_and_channel) says the same to Kaldi's
programs.
"""

import dataclasses
import gzip
import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.audio_header import LIST as UNREADABLE
from local.audio_header import by_rate
from local.trial_lists import FAULTS
from pyasp.audio.cut_files import cut_of, described
from pyasp.audio.folders import Listing, RealPaths, Tree, some, walk
from pyasp.audio.headers import Header
from pyasp.audio.recording import OVERSHOOT, seconds_within
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write, remove_tree
from pyasp.core.options import Natural, Share, check_options, option
from pyasp.core.records import describe, is_current, load_record, made_path, making, same_value
from pyasp.data.datadir import TRAINING_RATES, DataDir, c_sorted, check_id, write_reasons
from pyasp.data.parts import DROPPED
from pyasp.kaldi.names import is_command

MARKER = "prep.json"
MADE = (
    "train",
    "enroll",
    "test",
    "trials",
    "dev",
    "conf",
    "train_aug",
    "train_ubm",
    "train_sel",
)  # in --data, by a run
SETS, WHOLE = ("train", "enroll", "test"), ("wav.scp", "utt2spk", "spk2utt", "utt2dur", "cuts.jsonl.gz")
LISTING = "prep.files.gz"  # the corpus's files, with their size and time
PLACES = ("data", "force", "allow_commands", "rate", "trains")  # they decide where and whether, not what is prepared
SIDE_NAMES = {0: "A", 1: "B"}
NO_COMMANDS = (
    "Name a file, whose name does not end in |; entries of wav.scp and `command` sources of a manifest run with "
    "--allow-commands, if you trust them: else a preparation runs no commands"
)


@dataclass(frozen=True)
class PrepOptions:
    """Of every preparation."""

    data: str = option("", "directory to write: train, enroll, test and trials under it")
    seed: int = option(1, "seed of everything that is drawn")
    force: bool = option(False, "prepare again when options or lists have changed")
    rate: Natural = option(0, "samples a second of the features: lower rates among the recordings are warned of")
    trains: bool = option(False, "models will be trained on it, as run.sh says: one training speaker is refused")
    allow_commands: bool = option(False, "run the commands of wav.scp and manifests that do more than decode a file")
    max_bad: Share = option(
        0.0, "largest fraction of audio files that may be unreadable, 0.2 is a fifth (they are left out and named)"
    )

    def __post_init__(self) -> None:
        check_options(self, "command line")


@dataclass(slots=True)
class Utterance:
    """One utterance. channel counts from 0; start and seconds (None: to the end) within the recording;
    info: further columns; command: in place of a path a command may stand, which the user admitted."""

    id: str
    speaker: str
    path: str
    gender: str = ""
    channel: int = 0
    start: float = 0.0
    seconds: float | None = None
    recording: str = ""
    info: dict[str, str] = field(default_factory=dict)
    command: bool = False


def prefixed(utt: str, speaker: str) -> str:
    """Utterance id that starts with its speaker (Kaldi's rule for sorting)."""
    return utt if utt.startswith(speaker) else f"{speaker}-{utt}"


def walk_speakers(*roots: str | Path) -> Tree:
    """The recordings of trees <speaker>/..., said what was passed over or comes twice.

    Raises InputError for recordings that links put under two speakers' names; a circle is no second name.
    """
    tree = walk(*roots)
    tree.say()
    links = {name: target for name, target in tree.folders.items() if not f"{name}/".startswith(f"{target}/")}
    pairs = [(tree.below(name), tree.below(target)) for name, target in {**links, **tree.again}.items()]
    wrong = [f"{name} is {target}" for name, target in pairs if name.split("/")[0] != target.split("/")[0]]
    if wrong:
        found = f"{len(wrong)} recordings or folders under two speakers' names ({some(wrong)})"
        cure = "Take out one of the names: one person under two names spoils training and trials"
        raise InputError(some(tree.roots), found, "one speaker a recording", cure)
    return tree


def index_by_id(utterances: Iterable[Utterance], where: object) -> dict[str, Utterance]:
    """{id: utterance}, checked: usable ids, none twice with different audio; no path that Kaldi would run as a command
    unless the user admitted it. Raises InputError.

    Every utterance of a preparation comes through here before its audio is opened or wav.scp names it.
    """
    index: dict[str, Utterance] = {}
    twice = []
    for each in utterances:
        check_id(each.speaker, "speaker", where)  # first: it is a part of the other
        check_id(each.id, "utterance", where)
        if is_command(each.path) and not each.command:
            found, expected = f"the command {each.path!r}", "a file, or sph2pipe or flac decoding one"
            raise InputError(where, found, expected, NO_COMMANDS, item=each.id)
        other = index.setdefault(each.id, each)
        if other is not each and _place(other) != _place(each):
            twice.append(f"utterance {each.id} twice: {other.path} and {each.path}")
    if twice:
        cure = "Give the utterances different ids (or directories different names)"
        raise InputError(where, some(twice), "one recording an id", cure)
    return index


def _place(utt: Utterance) -> tuple[Any, ...]:
    return utt.path, utt.channel, utt.start, utt.speaker


def _cut(utt: Utterance, audio: Header, since: str = "") -> dict[str, Any]:
    """A lhotse MonoCut with its recording and one supervision, as lhotse itself would store it. since: of a recording
    that came in place of another, which may differ from it in nothing else that a cut says."""
    recording = described(utt.recording or utt.id, utt.path, audio.rate, audio.samples, audio.channels)
    supervision = {
        "id": utt.id,
        "recording_id": recording["id"],
        "start": utt.start,
        "duration": _seconds(utt, audio),
        "channel": utt.channel,
        "speaker": utt.speaker,
        **({"gender": utt.gender} if utt.gender else {}),
    }
    return cut_of(recording, supervision) | ({"custom": {"since": since}} if since else {})


KALDI_READERS: dict[str, Callable[[str, int, int], str]] = {
    ".sph": lambda path, channel, count: f"sph2pipe -f wav -p -c {channel + 1} {path} |",
    ".wav": lambda path, channel, count: path if count == 1 else f"sox {path} -t wav - remix {channel + 1} |",
    ".flac": lambda path, channel, count: (
        f"flac -c -d -s {path} |" if count == 1 else f"sox {path} -t wav - remix {channel + 1} |"
    ),
    "": lambda path, channel, count: f"ffmpeg -v 8 -i {path} -map_channel 0.0.{channel} -f wav -acodec pcm_s16le - |",
}  # "": any other format


def kaldi_entry(utt: Utterance, audio: Header) -> str:
    """What wav.scp says for a recording: a wav file, or the command that makes one channel of it."""
    if utt.path.endswith("|"):
        return utt.path
    form = ".sph" if audio.encoding in ("sphere", "shorten") else Path(utt.path).suffix.lower()
    line = KALDI_READERS.get(form, KALDI_READERS[""])(shlex.quote(utt.path), utt.channel, audio.channels)
    return line if line.endswith("|") else utt.path


def write_cuts(path: Path, utterances: list[Utterance], audio: Mapping[str, Header]) -> None:
    """cuts.jsonl.gz, atomic, the same bytes for the same utterances (no time in the gzip header)."""
    since = Listing(path.parent.parent, LISTING).since()
    with atomic_write(path) as raw, gzip.GzipFile(path.name, "wb", 3, raw, mtime=0) as stream:
        for utt in utterances:
            stream.write(
                json.dumps(_cut(utt, audio[utt.path], since.get(utt.path, "")), ensure_ascii=False).encode() + b"\n"
            )


def _write_wav_scp(data: DataDir, utterances: list[Utterance], audio: Mapping[str, Header]) -> None:
    """wav.scp; segments when an utterance is a stretch of a recording;
    reco2file_and_channel when a file has two channels."""
    stretches = any(utt.recording or utt.start or utt.seconds is not None for utt in utterances)
    data.write("wav.scp", {utt.recording or utt.id: kaldi_entry(utt, audio[utt.path]) for utt in utterances})
    tables: dict[str, dict[str, str]] = {"segments": {}, "reco2file_and_channel": {}}
    if stretches:
        tables["segments"] = {
            utt.id: f"{utt.recording or utt.id} {utt.start:.3f} {utt.start + _seconds(utt, audio[utt.path]):.3f}"
            for utt in utterances
        }
    if any(audio[utt.path].channels > 1 for utt in utterances):
        tables["reco2file_and_channel"] = {
            utt.recording or utt.id: f"{Path(utt.path).stem} {SIDE_NAMES.get(utt.channel, utt.channel + 1)}"
            for utt in utterances
        }
    for name, table in tables.items():
        if table:
            data.write(name, table)
        else:
            (data / name).unlink(missing_ok=True)


def _seconds(utt: Utterance, header: Header) -> float:
    return utt.seconds if utt.seconds is not None else header.samples / header.rate - utt.start


def unreadable(index: Mapping[str, Utterance], failed: Mapping[str, str]) -> dict[str, str]:
    """{utterance: reason} of those whose file `probe_all` could not read."""
    return {key: " ".join(failed[utt.path].split()) for key, utt in index.items() if utt.path in failed}


def fit(index: Mapping[str, Utterance], audio: Mapping[str, Header]) -> dict[str, str]:
    """Ends stretches with their recordings, as Kaldi does; {utterance: reason} of those that lie behind them."""
    lost, shortened = {}, []
    for utt in (utt for utt in index.values() if utt.path in audio and (utt.start or utt.seconds is not None)):
        header = audio[utt.path]
        try:
            seconds = seconds_within(utt.start, utt.seconds, header.rate, header.samples)
        except ValueError as error:
            lost[utt.id] = f"{utt.path}: found {error}; expected one from 0 s to at most {OVERSHOOT} s behind its end"
        else:
            if utt.seconds not in (None, seconds):
                shortened.append(f"{utt.id} by {utt.seconds - seconds:.4f} s")
            utt.seconds = seconds
    if shortened:
        print(f"{len(shortened)} utterances that ended behind their recordings are shortened (first: {shortened[0]})")
    return lost


def write_data_dir(
    directory: Path,
    index: Mapping[str, Utterance],
    audio: Mapping[str, Header],
    models: Mapping[str, list[str]] | None = None,
    dropped: Mapping[str, str] = {},
) -> dict[str, Any]:
    """Writes one data directory, C-sorted, file by file; returns its counts.

    dropped: {utterance: reason} of what was left out, for dropped.tsv. Raises InputError when it would be empty.
    """
    if not index:
        raise InputError(directory, "no utterance", "at least one", "Check the root directory and the lists")
    utterances = [index[key] for key in c_sorted(index)]
    directory.mkdir(parents=True, exist_ok=True)
    data = DataDir(directory)
    (data / DROPPED).unlink(missing_ok=True)  # of an older preparation
    if dropped:
        write_reasons(data / DROPPED, dropped)
    utt2spk = {utt.id: utt.speaker for utt in utterances}
    _write_wav_scp(data, utterances, audio)
    for utt in utterances:
        utt.info = {name: " ".join(value.split()) for name, value in utt.info.items()}
    data.write_info({utt.id: utt.info for utt in utterances})
    genders = {utt.speaker: utt.gender for utt in utterances if utt.gender in ("m", "f")}
    if genders:
        data.write("spk2gender", genders)
    data.write("utt2dur", {utt.id: f"{_seconds(utt, audio[utt.path]):.4f}" for utt in utterances})
    write_cuts(data / "cuts.jsonl.gz", utterances, audio)
    data.write_speakers(utt2spk)
    counts = {
        "utterances": len(utterances),
        "speakers": len(set(utt2spk.values())),
        "hours": round(sum(_seconds(utt, audio[utt.path]) for utt in utterances) / 3600, 3),
    }
    if models is not None:
        data.write_models({model: c_sorted(set(utts)) for model, utts in models.items()})
        counts["models"] = len(models)
    return {**counts, "dropped": len(dropped)} if dropped else counts


def seen_in_training(
    train: Iterable[Utterance], evaluation: Iterable[Utterance], real: RealPaths | None = None
) -> dict[str, Any]:
    """What of the evaluation is in the training set too, as entries of a summary; none when there is none."""
    real, train, evaluation = real or RealPaths(), list(train), list(evaluation)
    sounds = {real.sound(utt.path, utt.channel) for utt in train}
    found = {
        "evaluation speakers": {utt.speaker for utt in evaluation} & {utt.speaker for utt in train},
        "evaluation recordings": {utt.id for utt in evaluation if real.sound(utt.path, utt.channel) in sounds},
    }
    found = {what: ids for what, ids in found.items() if ids}
    if not found:
        return {}
    told = (f"{len(ids)} {what} are in the training set too (first: {min(ids)})" for what, ids in found.items())
    return {"seen in training": {what: len(ids) for what, ids in found.items()}, "warning": "; ".join(told)}


def warnings_of(summary: Mapping[str, Any]) -> list[str]:
    """What of a preparation the figures may suffer from, as sentences: the report prints them too."""
    lists = {name.removeprefix("trials/"): counts for name, counts in summary.items() if name.startswith("trials/")}
    told = [
        f"{counts[what]} of {counts['target'] + counts['nontarget']} trials of {name} are {what}"
        for name, counts in lists.items()
        for what in FAULTS
        if counts.get(what)
    ]
    return told + [text for name, text in summary.items() if name.startswith("warning")]


def check_corpus(data: str | Path, tool: str, root: str = "") -> None:
    """InputError where another preparation, or the same of another `root`, made the data: a forgotten --corpus would
    put one corpus in the place of the other."""
    record = made_path(Path(data) / MARKER)
    made = load_record(record) if record.is_file() else {}
    before = f"{made.get('tool')} {made.get('options', {}).get('root') or ''}".strip()
    if made and (made.get("tool") != tool or (root and not same_value(made["options"].get("root"), root))):
        expected = f"data of {tool} {root}".strip()
        cure = "Give the --corpus that it is of, or another --data. Nothing was changed"
        raise InputError("command line", f"data of {before} in {data}", expected, cure, item="--data")


class Preparation:
    """What a preparation makes of a corpus: `current` first, then `begin`, each data directory, and `report`.

    paths: the corpus's files; inputs: its tables and lists; further: facts beside the options that decide the result;
    summary: what is told at the end, to be added to. Where and how fast it runs decides nothing.
    """

    def __init__(
        self, tool: str, options: PrepOptions, paths: Iterable[str], inputs: Iterable[str | Path], **further: Any
    ):
        self.options: Any = options  # of a class of its own
        self.data, self.paths, inputs = Path(options.data), list(paths), list(inputs)
        check_corpus(self.data, tool)
        self._spare_what_is_not_ours([str(path) for path in inputs])
        kept = {key: value for key, value in dataclasses.asdict(options).items() if key not in PLACES}
        decides = {**kept, **further, "listing": self.listing.digest(self.paths)}
        self.made = describe(tool, json.loads(json.dumps(decides)), inputs, seed=options.seed)
        self.summary: dict[str, Any] = {}
        self.genders: dict[str, str] = {}  # of the speakers written so far

    @property
    def listing(self) -> Listing:
        """What the preparation before knew of the files; read when asked, since it may be a million names."""
        return Listing(self.data, LISTING)

    def _spare_what_is_not_ours(self, inputs: list[str]) -> None:
        """InputError where a run would write into a directory of the user's: one that the preparation reads, or one of
        a name that a run gives, with nothing that says that a run made it."""
        ours = any((self.data / name).exists() for name in (MARKER, LISTING))
        there = [] if ours or not self.data.is_dir() else sorted(path.name for path in self.data.iterdir())
        lost = [name for name in MADE if name in there]
        here, given = os.path.realpath(self.data), {k: v for k, v in vars(self.options).items() if k not in PLACES}
        lost += [path for path in given.values() if path and isinstance(path, str) and os.path.realpath(path) == here]
        places = [os.path.join(here, name) for name in MADE]
        lost += [path for path in inputs if any(Path(os.path.realpath(path)).is_relative_to(each) for each in places)]
        if lost:
            found, cure = f"a directory with files that no run made ({some(lost)})", "Name another; nothing was changed"
            raise InputError("--data", found, "one of the run's own", cure, item=self.data)
        read = [os.path.realpath(path) for path in (*inputs, *given.values()) if path and isinstance(path, str)]
        used = {".lock", UNREADABLE, *(Path(os.path.relpath(path, here)).parts[0] for path in read)}
        if beside := [name for name in there if name not in used]:
            print(f"{self.data}: {len(beside)} files or folders that no run made stay as they are: {some(beside)}")

    def current(self) -> bool:
        """True when the data is prepared by this very recipe. InputError when by another one, unless by force."""
        told = {"listing": lambda: self.listing.what_changed(self.paths)}
        marker = self.data / MARKER
        if marker.exists() and (lost := self._lost()):
            print(f"{marker}: made again, since {some(lost)} of it is gone")
            marker.unlink()
        return is_current(marker, self.made, self.options.force, told)

    def _lost(self) -> list[str]:
        """What the preparation that the marker tells of has made and is no longer there."""
        try:
            told = json.loads((self.data / MARKER).read_text(encoding="utf-8"))
        except ValueError:
            return [MARKER]
        files = [LISTING]
        files += [name for name, counts in told.items() if name.startswith("trials/") and any(counts.values())]
        files += [f"{name}/{file}" for name in SETS if name in told for file in WHOLE]
        files += ["enroll/model2utts"] if "enroll" in told else []
        return [name for name in files if not (self.data / name).is_file()]

    def require_training(self, train: Mapping[str, Utterance], where: object) -> None:
        """InputError where a run is to train on fewer than two speakers: told before anything is read or written."""
        speakers = sorted({utt.speaker for utt in train.values()})
        if self.options.trains and len(speakers) < 2:
            found = f"{len(speakers)} training speakers{f' ({speakers[0]})' if speakers else ''}"
            cure = "Bring recordings of more speakers, who are in no trial: networks and back ends learn from them what"
            raise InputError(where, found, "at least 2", f"{cure} tells speakers apart. Nothing was changed")

    def begin(self) -> None:
        """Removes what an older preparation left, once a new one is known to be possible, and lists the corpus's
        files."""
        (self.data / MARKER).unlink(missing_ok=True)
        remove_tree(self.data / "trials")
        self.listing.write(self.paths)

    def write(
        self, name: str, index: Mapping[str, Utterance], audio: Mapping[str, Header], *contents: Any, **more: Any
    ) -> None:
        """A data directory, train, enroll or test, as `write_data_dir`; the rates of the training set, which a bundle
        of the models tells."""
        known = [(utt.speaker, utt.gender) for utt in index.values() if utt.gender]
        if both := sorted({each for each, gender in known if self.genders.setdefault(each, gender) != gender}):
            told = f"{self.data / name}: {len(both)} speakers have recordings of both genders, here or in another set"
            self.summary[f"warning of genders in {name}"] = f"{told}: {some(both)}"
        self.summary[name] = write_data_dir(self.data / name, index, audio, *contents, **more)
        if name == "train":
            self.summary[TRAINING_RATES] = by_rate(audio[utt.path] for utt in index.values())

    def report(self) -> None:
        """Prints what was prepared and writes the marker prep.json, last: its presence means complete."""
        for name, counts in self.summary.items():
            told = ", ".join(f"{value} {key}" for key, value in counts.items()) if isinstance(counts, dict) else counts
            print(f"{self.data}: {name}: {told}")
        with making(self.data / MARKER, self.made) as temporary:
            kept = {**self.summary, "warnings": warnings_of(self.summary)}
            temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

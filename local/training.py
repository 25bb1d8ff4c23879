"""What the training corpora of SRE12 share: finding tables and recordings, sides of calls, and one label a person.

Corpora of the Mixer collections (SRE04 to SRE10, Mixer 6) know a person by the same number, the PIN: their labels are
merged, or one person would be several classes of the network. PINs of other collections are other numbers: prefixed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import NamedTuple

from local.common import Utterance
from local.sre12_tables import AudioFiles
from pyasp.audio.folders import file_below
from pyasp.core.errors import InputError
from pyasp.data.datadir import GENDERS, gender_of

MIXER = ("sre04", "sre05", "sre06", "sre08", "sre10", "mixer6")  # corpora whose speaker labels are Mixer PINs
MAX_UNKNOWN = 0.05  # share of lines without m or f above which the columns are taken for wrong


# SRE08 and SRE10 mix phone calls with interviews and calls recorded by microphones; the paper trains on telephone
# recordings. SRE10's directories tell them apart (`data/phonecall/tel`, `data/interview/mic` ...). SRE08's audio lies
# in one directory, but the Y flags of its trial key do: each common condition of an evaluation plan has models and test
# segments of one kind.
TELEPHONE, MICROPHONE, UNKNOWN = "telephone", "microphone", "not told whether telephone or microphone"
DIRECTORIES = {"tel": TELEPHONE, "tel_phn": TELEPHONE, "mic": MICROPHONE, "mic_int": MICROPHONE, "mic_phn": MICROPHONE}
LETTERS = {"t": TELEPHONE, "m": MICROPHONE}


class Conditions(NamedTuple):
    """Kinds of the models and of the test segments of common conditions 1, 2, ...; first: column of condition 1."""

    models: str
    tests: str
    first: int


def kind_of_path(path: str) -> str | None:
    """What the directories of a path (below its corpus's root) say; None when they say nothing."""
    return next((DIRECTORIES[part] for part in reversed(PurePath(path).parts[:-1]) if part in DIRECTORIES), None)


def kinds_of(trials: Iterable[list[str]], conditions: Conditions) -> tuple[dict[str, str], dict[str, str]]:
    """{model: kind}, {test segment: kind} as the target trials of a key tell them; a contradiction tells nothing."""
    models: dict[str, set[str]] = defaultdict(set)
    tests: dict[str, set[str]] = defaultdict(set)
    for model, segment, *rest in trials:
        flags = rest[conditions.first - 2 :]
        for letters, found in ((conditions.models, models[model]), (conditions.tests, tests[segment])):
            found.update(LETTERS[letter] for letter, flag in zip(letters, flags) if flag.upper() == "Y")
    of_models, of_tests = (
        {name: min(kinds) for name, kinds in each.items() if len(kinds) == 1} for each in (models, tests)
    )
    return of_models, of_tests


@dataclass
class Corpus:
    """One training corpus. sides: utterance by (file, channel), speaker = PIN, id = what follows the speaker in its
    final id; missing: recordings named in the tables that have no file; left_out: {reason: count}; prefix: of its
    speakers; kinds: sides by telephone or microphone, of a corpus that holds both; keep_microphone: use the latter.
    """

    name: str
    prefix: str = ""
    keep_microphone: bool = True
    kinds: dict[tuple[str, int], str] = field(default_factory=dict)
    sides: dict[tuple[str, int], Utterance] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    table_covers_more: bool = False  # the table lists recordings of other releases too: missing ones are no fault

    def add(self, pin: str, gender: str, segment: str, channel: int, recordings: AudioFiles, where: object) -> None:
        """Adds one side of a recording. Raises InputError when the side has another speaker already."""
        path = recordings.find(segment)
        if path is None:
            self.missing.append(segment)
            return
        stem = Path(path).stem
        side = Utterance(f"{self.name}-{stem}-{'ab'[channel]}", pin, path, gender_of(gender), channel)
        other = self.sides.setdefault((path, channel), side)
        if other.speaker != pin:
            found, expected = f"speaker {pin} in {stem}, side {'ab'[channel]}", f"{other.speaker}, as told before"
            raise InputError(where, found, expected, "Check the tables: one of the two lines is wrong")

    def add_kind(
        self, pin: str, gender: str, segment: str, channel: int, recordings: AudioFiles, where: object, told: str | None
    ) -> None:
        """As `add`, for a corpus of telephone and microphone recordings; told: which, where directories do not say it.

        Counts each side by its kind, and leaves microphone sides out unless they are wanted.
        """
        path = recordings.find(segment)
        side = (path or segment, channel)
        by_place = kind_of_path(recordings.below(path) if path else "") or kind_of_path(segment)
        kind = self.kinds[side] = by_place or told or self.kinds.get(side, UNKNOWN)
        if kind == MICROPHONE and not self.keep_microphone:
            self.sides.pop(side, None)
        else:
            self.add(pin, gender, segment, channel, recordings, where)

    def counts(self) -> dict[str, int]:
        """{"sides", "missing", each kind, each reason to leave out: count}."""
        missing = set(self.missing)
        kinds = Counter(kind for (place, _), kind in self.kinds.items() if place not in missing)
        left_out = 0 if self.keep_microphone else kinds.pop(MICROPHONE, 0)
        dropped = {"microphone recordings left out": left_out} if left_out else {}
        return {"sides": len(self.sides), "missing": len(self.missing), **kinds, **dropped, **self.left_out}

    def drop(self, reason: str) -> None:
        """Counts a line that is not used."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def check_genders(table: Path, genders: Iterable[str]) -> None:
    """Raises InputError when so few of the lines have m or f that the columns must be other ones."""
    values = [gender.strip().lower() for gender in genders]
    unknown = [value for value in values if value not in GENDERS]
    if not values or len(unknown) > MAX_UNKNOWN * len(values):
        found = f"{len(unknown)} of {len(values)} genders unknown (first: {unknown[0]!r})" if unknown else "no line"
        raise InputError(table, found, "m or f in the gender columns", "The layout has changed: report the first lines")


def find_table(root: str, name: str) -> Path:
    """A table by its file name, anywhere below root. Raises InputError when there is none."""
    base = Path(root)
    if not base.is_dir():
        raise InputError(root, "no such directory", "the root of a corpus", "Check the option that names it")
    places = [base / name, *(base / docs / name for docs in ("docs", "doc", "keys", "train"))]
    found = next((place for place in places if place.is_file()), None) or file_below(base, name)
    if found is None:
        cure = "Unpack the release's documentation (or its transcripts) below this directory"
        raise InputError(root, f"no {name} below it", f"the table {name}, for example in docs/", cure)
    return found


def _two_people(corpora: list[Corpus]) -> set[str]:
    """PINs that bear both genders in different Mixer corpora: two people, or a mistake; they are not merged."""
    genders: dict[str, set[str]] = defaultdict(set)
    for corpus in corpora:
        if corpus.name in MIXER:
            for side in corpus.sides.values():
                genders[side.speaker].update(side.gender)
    return {pin for pin, found in genders.items() if len(found) > 1}


def label(corpora: list[Corpus], merge: bool) -> tuple[list[Utterance], dict[str, int]]:
    """(utterances with their final ids and speakers, counts: speakers of each corpus added up, and as labels).

    merge: one label a PIN across the Mixer corpora; otherwise each corpus has labels of its own.
    """
    apart = _two_people(corpora)
    utterances = []
    for corpus in corpora:
        mixer = corpus.name in MIXER
        for side in corpus.sides.values():
            own = f"{corpus.name}_" if mixer and (not merge or side.speaker in apart) else corpus.prefix
            speaker = f"{own}{side.speaker}"
            utterances.append(replace(side, id=f"{speaker}-{side.id}", speaker=speaker, info={"corpus": corpus.name}))
    counts = {
        "speakers before merging": sum(len({side.speaker for side in corpus.sides.values()}) for corpus in corpora),
        "speakers after": len({utt.speaker for utt in utterances}),
        "PINs of two genders kept apart": len(apart),
    }
    return utterances, counts


def within(what: str, missing: list[str], total: int, allowed: float, cure: str) -> None:
    """Prints how many are missing; InputError when more than the allowed fraction is."""
    if missing:
        told = f"{len(missing)} of {total} {what} missing (first: {missing[0]})"
        if len(missing) > allowed * total:
            raise InputError(what, told, f"at most {allowed:g} of them missing", cure)
        print(f"left out: {told}")

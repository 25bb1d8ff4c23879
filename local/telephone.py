"""Which recordings of SRE08 and SRE10 came over a telephone, and which from a microphone in a room.

Both evaluations mix phone calls with interviews and calls recorded by microphones; the paper trains on telephone
recordings. SRE10's directories say it (`data/phonecall/tel`, `data/interview/mic` ...). SRE08's audio lies in one
directory, but the Y flags of its trial key do: each common condition of an evaluation plan has models and test
segments of one kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple

TELEPHONE, MICROPHONE, UNKNOWN = "telephone", "microphone", "not told whether telephone or microphone"
DIRECTORIES = {"tel": TELEPHONE, "tel_phn": TELEPHONE, "mic": MICROPHONE, "mic_int": MICROPHONE, "mic_phn": MICROPHONE}
LETTERS = {"t": TELEPHONE, "m": MICROPHONE}


class Conditions(NamedTuple):
    """Kinds of the models and of the test segments of common conditions 1, 2, ...; first: column of condition 1."""

    models: str
    tests: str
    first: int


# NIST's evaluation plans. SRE08: 1-3 interviews on both sides, 4 interview against call, 5 call against a call through
# a microphone, 6-8 calls. SRE10: 1, 2 interviews, 3, 4 interview against call by telephone, by microphone, 5 calls,
# 6 and 8 calls of high and low vocal effort by telephone, 7 and 9 by microphone.
SRE08 = Conditions("mmmmtttt", "mmmtmttt", 4)
SRE10 = Conditions("mmmmttmtm", "mmtmttmtm", 5)


def of_path(path: str) -> str | None:
    """What the directories of a path (below its corpus's root) say; None when they say nothing."""
    return next((DIRECTORIES[part] for part in reversed(PurePath(path).parts[:-1]) if part in DIRECTORIES), None)


class Kinds:
    """What the target trials of a key say about their models and test segments."""

    def __init__(self, trials: Iterable[list[str]], conditions: Conditions):
        self._models: dict[str, set[str]] = {}
        self._tests: dict[str, set[str]] = {}
        for model, segment, *rest in trials:
            flags = rest[conditions.first - 2 :]
            for letter_of, found in (
                (conditions.models, self._models.setdefault(model, set())),
                (conditions.tests, self._tests.setdefault(segment, set())),
            ):
                found.update(LETTERS[letter] for letter, flag in zip(letter_of, flags) if flag.upper() == "Y")

    def of_model(self, model: str) -> str | None:
        """The kind of a model's training recording; None when the key does not say, or contradicts itself."""
        return _only(self._models.get(model, set()))

    def of_test(self, segment: str) -> str | None:
        """The kind of a test segment; None when the key does not say, or contradicts itself."""
        return _only(self._tests.get(segment, set()))


def _only(found: set[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None

"""The one exception that a user may see: bad input, with the way out."""

from __future__ import annotations


class InputError(Exception):
    """Bad input, told in four parts: where, which item, found versus expected, the way out.

    >>> str(InputError("data/train/utt2spk", "2 fields", "1 speaker per line", "Run stage 1", item="line 7"))
    'data/train/utt2spk: line 7: found 2 fields; expected 1 speaker per line. Run stage 1.'
    """

    def __init__(self, where: object, found: str, expected: str, cure: str, item: object | None = None):
        place = f"{where}" if item is None else f"{where}: {item}"
        super().__init__(f"{place}: found {found}; expected {expected}. {cure.rstrip('.')}.")

"""Options of augmentation (augment.conf), checked before any work starts; no audio library is imported here."""

from __future__ import annotations

import dataclasses
import re

from pyasp.audio import codec as codecs
from pyasp.core.errors import InputError
from pyasp.core.options import option

KINDS = ("noise", "reverb", "codec")
SPEEDS = 0.5, 2.0  # slowest and fastest


@dataclasses.dataclass(frozen=True)
class AugmentOptions:
    """What the augmented copies are (augment.conf)."""

    copies: int = option(1, "augmented copies of each clean recording; 0 switches augmentation off")
    kinds: str = option("noise,reverb", "kinds of which each copy gets one, drawn evenly: noise,reverb,codec")
    speeds: str = option(
        "",
        "speeds at which every recording and its copies are taken once more, as of another "
        "speaker, comma between (0.9,1.1); none when empty, as in the paper",
    )
    snrs: str = option("8,15,20", "signal-to-noise ratios in dB, measured over speech, of which a noisy copy gets one")
    codec: str = option(
        "amr",
        "telephone codec of the kind codec: AMR-NB, or a stand-in where no encoder is installed",
        choices=codecs.CODECS,
    )
    amr_rates: str = option("6.7,4.75", "kbit/s of AMR-NB of which each such copy gets one, comma between")
    frame_shift: float = option(10.0, "milliseconds between the frames of the voice activity over which levels are set")
    generated_noises: int = option(20, "noises to generate when no folder is given")
    generated_responses: int = option(20, "impulse responses to generate when no folder is given")
    noise_seconds: float = option(20.0, "length of a generated noise in seconds")


def _words(text: str, known, key: str, wanted: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in known]
    if wrong or not words:
        raise InputError("augment.conf", repr(wrong[0] if wrong else text), wanted, f"Correct {key}", item=key)
    return words


def kinds_of(options: AugmentOptions) -> list[str]:
    """The kinds of copies. Raises InputError for an unknown one."""
    return _words(options.kinds, KINDS, "--kinds", " or ".join(KINDS))


def rates_of(options: AugmentOptions) -> list[str]:
    """Bit rates of AMR-NB in kbit/s. Raises InputError for one that AMR-NB does not have."""
    return _words(options.amr_rates, codecs.AMR_MODES, "--amr-rates", "kbit/s of AMR-NB: " + " ".join(codecs.AMR_MODES))


def snrs_of(options: AugmentOptions) -> list[float]:
    """Signal-to-noise ratios in dB. Raises InputError for what is no number."""
    try:
        return [float(snr) for snr in options.snrs.split(",")]
    except ValueError:
        raise InputError(
            "augment.conf", repr(options.snrs), "numbers of dB, comma between", "Correct --snrs", item="--snrs"
        ) from None


def speeds_of(options: AugmentOptions) -> list[str]:
    """Changed speeds, as written. Raises InputError for one outside SPEEDS, the speed of 1, or one given twice."""
    words = [word.strip() for word in options.speeds.split(",") if word.strip()]
    for number, word in enumerate(words):
        right = re.fullmatch(r"[0-9]\.[0-9]+|[0-9]", word) and SPEEDS[0] <= float(word) <= SPEEDS[1]
        if not right or float(word) in {1.0, *map(float, words[:number])}:
            raise InputError(
                "augment.conf",
                repr(word),
                f"distinct speeds from {SPEEDS[0]} to {SPEEDS[1]} but 1, comma between",
                "Correct --speeds",
                item="--speeds",
            )
    return words


def check(options: AugmentOptions) -> str:
    """The codec of the copies, "" without that kind. Raises InputError for options that cannot be done."""
    kinds, rates = kinds_of(options), rates_of(options)
    snrs_of(options)
    speeds_of(options)
    return codecs.named(options.codec, rates) if options.copies and "codec" in kinds else ""

"""Augmented copies of a training set as lazy lhotse cuts: nothing is mixed until features are extracted.

The paper's additive noise at 8, 15 or 20 dB over the speech, reverberation, and AMR-NB for telephone speech. Noises
and impulse responses come from folders (MUSAN, RIRS_NOISES, or any others) or are generated. What each copy gets is
drawn from a generator seeded by the run's seed and the copy's id: it does not depend on order or number of jobs.

lhotse, which takes seconds to import, is imported where cuts are made: whoever only checks options need not wait.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from pyasp.audio import codec as codecs
from pyasp.audio.folders import THREADS, some
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.options import Natural, Positive, option

if TYPE_CHECKING:
    import lhotse
    from lhotse.cut import MonoCut

    from pyasp.audio.transforms import AddNoise, Transcode

KINDS = ("noise", "reverb", "codec")
SPEEDS = 0.5, 2.0  # slowest and fastest
PROBES = 8  # places in a sound, evenly apart, that are listened to before all of it


@dataclass(frozen=True)
class AugmentOptions:
    """What the augmented copies are (augment.conf)."""

    copies: Natural = option(1, "augmented copies of each clean recording; 0 switches augmentation off")
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
    frame_shift: Positive = option(
        10.0, "milliseconds between the frames of the voice activity over which levels are set"
    )
    generated_noises: Natural = option(20, "noises to generate when no folder is given")
    generated_responses: Natural = option(20, "impulse responses to generate when no folder is given")
    noise_seconds: Positive = option(20.0, "length of a generated noise in seconds")


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
        expected = "numbers of dB, comma between"
        raise InputError("augment.conf", repr(options.snrs), expected, "Correct --snrs", item="--snrs") from None


def speeds_of(options: AugmentOptions) -> list[str]:
    """Changed speeds, as written. Raises InputError for one outside SPEEDS, the speed of 1, or one given twice."""
    words = [word.strip() for word in options.speeds.split(",") if word.strip()]
    for number, word in enumerate(words):
        right = re.fullmatch(r"[0-9]\.[0-9]+|[0-9]", word) and SPEEDS[0] <= float(word) <= SPEEDS[1]
        if not right or float(word) in {1.0, *map(float, words[:number])}:
            expected = f"distinct speeds from {SPEEDS[0]} to {SPEEDS[1]} but 1, comma between"
            raise InputError("augment.conf", repr(word), expected, "Correct --speeds", item="--speeds")
    return words


def check(options: AugmentOptions) -> str:
    """The codec of the copies, "" without that kind. Raises InputError for options that cannot be done."""
    kinds, rates = kinds_of(options), rates_of(options)
    snrs_of(options)
    speeds_of(options)
    return codecs.named(options.codec, rates) if options.copies and "codec" in kinds else ""


def rng_for(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on the seed and a name alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def generate_noises(folder: Path, options: AugmentOptions, rate: int, seed: int) -> list[Path]:
    """Writes generated noises as wav files."""
    from pyasp.audio.rooms import NOISES, random_noise  # and scipy

    noises, kinds = [], list(NOISES)
    for k in range(options.generated_noises):
        path = folder / "noise" / f"{kinds[k % len(kinds)]}-{k:03d}.wav"
        rng = rng_for(seed, f"noise {k} {rate}")
        _write_wav(path, random_noise(rng, kinds[k % len(kinds)], options.noise_seconds, rate), rate)
        noises.append(path)
    return noises


def generate_responses(folder: Path, options: AugmentOptions, rate: int, seed: int) -> list[Path]:
    """Writes impulse responses of simulated rooms as wav files."""
    from pyasp.audio.rooms import random_response  # and scipy

    responses = []
    for k in range(options.generated_responses):
        path = folder / "response" / f"room-{k:03d}.wav"
        _write_wav(path, 0.9 * random_response(rng_for(seed, f"room {k} {rate}"), rate), rate)
        responses.append(path)
    return responses


def _write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    stream = io.BytesIO()  # in memory first: libsndfile hides what the system says about a failed write
    soundfile.write(stream, samples, rate, subtype="PCM_16", format="WAV")
    with atomic_write(path) as file:
        file.write(stream.getbuffer())


@functools.lru_cache(maxsize=4096)
def recording(path: Path, rate: int) -> lhotse.Recording:
    """The manifest of an audio file, resampled (lazily) to `rate` Hz. Raises InputError when it cannot be read."""
    import lhotse

    try:
        found = lhotse.Recording.from_file(path, recording_id=f"{path.parent.name}-{path.stem}")
    except (OSError, RuntimeError, AssertionError) as error:
        raise InputError(path, f"{type(error).__name__}: {error}", "audio", "Take it out of the folder") from None
    return found if found.sampling_rate == rate else found.resample(rate)


def require_sound(folder: object, paths: Iterable[Path]) -> None:
    """Raises InputError that names all of some sounds whose first channel, the one that copies take, is silent.

    Of most a tenth of a second is read; what libsndfile cannot read is not looked at.
    """
    paths = list(paths)
    with ThreadPoolExecutor(THREADS) as pool:
        silent = [path for path, heard in zip(paths, pool.map(_heard, paths)) if not heard]
    if silent:
        found = f"{len(silent)} silent sounds of {len(paths)} ({some(map(str, silent), 100)})"
        expected = "sounds that can be heard; of several channels copies take the first"
        raise InputError(folder, found, expected, "Repair these files, or take them out of the folder")


def _heard(path: Path) -> bool:
    """Whether the first channel of a file has samples that are not zero: looked for at PROBES places, then all over."""
    try:
        with soundfile.SoundFile(path) as stream:
            for place in range(PROBES):
                stream.seek(stream.frames * place // PROBES)
                if stream.read(stream.samplerate // 10, "float32", always_2d=True)[:, 0].any():
                    return True
            stream.seek(0)
            return any(block[:, 0].any() for block in stream.blocks(1 << 20, dtype="float32", always_2d=True))
    except (OSError, RuntimeError):  # not libsndfile's, or none at all: who takes it will say so
        return True


class Augmenter:
    """Draws one augmentation for a copy of a clean cut."""

    def __init__(self, options: AugmentOptions, noises: list[Path], responses: list[Path], seed: int):
        self.kinds, self.snrs, self.rates = kinds_of(options), snrs_of(options), rates_of(options)
        self.options, self.noises, self.responses, self.seed = options, noises, responses, seed

    def copy(self, clean: MonoCut, number: int, vad: str = "") -> tuple[MonoCut, str]:
        """The `number`-th augmented copy of a clean cut (id `<clean>-<kind><number>`), and its kind.

        vad: the clean cut's entry of vad.scp, over whose voiced frames the level of a noise is set.
        """
        rng = rng_for(self.seed, f"{clean.id} {number}")
        kind = self.kinds[rng.integers(len(self.kinds))]
        return self.MAKERS[kind](self, clean, rng, vad).with_id(f"{clean.id}-{kind}{number}"), kind

    def _noise(self, clean: MonoCut, rng: np.random.Generator, vad: str) -> MonoCut:
        from pyasp.audio.transforms import AddNoise

        noise = recording(self.noises[rng.integers(len(self.noises))], clean.sampling_rate)
        length = noise.duration * math.ceil(max(clean.duration / noise.duration, 1))  # repeated where it is too short
        offset = rng.uniform(0, length - clean.duration) if length > clean.duration else 0.0
        snr = self.snrs[rng.integers(len(self.snrs))]
        return _with(clean, AddNoise(noise.to_dict(), round(offset, 6), snr, vad, self.options.frame_shift))

    def _reverb(self, clean: MonoCut, rng: np.random.Generator, vad: str) -> MonoCut:
        response = recording(self.responses[rng.integers(len(self.responses))], clean.sampling_rate)
        return clean.reverb_rir(rir_recording=response, affix_id=False)

    def _codec(self, clean: MonoCut, rng: np.random.Generator, vad: str) -> MonoCut:
        from pyasp.audio.transforms import Transcode

        return _with(clean, Transcode(self.options.codec, self.rates[rng.integers(len(self.rates))]))

    MAKERS = {"noise": _noise, "reverb": _reverb, "codec": _codec}


def json_line(copy: MonoCut, clean: dict[str, Any]) -> str:
    """A copy as lhotse stores it; clean: the JSON object of its clean cut, from which it differs in id and transforms.

    lhotse's own to_dict takes several times as long, which is minutes for a million cuts.
    """
    recording = copy.recording
    transforms = [each if isinstance(each, dict) else each.to_dict() for each in recording.transforms or []]
    whole = {**clean, "id": copy.id, "recording": {**clean["recording"], "transforms": transforms}}
    return json.dumps(whole, ensure_ascii=False)


def at_speed(cut: MonoCut, speed: str, utt: str) -> MonoCut:
    """The cut read `speed` times as fast, pitch and formants with it, under another id."""
    return cut.perturb_speed(float(speed), affix_id=False).with_id(utt)


def renamed(utt: str, speaker: str, speed: str) -> tuple[str, str]:
    """Utterance and speaker at another speed: `<speaker>~<speed>` comes behind all that begins with the speaker."""
    other = f"{speaker}~{speed}"
    return other + utt[len(speaker) :] if utt.startswith(speaker) else f"{other}-{utt}", other


def _with(clean: MonoCut, transform: AddNoise | Transcode) -> MonoCut:
    """The cut of a recording that has one more transform."""
    from lhotse.utils import fastcopy

    transforms = [*(clean.recording.transforms or []), transform]
    return fastcopy(clean, recording=fastcopy(clean.recording, transforms=transforms))

"""Augmented copies of a training set as lazy lhotse cuts: nothing is mixed until features are extracted.

The paper's additive noise at 8, 15 or 20 dB and reverberation. Noises and impulse responses come from folders (MUSAN,
RIRS_NOISES, or any others) or are generated. What each copy gets is drawn from a generator seeded by the run's seed and the
copy's id, so it does not depend on order or number of jobs. lhotse sets the level over the whole recording, pauses included.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Iterable

import lhotse
import numpy as np
import soundfile
from lhotse.cut import Cut, MonoCut, append_cuts

from pyasp.artefact import replacing
from pyasp.cli import option
from pyasp.errors import InputError
from pyasp.rooms import NOISES, random_noise, random_response

AUDIO_SUFFIXES = (".wav", ".flac", ".sph", ".mp3", ".ogg")


@dataclasses.dataclass(frozen=True)
class AugmentOptions:
    """What the augmented copies are (augment.conf)."""
    copies: int = option(1, "augmented copies of each clean recording; 0 switches augmentation off")
    kinds: str = option("noise,reverb", "kinds of which each copy gets one, drawn evenly: noise reverb, comma between")
    snrs: str = option("8,15,20", "signal-to-noise ratios in dB of which each noisy copy gets one, comma between")
    generated_noises: int = option(20, "noises to generate when no folder is given")
    generated_responses: int = option(20, "impulse responses to generate when no folder is given")
    noise_seconds: float = option(20.0, "length of a generated noise in seconds")


def rng_for(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on the seed and a name alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def find_audio(folder: str | Path) -> list[Path]:
    """Audio files below a folder, sorted. Raises InputError when there is none."""
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise InputError(folder, "no audio file", f"{' '.join(AUDIO_SUFFIXES)} below it", "Give the unpacked corpus' folder")
    return files


def musan_noises(root: str | Path) -> list[Path]:
    """MUSAN's noise and music when the folder has that layout, else every audio file below it."""
    parts = [Path(root) / name for name in ("noise", "music") if (Path(root) / name).is_dir()]
    return [path for part in parts for path in find_audio(part)] if parts else find_audio(root)


def generate(folder: Path, options: AugmentOptions, rate: int, seed: int) -> tuple[list[Path], list[Path]]:
    """Writes generated noises and impulse responses as wav files; (noises, responses)."""
    noises, responses, kinds = [], [], list(NOISES)
    for k in range(options.generated_noises):
        path = folder / "noise" / f"{kinds[k % len(kinds)]}-{k:03d}.wav"
        rng = rng_for(seed, f"noise {k} {rate}")
        _write_wav(path, random_noise(rng, kinds[k % len(kinds)], options.noise_seconds, rate), rate)
        noises.append(path)
    for k in range(options.generated_responses):
        path = folder / "response" / f"room-{k:03d}.wav"
        _write_wav(path, 0.9 * random_response(rng_for(seed, f"room {k} {rate}"), rate), rate)
        responses.append(path)
    return noises, responses


def _write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    with replacing(path) as temporary:
        soundfile.write(temporary, samples, rate, subtype="PCM_16", format="WAV")


def recordings(paths: Iterable[Path], rate: int) -> list[lhotse.Recording]:
    """lhotse recordings of audio files, resampled (lazily) to `rate` Hz."""
    found = [lhotse.Recording.from_file(path, recording_id=f"{path.parent.name}-{path.stem}") for path in paths]
    return [each if each.sampling_rate == rate else each.resample(rate) for each in found]


class Augmenter:
    """Draws one augmentation for a copy of a clean cut."""

    def __init__(self, options: AugmentOptions, noises: list[lhotse.Recording], responses: list[lhotse.Recording], seed: int):
        self.kinds = [kind.strip() for kind in options.kinds.split(",")]
        unknown = [kind for kind in self.kinds if kind not in self.MAKERS]
        if unknown:
            raise InputError("augment.conf", repr(unknown[0]), " or ".join(self.MAKERS), "Correct --kinds", item="--kinds")
        self.snrs = [float(snr) for snr in options.snrs.split(",")]
        self.noises, self.responses, self.seed = noises, responses, seed

    def copy(self, clean: Cut, number: int) -> tuple[Cut, str]:
        """The `number`-th augmented copy of a clean cut (id `<clean>-<kind><number>`), and its kind."""
        rng = rng_for(self.seed, f"{clean.id} {number}")
        kind = self.kinds[rng.integers(len(self.kinds))]
        return self.MAKERS[kind](self, clean, rng).with_id(f"{clean.id}-{kind}{number}"), kind

    def _noise(self, clean: Cut, rng: np.random.Generator) -> Cut:
        noise: Cut = self.noises[rng.integers(len(self.noises))].to_cut()
        assert isinstance(noise, MonoCut)
        noise = noise.drop_supervisions()
        if noise.duration < clean.duration:
            noise = append_cuts([noise] * math.ceil(clean.duration / noise.duration))
        start = rng.uniform(0, noise.duration - clean.duration) if noise.duration > clean.duration else 0.0
        noise = noise.truncate(offset=start, duration=clean.duration)
        return clean.mix(noise, snr=self.snrs[rng.integers(len(self.snrs))], preserve_id="left")

    def _reverb(self, clean: Cut, rng: np.random.Generator) -> Cut:
        response = self.responses[rng.integers(len(self.responses))]
        return clean.reverb_rir(rir_recording=response, affix_id=False)

    MAKERS = {"noise": _noise, "reverb": _reverb}

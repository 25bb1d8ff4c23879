"""What lies between a toy speaker's lips and the file: room, noise, channel, level. One draw a session.

Room: exponentially decaying noise after the direct sound (Polack's model). Channel: a random smooth magnitude response
made minimum phase through the cepstrum (Oppenheim and Schafer). Noise is added before the channel, at an SNR measured
against the active speech; a little noise of the equipment is added after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import oaconvolve

TAPS = 512  # length of the channel's impulse response
ACTIVE_DB = 35.0  # a 20 ms block counts as speech within this many dB of the loudest
NOISE_RATE_SYLLABLES = 4.0  # Hz, modulation of each voice in babble


@dataclass(frozen=True)
class Session:
    """channel (TAPS,) and room (R,) impulse responses; noise is a key of NOISES;
    snr and level in dB (level: full scale)."""

    channel: np.ndarray
    room: np.ndarray
    noise: str
    snr: float
    level: float


@dataclass(frozen=True)
class Place:
    """How sessions are drawn: pass band in Hz, ripple in dB, reverberation time in s, SNR in dB, kinds of noise."""

    low: tuple[float, float] = (50.0, 200.0)
    high: tuple[float, float] = (6000.0, 7900.0)
    ripple: float = 3.0
    decay: tuple[float, float] = (0.1, 0.4)
    snr: tuple[float, float] = (10.0, 30.0)
    noises: tuple[str, ...] = ("white", "pink", "brown", "babble", "hum")


STUDIO = Place()
TELEPHONE = Place((200.0, 330.0), (3100.0, 3700.0), 3.0, (0.05, 0.25), (15.0, 35.0))
INTERVIEW = Place((60.0, 150.0), (3500.0, 3950.0), 3.0, (0.2, 0.5), (12.0, 30.0))
NOISY_PLACE = Place((200.0, 330.0), (3100.0, 3700.0), 3.0, (0.05, 0.25), (6.0, 15.0), ("babble", "brown"))


def draw_session(rng: np.random.Generator, rate: int, place: Place) -> Session:
    """One session at a kind of place. rate: Hz."""
    noise = place.noises[rng.integers(len(place.noises))]
    return Session(
        draw_channel(rng, rate, place),
        draw_room(rng, rate, rng.uniform(*place.decay)),
        noise,
        float(rng.uniform(*place.snr)),
        float(rng.uniform(-32.0, -20.0)),
    )


def draw_channel(rng: np.random.Generator, rate: int, place: Place) -> np.ndarray:
    """(TAPS,) float32 minimum-phase response: pass band with random edges, random ripple between them."""
    grid = np.fft.rfftfreq(2 * TAPS, 1 / rate)
    knots = np.geomspace(80.0, rate / 2, 9)
    response = np.interp(grid, knots, rng.normal(0, place.ripple, len(knots)))
    low, high = rng.uniform(*place.low), rng.uniform(*place.high)
    response -= 10 * np.log10(1 + (low / np.maximum(grid, 1.0)) ** 6) + 10 * np.log10(1 + (grid / high) ** 12)
    return minimum_phase(np.maximum(response, -50.0))[:TAPS].astype(np.float32)


def minimum_phase(response: np.ndarray) -> np.ndarray:
    """Impulse response (2K,) with the magnitude response (K + 1,) in dB: the real cepstrum folded onto positive
    time."""
    cepstrum = np.fft.irfft(response * np.log(10) / 20)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))


def draw_room(rng: np.random.Generator, rate: int, decay: float) -> np.ndarray:
    """(R,) float32 impulse response: 1 at time 0, then noise falling by 60 dB in `decay` s, 3-12 dB below the direct
    sound."""
    samples = int(0.7 * decay * rate)
    tail = rng.standard_normal(samples) * 10 ** (-3 * np.arange(samples) / (decay * rate))
    tail[: int(0.004 * rate)] = 0
    tail *= 10 ** (-rng.uniform(3.0, 12.0) / 20) / np.sqrt(np.sum(tail**2))
    return np.concatenate([[1.0], tail]).astype(np.float32)


def _shaped(
    rng: np.random.Generator, samples: int, rate: int, weight: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Gaussian noise (samples,) with the magnitude response weight(frequencies in Hz)."""
    size = next_fast_len(samples, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32)) * weight(
        np.maximum(np.fft.rfftfreq(size, 1 / rate), 20.0)
    )
    return np.fft.irfft(spectrum, size)[:samples].astype(np.float32)


def _babble(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Four voices: speech-shaped noise in moving bands, each modulated at the rate of syllables."""
    total = np.zeros(samples, np.float32)
    for _ in range(4):
        first, second = rng.uniform(300, 700), rng.uniform(1000, 2200)
        voice = _shaped(
            rng, samples, rate, lambda f: 1 / (1 + ((f - first) / 120) ** 2) + 0.4 / (1 + ((f - second) / 200) ** 2)
        )
        knots = np.arange(0, samples + rate, max(1, int(rate / NOISE_RATE_SYLLABLES)))
        envelope = np.interp(np.arange(samples), knots, rng.uniform(0, 1, len(knots)) ** 2).astype(np.float32)
        total += voice / voice.std() * envelope
    return total


def _hum(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Mains: 50 Hz and its harmonics over pink noise."""
    time = np.arange(samples) * (rng.uniform(49.8, 50.2) / rate)
    tones = sum(np.sin(2 * np.pi * (k * time + rng.random())) / k for k in (1, 2, 3, 5, 7, 9, 13))
    return (tones + 0.3 * _shaped(rng, samples, rate, lambda f: (f / 100) ** -0.5)).astype(np.float32)


NOISES: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "white": lambda rng, samples, rate: rng.standard_normal(samples, np.float32),
    "pink": lambda rng, samples, rate: _shaped(rng, samples, rate, lambda f: f**-0.5),
    "brown": lambda rng, samples, rate: _shaped(rng, samples, rate, lambda f: 1 / f),
    "babble": _babble,
    "hum": _hum,
}


def active_power(speech: np.ndarray, rate: int) -> float:
    """Mean power of the 20 ms blocks within ACTIVE_DB of the loudest one; 0 for silence."""
    block = rate // 50
    blocks = speech[: len(speech) // block * block].reshape(-1, block)
    power = np.square(blocks).mean(1) if len(blocks) else speech**2
    return float(power[power >= power.max() * 10 ** (-ACTIVE_DB / 10)].mean())


def add_noise(speech: np.ndarray, kind: str, snr: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """speech (samples,) plus noise of a kind, snr dB below the active speech."""
    noise = NOISES[kind](rng, len(speech), rate)
    wanted = active_power(speech, rate) * 10 ** (-snr / 10)
    return speech + noise * np.float32(np.sqrt(wanted / max(np.mean(np.square(noise)), 1e-20)))


def transmit(speech: np.ndarray, session: Session, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Clean speech (samples,) through the session's room, noise, channel and level: int16 (samples,)."""
    heard = oaconvolve(speech, session.room)[: len(speech)] if len(session.room) > 1 else speech
    sent = oaconvolve(add_noise(heard, session.noise, session.snr, rate, rng), session.channel)[: len(speech)]
    sent = add_noise(sent, "white", 45.0, rate, rng)
    scale = 32768 * 10 ** (session.level / 20) / np.sqrt(max(active_power(sent, rate), 1e-20))
    return np.clip(np.rint(sent * scale), -32768, 32767).astype(np.int16)

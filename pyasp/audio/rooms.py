"""Generated noises and room impulse responses, for when no recorded ones are given.

Rooms follow the image-source method of Allen and Berkley, "Image method for efficiently simulating small-room
acoustics"
(JASA 65, 1979) in a shoebox with one absorption for all walls, from Sabine's formula for the wanted T60.

Legend: L room size (3,) m; s, r source and receiver (3,) m; c speed of sound m/s; beta wall reflection coefficient.
"""

import numpy as np
from scipy.signal import lfilter

SPEED_OF_SOUND = 343.0  # m/s at 20 degrees Celsius


def sabine_reflection(size: np.ndarray, t60: float) -> float:
    """Wall reflection coefficient that gives a reverberation time of `t60` seconds in a room of `size` (3,) metres."""
    volume = float(np.prod(size))
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorption = min(0.161 * volume / (surface * t60), 0.99)
    return float(np.sqrt(1 - absorption))


def shoebox_response(size: np.ndarray, source: np.ndarray, receiver: np.ndarray, t60: float, rate: int) -> np.ndarray:
    """Impulse response (n,) float64 of a shoebox room; the direct path is sample 0 and has the largest value, 1.

    size, source, receiver: (3,) metres; t60: seconds; rate: Hz. Allen and Berkley, eq. 9 and 10.
    """
    beta, length = sabine_reflection(size, t60), int(t60 * rate)
    reach = [int(np.ceil(SPEED_OF_SOUND * t60 / (2 * extent))) for extent in size]
    order = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), *([np.arange(2)] * 3), indexing="ij")
    steps = np.stack([axis.ravel() for axis in order[:3]], axis=1)  # (images, 3): shifts by whole rooms
    mirror = np.stack([axis.ravel() for axis in order[3:]], axis=1)  # (images, 3): 1 = mirrored
    image = (1 - 2 * mirror) * source + 2 * steps * size
    distance = np.linalg.norm(image - receiver, axis=1)
    reflections = np.abs(steps - mirror).sum(axis=1) + np.abs(steps).sum(axis=1)
    direct = np.linalg.norm(source - receiver)
    delay = np.round((distance - direct) / SPEED_OF_SOUND * rate).astype(int)
    inside = delay < length
    gain = beta ** reflections[inside] * direct / distance[inside]
    return np.bincount(delay[inside], weights=gain, minlength=length)


def random_response(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Impulse response of a random small or medium room: 3-10 m a side, T60 0.2-0.6 s, source 0.5-3 m away."""
    size = rng.uniform([3.0, 3.0, 2.3], [10.0, 8.0, 3.5])
    receiver = rng.uniform(0.3 * size, 0.7 * size)
    direction = rng.normal(size=3) * [1, 1, 0.2]
    source = receiver + direction / np.linalg.norm(direction) * rng.uniform(0.5, 3.0)
    source = np.clip(source, 0.2, size - 0.2)
    return shoebox_response(size, source, receiver, rng.uniform(0.2, 0.6), rate)


def _coloured(rng: np.random.Generator, samples: int, slope: float) -> np.ndarray:
    """Gaussian noise with a power spectrum falling as 1/f^slope (white 0, pink 1, brown 2)."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2)
    return np.fft.irfft(spectrum, samples)


def _hum(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Mains hum with harmonics over pink noise."""
    time = np.arange(samples) / rate
    base = rng.choice([50.0, 60.0])
    tones = sum(np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6.28)) / k for k in range(1, 9))
    pink = _coloured(rng, samples, 1.0)
    return tones + 2 * pink / pink.std()


def _babble(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Eight voices' worth of noise with a speech-like spectrum, each modulated at syllable rates (2-6 Hz)."""
    total, time = np.zeros(samples), np.arange(samples) / rate
    for _ in range(8):
        voice = lfilter([1.0], [1.0, -0.9], rng.normal(size=samples))
        envelope = np.clip(
            np.sin(2 * np.pi * rng.uniform(2, 6) * time + rng.uniform(0, 6.28)) + rng.uniform(-0.3, 0.6), 0, None
        )
        total += voice * envelope
    return total


NOISES = {
    "white": lambda rng, samples, rate: _coloured(rng, samples, 0.0),
    "pink": lambda rng, samples, rate: _coloured(rng, samples, 1.0),
    "brown": lambda rng, samples, rate: _coloured(rng, samples, 2.0),
    "hum": _hum,
    "babble": _babble,
}


def random_noise(rng: np.random.Generator, kind: str, seconds: float, rate: int) -> np.ndarray:
    """Noise (seconds * rate,) float64 of a kind of `NOISES`, peak 0.5."""
    noise = NOISES[kind](rng, int(seconds * rate), rate)
    return 0.5 * noise / np.abs(noise).max()

"""Published formant tables behind the toy speech.

Vowels: G. E. Peterson and H. L. Barney, "Control methods used in a study of the vowels", JASA 24 (1952), table II:
mean F1, F2, F3 in Hz of 33 men and 28 women.
Consonants: D. H. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980), table III (a man's
voice): F1-F3 and B1-B3 in Hz, and the amplitudes in dB of the parallel frication branches A2-A6 and AB (bypass).
Stops are a closure, a burst and, when voiceless, aspiration; nasals bring a pole at 270 Hz and a zero at 450 Hz
(ibid.).
"""

from __future__ import annotations

from dataclasses import dataclass

VOWELS_MEN = {
    "iy": (270, 2290, 3010),
    "ih": (390, 1990, 2550),
    "eh": (530, 1840, 2480),
    "ae": (660, 1720, 2410),
    "aa": (730, 1090, 2440),
    "ao": (570, 840, 2410),
    "uh": (440, 1020, 2240),
    "uw": (300, 870, 2240),
    "ah": (640, 1190, 2390),
    "er": (490, 1350, 1690),
}
VOWELS_WOMEN = {
    "iy": (310, 2790, 3310),
    "ih": (430, 2480, 3070),
    "eh": (610, 2330, 2990),
    "ae": (860, 2050, 2850),
    "aa": (850, 1220, 2810),
    "ao": (590, 920, 2710),
    "uh": (470, 1160, 2680),
    "uw": (370, 950, 2670),
    "ah": (760, 1400, 2780),
    "er": (500, 1640, 1960),
}
VOWEL_BANDWIDTHS = (60, 90, 150)
FEMALE_CONSONANT_SCALE = 1.16  # mean ratio of the women's F2, F3 to the men's in the vowel table
NASAL_POLE, NASAL_ZERO, NASAL_BANDWIDTH = 270.0, 450.0, 100.0  # Hz
FRICATION_CENTRES = (1500.0, 2600.0, 3400.0, 3900.0, 4900.0)  # Hz, branches A2-A6 when no formant is given
FRICATION_WIDTHS = (150.0, 300.0, 400.0, 600.0, 1000.0)  # Hz


@dataclass(frozen=True)
class Part:
    """One stretch of a phone: lasts `seconds`; amplitudes of voicing and aspiration (1 = vowel),
    frication dB (0 = off)."""

    seconds: float
    voice: float = 0.0
    aspiration: float = 0.0
    frication: bool = False


@dataclass(frozen=True)
class Consonant:
    """Formants and bandwidths in Hz, frication branches A2 A3 A4 A5 A6 AB in dB, and the parts it is made of."""

    formants: tuple[int, int, int]
    bandwidths: tuple[int, int, int]
    parts: tuple[Part, ...]
    branches: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
    nasal: bool = False


def _voiceless_stop(closure: float, burst: float, breath: float) -> tuple[Part, ...]:
    return Part(closure), Part(burst, frication=True), Part(breath, aspiration=1.0)


def _voiced_stop(closure: float, burst: float) -> tuple[Part, ...]:
    return Part(closure, voice=0.12), Part(burst, voice=0.3, frication=True)


SONORANT, NASAL = (Part(0.07, voice=0.5),), (Part(0.075, voice=0.45),)
FRICATIVE, VOICED_FRICATIVE = (Part(0.11, frication=True),), (Part(0.08, voice=0.25, frication=True),)

CONSONANTS = {
    "w": Consonant((290, 610, 2150), (50, 80, 60), SONORANT),
    "y": Consonant((260, 2070, 3020), (40, 250, 500), SONORANT),
    "r": Consonant((310, 1060, 1380), (70, 100, 120), SONORANT),
    "l": Consonant((310, 1050, 2880), (50, 100, 280), SONORANT),
    "m": Consonant((480, 1270, 2130), (40, 200, 200), NASAL, nasal=True),
    "n": Consonant((480, 1340, 2470), (40, 300, 300), NASAL, nasal=True),
    "h": Consonant((500, 1500, 2500), (200, 120, 200), (Part(0.06, aspiration=1.2),)),
    "f": Consonant((340, 1100, 2080), (200, 120, 150), FRICATIVE, (0, 0, 0, 0, 0, 57)),
    "v": Consonant((220, 1100, 2080), (60, 90, 120), VOICED_FRICATIVE, (0, 0, 0, 0, 0, 57)),
    "th": Consonant((320, 1290, 2540), (200, 90, 200), FRICATIVE, (0, 0, 0, 0, 28, 48)),
    "dh": Consonant((270, 1290, 2540), (60, 80, 170), VOICED_FRICATIVE, (0, 0, 0, 0, 28, 48)),
    "s": Consonant((320, 1390, 2530), (200, 80, 200), FRICATIVE, (0, 0, 0, 0, 52, 0)),
    "z": Consonant((240, 1390, 2530), (70, 60, 180), VOICED_FRICATIVE, (0, 0, 0, 0, 52, 0)),
    "sh": Consonant((300, 1840, 2750), (200, 100, 300), FRICATIVE, (0, 57, 48, 48, 46, 0)),
    "ch": Consonant(
        (350, 1800, 2820), (200, 90, 300), (Part(0.05), Part(0.07, frication=True)), (0, 44, 60, 53, 53, 0)
    ),
    "jh": Consonant((260, 1800, 2820), (60, 80, 270), _voiced_stop(0.04, 0.05), (0, 44, 60, 53, 53, 0)),
    "p": Consonant((400, 1100, 2150), (300, 150, 220), _voiceless_stop(0.06, 0.008, 0.03), (0, 0, 0, 0, 0, 63)),
    "b": Consonant((200, 1100, 2150), (60, 110, 130), _voiced_stop(0.055, 0.008), (0, 0, 0, 0, 0, 63)),
    "t": Consonant((400, 1600, 2600), (300, 120, 250), _voiceless_stop(0.05, 0.016, 0.035), (0, 30, 45, 57, 63, 0)),
    "d": Consonant((200, 1600, 2600), (60, 100, 170), _voiced_stop(0.045, 0.008), (0, 47, 60, 62, 60, 0)),
    "k": Consonant((300, 1990, 2850), (250, 160, 330), _voiceless_stop(0.055, 0.016, 0.04), (0, 53, 43, 45, 45, 0)),
    "g": Consonant((200, 1990, 2850), (60, 150, 280), _voiced_stop(0.05, 0.016), (0, 53, 43, 45, 45, 0)),
}

ONSETS = tuple(CONSONANTS)
CODAS = ("m", "n", "l", "r", "s", "z", "t", "d", "k", "f", "th", "sh")
VOWELS = tuple(VOWELS_MEN)
PHONES = VOWELS + ONSETS  # the order of a speaker's own formant offsets

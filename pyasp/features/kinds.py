"""Every kind of stored features, by the name of its conf file: its options and what computes it."""

from dataclasses import dataclass

from pyasp.features.fbank import Fbank, FbankOptions
from pyasp.features.mfcc import MelFeatures, MelOptions, Mfcc, MfccOptions


@dataclass(frozen=True)
class Kind:
    """extractor: made with options."""

    options: type[MelOptions]
    extractor: type[MelFeatures]


KINDS = {"mfcc": Kind(MfccOptions, Mfcc), "fbank": Kind(FbankOptions, Fbank)}  # those of frontend.FEATURE_TYPES
MAKERS = tuple(f"make_{kind}" for kind in KINDS)  # the tools, as records call them

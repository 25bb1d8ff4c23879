"""Text-independent speaker verification: arrays in, arrays out. The recipe around it is `run.sh`.

from pyasp import SpeakerModel      # a trained system: waves in, embeddings and log-likelihood ratios out
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyasp.bundle.speaker_model import SpeakerModel

__version__ = "0.1.0"
__all__ = ["SpeakerModel", "__version__"]


def __getattr__(name: str) -> Any:
    """SpeakerModel when it is first asked for: the package itself imports nothing large."""
    if name == "SpeakerModel":
        from pyasp.bundle.speaker_model import SpeakerModel

        return SpeakerModel
    raise AttributeError(f"module 'pyasp' has no attribute {name!r}")

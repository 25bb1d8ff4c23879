"""Text-independent speaker verification: arrays in, arrays out. The recipe around it is `run.sh`.

from pyasp import SpeakerModel      # a trained system: waves in, embeddings and log-likelihood ratios out
from pyasp import InputError        # what it raises when it cannot use what it was given
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyasp.bundle.speaker_model import SpeakerModel
    from pyasp.core.errors import InputError

__version__ = "0.1.0"
__all__ = ["InputError", "SpeakerModel", "__version__"]


def __getattr__(name: str) -> Any:
    """SpeakerModel when it is first asked for: the package itself imports nothing large."""
    if name == "InputError":
        from pyasp.core.errors import InputError

        return InputError
    if name == "SpeakerModel":
        from pyasp.bundle.speaker_model import SpeakerModel

        return SpeakerModel
    raise AttributeError(f"module 'pyasp' has no attribute {name!r}")

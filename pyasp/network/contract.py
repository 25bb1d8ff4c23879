"""What an encoder and a pooling owe to the network, and all that anything else knows of them.

    x, lengths   (B, T, D), (B,) or None   chunks or padded recordings of D coefficients; frames of each, None: all T
    h, mask      (B, T', C), (B, T') bool or None   frame-level vectors, true where they are real; T' = T - frames_lost,
                                                    or fewer where an encoder takes steps
    pooled       (B, P)                    one vector a recording

To add one: an encoder in a file of its own and a line in ENCODERS (pyasp.network.model), or a pooling in
pyasp.network.pooling and a line in POOLINGS there; a test. Layers hold their products' weights as `weight`
(out, in, ...), as torch's do: the cost of a network is counted from them.
"""

import abc
from typing import Protocol, Self

from torch import Tensor, nn


class Embeds(Protocol):
    """All that extraction, bundles and export ask of a trained network: ours, or one of a file (pyasp.network.onnx)."""

    in_dim: int  # D
    embedding_dim: int  # E
    shortest: int  # frames that a recording must have

    @property
    def attends(self) -> bool:
        """Whether there are weights over time to look at."""

    def train(self, mode: bool = True) -> Self:
        """Itself, in training or in evaluation mode."""

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings (B, E) of x (B, T, D) with lengths (B,), None: all T."""


class Encoder(nn.Module, abc.ABC):
    """Features to frame-level vectors; made with (options: ArchitectureOptions, D)."""

    frames_lost = 0  # frames of context at both ends together that have no vector of their own
    shortest = 1  # frames that a recording must have; at least frames_lost + 1
    output_dim: int  # C

    def __init_subclass__(cls) -> None:
        cls.shortest = max(cls.shortest, cls.frames_lost + 1)

    @abc.abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D) with zeros as padding, every length at least `shortest` -> h (B, T', C) and its mask or None.

        A padded recording gives what it gives alone.
        """


class Pooling(nn.Module, abc.ABC):
    """Frame-level vectors to one vector; made with (C, options: ArchitectureOptions)."""

    output_dim: int  # P
    attends = False  # True where `weights` says more than 1/T

    def weights(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weights over time (B, T'), or (B, T', H) of H heads, of h (B, T', C): of sum one, zero on padding."""
        raise NotImplementedError

    @abc.abstractmethod
    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h (B, T', C) -> (B, P), whatever stands in the padding."""

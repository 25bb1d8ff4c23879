"""The network: an encoder over frames, pooling over time, two fully connected layers, speakers.

Okabe, Koshinaka, Shinoda, Interspeech 2018, section 3, with any encoder of ENCODERS and any pooling of POOLINGS.

    x  (B, T, D)   B chunks or recordings of T frames of D coefficients
    a  (B, E)      affine output of the first fully connected layer: the embedding

Training, extraction, checkpoints, bundles, the views of the attention and the export know what is here, no more.
"""

from collections import ChainMap
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyasp.core.options import Count, Natural, Part, check_options, check_values, option
from pyasp.network.contract import Encoder
from pyasp.network.ecapa import Ecapa
from pyasp.network.loss import LOSSES
from pyasp.network.pooling import POOLINGS, length_mask
from pyasp.network.resnet import Resnet34
from pyasp.network.tdnn import Layer, Tdnn

ONNX = "onnx"  # in place of an encoder: a whole network of a file
ENCODERS: dict[str, type[Encoder]] = {"tdnn": Tdnn, "ecapa": Ecapa, "resnet34": Resnet34}
CHOICES = ChainMap[str, Any]({ONNX: None}, ENCODERS)  # open, as the table is
HEAD = ("segment", "output")  # what training has beyond the embedding


@dataclass(frozen=True)
class ArchitectureOptions:
    """What the network is made of; the defaults are the paper's."""

    pooling: str = option("attentive_statistics", "how frames become one vector", choices=POOLINGS)
    frame_dim: Count = option(512, "nodes of each of the first four TDNN layers")
    pooling_dim: Count = option(1500, "nodes of the fifth TDNN layer, which is pooled")
    attention_dim: Count = option(64, "hidden nodes of the attention network")
    embedding_dim: Count = option(512, "nodes of the first fully connected layer: the size of the embedding")
    segment_dim: Natural = option(
        512, "nodes of the second fully connected layer; 0: speakers right after the embedding"
    )
    dropout: Part = option(0.0, "dropout after each layer (over whole chunks: one mask for all frames); 0 = none")
    attention_heads: Count = option(
        1, "attentions side by side, each for its share of the pooled channels; as many as --pooling-dim: one a channel"
    )
    loss: str = option("softmax", "softmax; am, aam: additive (angular) margin on cosines", choices=LOSSES)
    encoder: str = option("tdnn", "the layers over frames, before the pooling; onnx: all of --model", choices=CHOICES)
    model: str = option(
        "", "--encoder=onnx: the file of a trained network; what it does not say of itself is said here"
    )
    normalize_samples: bool = option(
        False, "--encoder=onnx: it was trained on samples in [-1, 1], not on int16's scale"
    )

    def __post_init__(self) -> None:
        check_options(self, "network options")
        wrong = self.pooling_dim % self.attention_heads != 0
        check_values(self, "network options", "heads that divide --pooling-dim", attention_heads=wrong)

    @property
    def shortest(self) -> int:
        """Frames that the encoder needs at least."""
        return 1 if self.encoder == ONNX else ENCODERS[self.encoder].shortest


class Network(nn.Module):
    """Features of chunks -> embeddings (`embed`) and speaker logits (`forward`).

    Lengths of padded batches are given per recording; masks follow the frames that the contexts leave. Made for 0
    speakers it ends with the embedding.
    """

    def __init__(self, options: ArchitectureOptions, in_dim: int, num_speakers: int = 0):
        super().__init__()
        self.in_dim, self.embedding_dim, self.shortest = in_dim, options.embedding_dim, options.shortest
        self.frames = ENCODERS[options.encoder](options, in_dim)
        self.pooling = POOLINGS[options.pooling](self.frames.output_dim, options)
        self.embedding = Layer((0,), self.pooling.output_dim, options.embedding_dim, options.dropout)
        last = options.segment_dim or options.embedding_dim
        if not options.segment_dim:
            del self.embedding.norm  # of the layer above, which there is not
        if num_speakers:
            self.segment = Layer((0,), options.embedding_dim, last, options.dropout) if options.segment_dim else None
            self.output = LOSSES[options.loss].output(last, num_speakers)

    @property
    def attends(self) -> bool:
        """Whether the pooling has weights to look at."""
        return self.pooling.attends

    def frame_level(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), T >= shortest, lengths (B,) or None -> h (B, T', C) and its mask (B, T') or None."""
        assert x.shape[1] >= self.shortest, f"{x.shape[1]} frames, fewer than {self.shortest}: pad before"
        if lengths is not None:
            x = x.masked_fill(~length_mask(lengths, x.shape[1]).unsqueeze(-1), 0.0)
        return self.frames(x, lengths)

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings (B, E): affine output of the first fully connected layer. x (B, T, D), lengths (B,) or None."""
        return self.embed_pooled(self.pooling(*self.frame_level(x, lengths)))

    def embed_pooled(self, pooled: Tensor) -> Tensor:
        """Embeddings (B, E) of pooled vectors (B, P)."""
        return self.embedding.affine(pooled)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output (B, speakers) of x (B, T, D): logits of --loss softmax, cosines of the others (pyasp.network.loss)."""
        return self.classify(self.embed(x, lengths))

    def classify(self, embeddings: Tensor) -> Tensor:
        """Output (B, speakers) of embeddings (B, E)."""
        if self.segment is None:
            return self.output(embeddings)
        a = self.embedding.activate(embeddings.unsqueeze(1))
        return self.output(self.segment(a).squeeze(1))

    def attention(self, x: Tensor) -> Tensor | None:
        """The pooling's weights (B, T') of x (B, T, D), of several heads their mean; None where they are uniform."""
        if not self.attends:
            return None
        weights = self.pooling.weights(*self.frame_level(x))
        return weights.mean(dim=2) if weights.ndim == 3 else weights

    def embedding_weights(self) -> dict[str, Tensor]:
        """What an embedding is computed from: parameters and buffers up to it, without counters."""
        return {
            name: value.float()
            for name, value in self.state_dict().items()
            if name.split(".")[0] not in HEAD and value.is_floating_point()
        }

    @torch.inference_mode()
    def multiply_adds(self, frames: int) -> int:
        """Multiply-adds of the products with weights in one forward pass over a chunk of `frames` frames."""
        total, training = 0, self.training

        def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            """Each value of the output is a product with one row of the weight."""
            nonlocal total
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim > 1:
                total += output.numel() * weight[0].numel()

        hooks = [module.register_forward_hook(count) for module in self.modules()]
        self.eval()(next(self.parameters()).new_zeros(1, frames, self.in_dim))
        for hook in hooks:
            hook.remove()
        self.train(training)
        return total

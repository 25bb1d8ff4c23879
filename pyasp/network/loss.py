"""What the training makes small: cross entropy over the training speakers, plain or with a margin.

    x, w_j   (E,)   output of the last hidden layer; row j of the output layer
    cos_j    x . w_j / |x| |w_j|          S, m   scale and margin; y: the chunk's speaker

    softmax  logit_j = w_j . x + b_j
    am       logit_j = S cos_j, logit_y = S (cos_y - m)           (Wang et al. 2018, additive margin)
    aam      logit_j = S cos_j, logit_y = S cos(theta_y + m)      (Deng et al. 2019, additive angular margin)

Where theta_y + m would pass pi, aam goes on with cos_y - m sin m, so that a larger angle always costs more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


def additive(cosine: Tensor, margin: float) -> Tensor:
    """cos_y (B,) -> cos_y - m."""
    return cosine - margin


def angular(cosine: Tensor, margin: float) -> Tensor:
    """cos_y (B,) -> cos(theta_y + m)."""
    sine = (1 - cosine * cosine).clamp(min=1e-7).sqrt()
    inside = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > math.cos(math.pi - margin), inside, cosine - margin * math.sin(margin))


class CosineOutput(nn.Module):
    """Cosines (B, speakers) of (B, E) with one row a speaker."""

    def __init__(self, dim: int, speakers: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(speakers, dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, E) -> (B, speakers) in [-1, 1]."""
        return functional.linear(functional.normalize(x), functional.normalize(self.weight))


def linear_output(dim: int, speakers: int) -> nn.Linear:
    """Zero, as in Kaldi: the first loss is log(speakers)."""
    layer = nn.Linear(dim, speakers)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True)
class Loss:
    """The layer of (hidden size, speakers) before the cost; what a margin makes of its cosine cos_y (B,), None: the
    layer gives logits, as they are; what logits (B, S) of labels (B,) cost in training, a mean over the batch."""

    output: Callable[[int, int], nn.Module]
    with_margin: Callable[[Tensor, float], Tensor] | None = None
    cost: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy


LOSSES = {"softmax": Loss(linear_output), "am": Loss(CosineOutput, additive), "aam": Loss(CosineOutput, angular)}


def logits_of(output: Tensor, labels: Tensor, loss: str, margin: float, scale: float) -> Tensor:
    """Logits (B, S), float32, of the network's output (B, S): linear, or cosines; labels (B,) int64."""
    output, change = output.float(), LOSSES[loss].with_margin
    if change is None:
        return output
    if margin:
        rows = torch.arange(len(labels), device=labels.device)
        output = output.index_put((rows, labels), change(output[rows, labels], margin))
    return scale * output


def loss_of(output: Tensor, labels: Tensor, loss: str, margin: float, scale: float) -> Tensor:
    """The mean cost () of a batch in training; arguments as those of `logits_of`."""
    return LOSSES[loss].cost(logits_of(output, labels, loss, margin, scale), labels)

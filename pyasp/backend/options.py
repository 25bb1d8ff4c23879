"""Options of the back end: training, scoring, and everything that a backend.conf holds."""

from dataclasses import dataclass

from pyasp.backend.variants import VariantOptions
from pyasp.core.options import Amount, Natural, Part, Share, option
from pyasp.data.dev_trials import DevOptions


@dataclass(frozen=True)
class BackendTrainOptions:
    """How the back end is trained."""

    whitening: bool = option(True, "whiten the mean-subtracted training vectors (est-pca --normalize-variance)")
    lda_dim: Natural = option(0, "project to this many dimensions by LDA; 0 = no LDA, as in the paper")
    lda_total_covariance_factor: Share = option(0.0, "share of the total covariance in what LDA normalises")
    train_copies: bool = option(True, "train on augmented copies too; false: on the clean recordings alone")
    plda_iters: Natural = option(10, "EM iterations of PLDA")
    eigenvalue_floor: Part = option(1e-9, "directions with less than this share of the largest variance are dropped")
    max_missing: Share = option(0.0, "share of the training utterances that may lack an embedding")


@dataclass(frozen=True)
class ScoreOptions:
    """How trials are scored."""

    scoring: str = option(
        "plda",
        "how two vectors are compared; auto: whatever held-out training speakers favour, with the back end to it",
        choices=("plda", "cosine", "auto"),
    )
    average: str = option(
        "normalised", "average of processed vectors, or of raw embeddings (Kaldi sre16)", choices=("normalised", "raw")
    )
    num_utts: bool = option(True, "tell PLDA how many recordings a model averages")
    normalize_length: bool = option(True, "PLDA scales projected vectors to their expected length")
    simple_length_normalization: bool = option(False, "... to length sqrt(dimension) instead")
    max_missing_trials: Share = option(0.0, "share of the trials that may lack an embedding; they get the lowest score")
    smoothing: Amount = option(0.0, "add this share of PLDA's between-speaker covariance to the within-speaker one")


@dataclass(frozen=True)
class BackendOptions(BackendTrainOptions, ScoreOptions, VariantOptions, DevOptions):
    """Everything in a backend.conf: training, scoring and the variants read the same file."""

"""Variants of a system: steps after the paper's back end, switched on in backend.conf, each a system of its own.

`--variant=snorm+cal` makes `<system>+snorm` and from it `<system>+snorm+cal`; `--fuse=a+b` makes `fusion:a+b`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pyasp.core.errors import InputError
from pyasp.core.options import Count, Natural, OpenShare, Share, check_options, option

BACK_ENDS = {
    "lda": "LDA instead of whitening alone (--variant-lda-dim)",
    "cosine": "cosine instead of PLDA",
    "adapt": "PLDA adapted to unlabelled vectors (--adapt-to)",
}
NORMS = {
    "znorm": "scores normalised by the model's scores against a cohort",
    "tnorm": "scores normalised by the test recording's scores against a cohort",
    "snorm": "mean of znorm and tnorm",
    "asnorm": "snorm with the best-scoring part of the cohort alone (--cohort-top)",
}
CALIBRATIONS = {
    "cal": "calibrated on the dev speakers, or on --calibration-list",
    "calhalf": "each half of the evaluation's speakers calibrated on the other half",
}
TRAINED_ON = {"cal": "dev", "calhalf": "halves"}  # what a calibration is trained on
STEPS = {**BACK_ENDS, **NORMS, **CALIBRATIONS}
QUALITIES = ("enroll_seconds", "test_seconds", "enroll_utts")


@dataclass(frozen=True)
class VariantOptions:
    """What is made beside the paper's systems, and how; nothing by default."""

    variant: tuple[str, ...] = option((), f"a chain of {' '.join(STEPS)}, such as snorm+cal: systems of their own")
    fuse: tuple[str, ...] = option((), "systems fused by logistic regression, such as ivector+attentive_statistics")
    variant_lda_dim: Natural = option(0, "dimension of the lda variant")
    adapt_to: str = option("enroll", "unlabelled vectors of the adapt variant", choices=("enroll", "test", "dev"))
    adapt_within: Share = option(0.75, "share of the excess variance that goes within speakers (Kaldi sre16)")
    adapt_between: Share = option(0.25, "share of the excess variance that goes between speakers (Kaldi sre16)")
    cohort: str = option(
        "train",
        "speakers of the cohort: those of the back end's training, or the dev speakers",
        choices=("train", "dev"),
    )
    cohort_unit: str = option(
        "recording",
        "a cohort vector: one clean recording, or the average of a speaker's",
        choices=("recording", "speaker"),
    )
    cohort_size: Count = option(1000, "vectors of the cohort at most, drawn by seed")
    cohort_top: Count = option(200, "asnorm: so many of the best-scoring cohort vectors")
    calibration_prior: OpenShare = option(0.5, "prior of a target at which logistic regression weighs its errors")
    calibration_list: str = option("", "trial list on which `cal` and fusions are trained instead of the dev speakers")
    quality: tuple[str, ...] = option((), f"further inputs of calibration, as logarithms: {' '.join(QUALITIES)}")
    variant_seed: int = option(1, "seed of the cohort and of the halves")


def steps_of(chain: str) -> list[str]:
    """'snorm+cal' -> its steps. InputError on an unknown step, or steps in an order that makes no sense."""
    steps = chain.split("+")
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        found, expected, cure = repr(chain), f"a chain of {' '.join(STEPS)}", "Correct backend.conf"
        raise InputError("--variant", found, expected, cure, item=unknown[0])
    rank = [(step in NORMS) + 2 * (step in CALIBRATIONS) for step in steps]
    if rank != sorted(rank) or rank.count(2) > 1 or rank.count(1) > 1 or len(set(steps)) < len(steps):
        found, expected = repr(chain), "back ends, then at most one normalisation, then at most one calibration"
        raise InputError("--variant", found, expected, "Correct backend.conf")
    return steps


def expand(chains: Iterable[str]) -> list[str]:
    """Every chain after the chains it builds on, each once: ['snorm+cal'] -> ['snorm', 'snorm+cal']."""
    found: dict[str, None] = {}
    for chain in chains:
        steps = steps_of(chain)
        found.update(dict.fromkeys("+".join(steps[:count]) for count in range(1, len(steps) + 1)))
    return list(found)


def check(options: VariantOptions) -> list[str]:
    """All chains, as `expand`. InputError on what no data could give: unknown steps, fusions of one, settings that are
    missing."""
    chains = expand(options.variant)
    check_options(options, "backend.conf")
    fusions(options, ())
    wrong = [name for name in options.quality if name not in QUALITIES]
    if wrong:
        raise InputError("--quality", wrong[0], " or ".join(QUALITIES), "Correct backend.conf")
    if options.variant_lda_dim < 1 and any("lda" in chain.split("+") for chain in chains):
        raise InputError("--variant-lda-dim", "0", "the dimension of the lda variant", "Set it in backend.conf")
    return chains


def impossible(options: VariantOptions, dev_speakers: int) -> dict[str, str]:
    """{chain: why it cannot be made} of those that need dev speakers, where there are none."""
    needs = {
        **({"cal": "no --calibration-list"} if not options.calibration_list else {}),
        **({norm: "--cohort=dev" for norm in NORMS} if options.cohort == "dev" else {}),
        **({"adapt": "--adapt-to=dev"} if options.adapt_to == "dev" else {}),
    }
    found = {}
    for chain in check(options) if not dev_speakers else ():
        why = [f"{step} ({needs[step]}) needs dev speakers" for step in chain.split("+") if step in needs]
        if why:
            found[chain] = f"{why[0]}, and select.conf holds none out (--dev-fraction)"
    return found


def fusions(options: VariantOptions, systems: Iterable[str]) -> dict[str, list[str]]:
    """{`fusion:<a>+<b>`: its members} of those whose members are all among `systems`. InputError on a fusion of one."""
    known, found = set(systems), {}
    for text in options.fuse:
        members = text.split("+")
        if len(members) < 2 or len(set(members)) < len(members):
            raise InputError("--fuse", repr(text), "two or more systems joined by +", "Correct backend.conf")
        if known >= set(members):
            found[f"fusion:{text}"] = members
    return found


def names(options: VariantOptions, systems: Iterable[str]) -> list[str]:
    """Each system followed by its variants, in the order in which they are made. InputError as `check`."""
    chains = check(options)
    return [name for system in systems for name in (system, *(f"{system}+{chain}" for chain in chains))]


def every_name(options: VariantOptions, systems: Iterable[str], there: Iterable[str] = ()) -> list[str]:
    """As `names`, then the fusions among these and what else is `there`."""
    found = names(options, systems)
    return [*found, *fusions(options, [*found, *there])]


def explained(name: str) -> str:
    """What a variant is, in words; nothing for a system of the paper."""
    if name.startswith("fusion:"):
        return "scores of " + " and ".join(name.removeprefix("fusion:").split("+")) + " fused by logistic regression"
    return "; ".join(STEPS[step] for step in name.split("+")[1:] if step in STEPS)

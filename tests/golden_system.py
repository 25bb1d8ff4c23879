"""The i-vector system of a golden set, from audio to PLDA, found in its manifest by who made what from what."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

from golden_cases import KALDI_CMN, KALDI_DELTAS, MANIFEST, path


def made_by(relative: str) -> dict:
    """The case that wrote a file; {} for an input of the set."""
    return next((case for case in MANIFEST["cases"] if relative in case["outputs"].values()), {})


def find_system() -> dict[str, dict] | None:
    """The cases of a system by role; None when the set does not hold one from audio on."""
    for ivectors in MANIFEST["cases"]:
        if ivectors["stage"] != "ivectors" or "spk2utt" in ivectors["inputs"]:
            continue
        feats, posteriors = (made_by(ivectors["inputs"][role]) for role in ("feats", "posteriors"))
        vectors = ivectors["outputs"]["ivectors"]
        found = {
            "ivectors": ivectors,
            "feats": feats,
            "posteriors": posteriors,
            "vad": made_by(feats.get("inputs", {}).get("vad", "")),
            "mean": _first("mean", vectors),
            "transform": _first("pca", vectors, "normalize-variance"),
            "plda": _plda(vectors),
        }
        plain = set(ivectors["options"]) <= {"num-threads"}
        if plain and all(found.values()) and "wav" in feats["inputs"]:
            return found
    return None


def _first(stage: str, vectors: str, option: str = "") -> dict:
    return next(
        (
            case
            for case in MANIFEST["cases"]
            if case["stage"] == stage
            and case["inputs"]["vectors"] == vectors
            and (not option or case["options"].get(option))
        ),
        {},
    )


def _plda(vectors: str) -> dict:
    """The first PLDA trained on these vectors at full dimension."""
    for case in MANIFEST["cases"]:
        if case["stage"] == "plda-train":
            source = made_by(case["inputs"]["vectors"]).get("inputs", {})
            if source.get("vectors") == vectors and "transform" not in source:
                return case
    return {}


def step_options(case: dict, program: str) -> dict:
    """Options of a program among the steps of a case, or of the case itself."""
    return next(step["options"] for step in (*case.get("before", []), case) if step["program"] == program)


def write_directory(system: dict[str, dict], top: Path) -> None:
    """The files of a system in the places where Kaldi's recipes have them, with the options of its features."""
    copies = {
        "extractor/final.ubm": system["posteriors"]["inputs"]["model"],
        "extractor/final.ie": system["ivectors"]["inputs"]["model"],
        "ivectors_train/mean.vec": system["mean"]["outputs"]["mean"],
        "ivectors_train/transform.mat": system["transform"]["outputs"]["transform"],
        "ivectors_train/plda": system["plda"]["outputs"]["plda"],
    }
    for place, source in copies.items():
        (top / place).parent.mkdir(exist_ok=True)
        copyfile(path(source), top / place)
    feats, posteriors = system["feats"], system["posteriors"]
    front_end = {
        **KALDI_DELTAS,
        **step_options(feats, "add-deltas"),
        **KALDI_CMN,
        **step_options(feats, "apply-cmvn-sliding"),
        "gselect": step_options(posteriors, "gmm-gselect")["n"],
        **posteriors["options"],
    }
    confs = {"mfcc": step_options(feats, "compute-mfcc-feats"), "vad": system["vad"]["options"], "ivector": front_end}
    (top / "conf").mkdir()
    for name, options in confs.items():
        lines = [f"--{key}={str(value).lower()}\n" for key, value in options.items()]
        (top / "conf" / f"{name}.conf").write_text("".join(lines))

"""The model card of a bundle: what it is, what it was measured on, and what it should not be used for."""

from collections.abc import Callable
from typing import Any

from pyasp.core.text import as_markdown, grouped, percent
from pyasp.evaluation.llr import MARK, between, marked, metrics_table

KINDS = {
    "network": "A {encoder} with {pooling} pooling; the embedding is the first fully connected layer's affine output.",
    "onnx": "A trained network as its ONNX file is.",
    "ivector": "i-vectors of a full-covariance UBM and a total variability model.",
}


def results_table(results: dict[str, Any]) -> str:
    """EER and minDCF of each trial list, with what they are worth, as Markdown."""
    if not results:
        return "No results were recorded with it."
    told: dict[str, Callable[[Any], str]] = {
        "targets": lambda entry: grouped(entry["n_target"]),
        "nontargets": lambda entry: grouped(entry["n_nontarget"]),
        "speakers": lambda entry: grouped(entry["ci"]["speakers"]) if "ci" in entry else "-",
        "95 % of the EER": lambda entry: between(entry.get("ci", {}).get("eer"), percent),
    }
    return as_markdown(metrics_table("trials", results, told))


def card(kind: str, facts: dict[str, Any]) -> str:
    """README.md of a bundle from its facts (bundle.json)."""
    trained = f"Made from {facts.get('origin', 'given files')}."
    if "corpus" in facts:
        trained = f"Trained on `{facts['corpus']}`."
    if speakers := facts.get("training_speakers"):
        trained = f"Trained on {grouped(speakers)} speakers of `{facts.get('corpus')}`."
    if init := facts.get("init"):
        trained += f" It started from the weights of {init['file']} (SHA-256 {init['sha256']})."
    scores = "Not calibrated: scores are the PLDA model's own natural-log likelihood ratios, which may be too sure."
    if facts.get("scoring") == "cosine":
        scores = "Not calibrated: scores are cosines, which rank and decide nothing."
    if facts.get("calibrated"):
        scores = "Scores are natural-log likelihood ratios, calibrated on held-out recordings (calibration.json)."
    counts = facts.get("training_recordings_by_rate", {})
    rates = ", ".join(f"{grouped(count)} of {rate} Hz" for rate, count in counts.items() if int(rate) != facts["rate"])
    rates = f"; among those that it was prepared to train on are {rates}" if rates else ""
    encoder, pooling = facts.get("encoder", "tdnn").upper(), facts.get("pooling", facts.get("system", ""))
    introduction = KINDS[kind].format(encoder=encoder, pooling=pooling)
    versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
    losses = "".join(f"\n- {what}" for what in facts.get("losses", ()))
    losses = f"\nWhat the figures may suffer from, as its run told:\n{losses}\n" if losses else ""
    mark = f" {MARK}" if any(map(marked, facts.get("results", {}).values())) else ""
    return f"""# Speaker verification model: {facts.get("system", kind)}

{introduction} {trained}
Recordings are analysed at {facts["rate"]} Hz{rates}. {scores}

    pyasp verify --model . enrol.wav -- test.wav

## Results

{results_table(facts.get("results", {}))}

EER by the rule of Kaldi's compute-eer; minDCF with C_miss = C_fa = 1, normalised.{mark}
{losses}
## Limits

Another channel, language or kind of speech than the training's gives other error rates, and a threshold that is no
longer right. Recordings with less than {facts["shortest_voiced_seconds"]} s of voice are shorter than nearly
all that it was measured on. A likelihood ratio is evidence to be weighed with other evidence, not proof of identity.

Made with {versions}.
"""

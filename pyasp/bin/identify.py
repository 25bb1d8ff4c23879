"""Finds the closest of the enrolled speakers, or none of them."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyasp.bundle.verify import (
    DecisionOptions,
    Heard,
    ModelOptions,
    hear_all,
    load_model,
    load_speakers,
    scale_text,
    threshold,
    threshold_text,
)
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import SpeakerModel


@dataclass(frozen=True)
class Options(ModelOptions, DecisionOptions):
    """Options of identify."""

    top: int = option(3, "speakers listed for each recording, closest first")
    json: bool = option(False, "print one JSON object instead of lines")


def ranking(model: "SpeakerModel", speakers: dict, each: Heard) -> list[tuple[str, float]]:
    """(speaker, log-likelihood ratio), closest first."""
    scores = {name: float(model.score(vectors, each.vector)) for name, vectors in speakers.items()}
    return sorted(scores.items(), key=lambda item: -item[1])


@command(Options, "SPEAKERS", "FILE...")
def main(options: Options, speakers: str, files: list[str]) -> None:
    """Says for each FILE which speaker of the directory SPEAKERS it is from, or that it is from none (open set).

    --prior is the prior that a recording is from any of the enrolled speakers, each as likely as another.
    """
    if options.top < 1:
        raise InputError("command line", str(options.top), "1 or more", "Correct it", item="--top")
    model = load_model(options)
    enrolled = load_speakers(speakers, model)
    limit = threshold(options, len(enrolled))
    results = [(each, ranking(model, enrolled, each)) for each in hear_all(model, files, options.channel)]
    if options.json:
        print(
            json.dumps(
                {
                    "threshold": limit,
                    "calibrated": model.calibrated,
                    "speakers": len(enrolled),
                    "files": [
                        {
                            **each.facts(),
                            "speaker": ranked[0][0] if ranked[0][1] >= limit else None,
                            "closest": dict(ranked[: options.top]),
                        }
                        for each, ranked in results
                    ],
                },
                indent=1,
            )
        )
        return
    for each, ranked in results:
        listed = ", ".join(f"{name} {score:+.2f}" for name, score in ranked[: options.top])
        answer = ranked[0][0] if ranked[0][1] >= limit else "none of them"
        print(f"{each.name}: {answer} ({listed})")
        for warning in each.warnings:
            print(f"warning: {each.name}: {warning}")
    print(f"{len(enrolled)} speakers, {threshold_text(options, len(enrolled))}\n({scale_text(model)})")


if __name__ == "__main__":
    raise SystemExit(main())

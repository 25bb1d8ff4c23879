"""Finds the closest of the enrolled speakers, or none of them."""

import json
from dataclasses import dataclass

from pyasp.bundle.verify import (
    DecisionOptions,
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
from pyasp.core.options import Count, option


@dataclass(frozen=True)
class Options(ModelOptions, DecisionOptions):
    """Options of identify."""

    top: Count = option(3, "speakers listed for each recording, closest first")
    json: bool = option(False, "print one JSON object instead of lines")


@command(Options, "SPEAKERS", "FILE...")
def main(options: Options, speakers: str, files: list[str]) -> None:
    """Says for each FILE which speaker of the directory SPEAKERS it is from, or that it is from none (open set).

    --prior is the prior that a recording is from any of the enrolled speakers, each as likely as another.

    Example, after ./run.sh:
        pyasp identify --model model speakers data/toy/corpus/test/wav/id20002/*/00001.wav
    """
    if options.top < 1:
        raise InputError("command line", str(options.top), "1 or more", "Correct it", item="--top")
    model = load_model(options)
    enrolled = load_speakers(speakers, model)
    limit = threshold(options, len(enrolled))
    heard = hear_all(model, files, options.channel)
    results = [(each, model.closest(enrolled, each.vector, limit)) for each in heard]
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
                            "speaker": found.speaker,
                            "closest": dict(list(found.scores.items())[: options.top]),
                        }
                        for each, found in results
                    ],
                },
                indent=1,
            )
        )
        return
    for each, found in results:
        listed = ", ".join(f"{name} {score:+.2f}" for name, score in list(found.scores.items())[: options.top])
        print(f"{each.name}: {found.speaker or 'none of them'} ({listed})")
        for warning in each.warnings:
            print(f"warning: {each.name}: {warning}")
    print(f"{len(enrolled)} speakers, {threshold_text(options, len(enrolled))}\n({scale_text(model)})")


if __name__ == "__main__":
    raise SystemExit(main())

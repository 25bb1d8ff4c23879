"""Finds the closest of the enrolled speakers, or none of them."""

import json
from dataclasses import dataclass

from pyasp.bundle import verify as use
from pyasp.bundle.enrolled import load_speakers
from pyasp.bundle.verify import DecisionOptions, ModelOptions
from pyasp.core.command import command
from pyasp.core.options import Count, option


@dataclass(frozen=True)
class Options(ModelOptions, DecisionOptions):
    """Options of identify."""

    top: Count = option(3, "speakers listed for each recording, closest first")
    json: bool = option(False, "print one JSON object instead of lines")


@command(Options, "SPEAKERS", "FILE...")
def main(options: Options, speakers: str, files: list[str]) -> int:
    """Says for each FILE which speaker of the directory SPEAKERS it is from, or that it is from none (open set).

    --prior is the prior that a recording is from any of the enrolled speakers, each as likely as another. A
    FILE that cannot be used is named, the others are answered, and the exit code is 1.

    Example, after ./run.sh:
        pyasp identify --model model speakers data/toy/corpus/test/wav/id20002/*/00001.wav
    """
    model = use.load_model(options)
    use.check_decides(model)
    enrolled = load_speakers(speakers, model)
    limit = use.threshold(options, len(enrolled))
    heard, failed = use.hear_each(model, files, options.channel)
    use.note_itself(heard, (vector for vectors in enrolled.values() for vector in vectors))
    closest = [model.closest(enrolled, each.vector, limit) for each in heard]
    listed = [dict(list(found.scores.items())[: options.top]) for found in closest]
    if options.json:
        answers = [
            {**each.facts(), "speaker": found.speaker, "closest": scores}
            for each, found, scores in zip(heard, closest, listed)
        ]
        worth = {"calibrated": model.calibrated, "scale": use.scale_text(model)}
        facts = {"threshold": limit, **worth, "speakers": len(enrolled), "files": answers}
        print(json.dumps({**facts, "failed": use.reasons(failed)}, indent=1))
        return int(bool(failed))
    for each, found, scores in zip(heard, closest, listed):
        told = ", ".join(f"{name} {score:+.2f}" for name, score in scores.items())
        print(f"{each.name}: {found.speaker or 'none of them'} ({told})")
        for warning in each.warnings:
            print(f"warning: {each.name}: {warning}")
    print(f"{len(enrolled)} speakers, {use.threshold_text(options, len(enrolled))}\n({use.scale_text(model)})")
    return use.tell_failed(failed, len(heard) + len(failed))


if __name__ == "__main__":
    raise SystemExit(main())

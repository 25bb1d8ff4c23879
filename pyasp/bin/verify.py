"""Says whether recordings are of one speaker: the log-likelihood ratio, and a decision."""

import json
from dataclasses import dataclass
from typing import Any

from pyasp.bundle.verify import (
    DecisionOptions,
    Heard,
    ModelOptions,
    hear_all,
    load_model,
    scale_text,
    threshold,
    threshold_text,
)
from pyasp.core.command import command
from pyasp.core.options import option
from pyasp.core.text import as_text


@dataclass(frozen=True)
class Options(ModelOptions, DecisionOptions):
    """Options of verify."""

    json: bool = option(False, "print one JSON object instead of lines")


def lines(heard: list[Heard], tests: list[Heard], scores: list[float], options: Options, scale: str) -> list[str]:
    """The answer for people: a line a test, a table of the recordings, warnings."""
    limit, text = threshold(options), []
    for each, score in zip(tests, scores):
        verdict = "same speaker" if score >= limit else "different speakers"
        name = f"{each.name}: " if len(tests) > 1 else ""
        text.append(f"{name}{verdict}: log-likelihood ratio {score:+.2f}, {threshold_text(options)}")
    table = [["", "file", "seconds", "voiced", "Hz"]]
    table += [
        [role, each.name, f"{each.seconds:.2f}", f"{each.voiced:.2f}", str(each.rate)]
        for role, group in (("enrol", heard), ("test", tests))
        for each in group
    ]
    warnings = [f"warning: {each.name}: {warning}" for each in [*heard, *tests] for warning in each.warnings]
    return [*text, f"({scale})", as_text(table, left=2), *warnings]


def record(
    heard: list[Heard], tests: list[Heard], scores: list[float], options: Options, calibrated: bool
) -> dict[str, Any]:
    """The answer for programs."""
    limit = threshold(options)
    return {
        "prior": options.prior,
        "c_miss": options.c_miss,
        "c_fa": options.c_fa,
        "threshold": limit,
        "calibrated": calibrated,
        "enrol": [each.facts() for each in heard],
        "tests": [{**each.facts(), "llr": score, "same": score >= limit} for each, score in zip(tests, scores)],
    }


@command(Options, "ENROL...", "--", "TEST...")
def main(options: Options, enrol: list[str], test: list[str]) -> None:
    """Compares the recordings ENROL of one speaker with each TEST: same speaker or different.

    Without the `--` the last file is the test. A log-likelihood ratio (natural logarithm) above the threshold that
    --prior, --c-miss and --c-fa make means "same speaker". Exit code 0 whenever there is an answer.
    """
    model = load_model(options)
    threshold(options)  # a bad prior is told before any work
    heard, tests = hear_all(model, enrol, options.channel), hear_all(model, test, options.channel)
    vectors = [each.vector for each in heard]
    scores = [float(model.score(vectors, each.vector)) for each in tests]
    if options.json:
        print(json.dumps(record(heard, tests, scores, options, model.calibrated), indent=1))
        return
    print("\n".join(lines(heard, tests, scores, options, scale_text(model))))


if __name__ == "__main__":
    raise SystemExit(main())

"""Says whether recordings are of one speaker: the log-likelihood ratio, and a decision."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from pyasp.bundle import verify as use
from pyasp.bundle.enrolled import claimed
from pyasp.bundle.verify import DecisionOptions, Heard, ModelOptions, threshold, threshold_text
from pyasp.core.command import UsageError, command
from pyasp.core.errors import InputError
from pyasp.core.options import option
from pyasp.core.text import as_text


@dataclass(frozen=True)
class Options(ModelOptions, DecisionOptions):
    """Options of verify."""

    speakers: str = option("", "directory of pyasp enroll, for --claim")
    claim: str = option("", "enrolled speaker whom every recording is claimed to be from")
    pairs: str = option("", "list of pairs, `<enrol> <test>` a line: `<enrol> <test> <ratio>` is printed of each")
    json: bool = option(False, "print one JSON object instead of lines")

    def __post_init__(self) -> None:
        if bool(self.speakers) != bool(self.claim) or (self.claim and self.pairs):
            found = " ".join(f"--{name}" for name in ("speakers", "claim", "pairs") if getattr(self, name))
            raise InputError("command line", found, "--speakers DIR with --claim NAME, or --pairs FILE", "Correct it")


def lines(heard: list[Heard], tests: list[Heard], scores: list[float], options: Options, scale: str) -> list[str]:
    """The answer for people: a line a test, a table of the recordings, warnings."""
    limit, text = threshold(options), []
    for each, score in zip(tests, scores):
        verdict = "same speaker" if score >= limit else "different speakers"
        if options.claim:
            verdict = f"{options.claim}, as claimed" if score >= limit else f"not {options.claim}"
        name = f"{each.name}: " if len(tests) > 1 else ""
        text.append(f"{name}{verdict}: log-likelihood ratio {score:+.2f}, {threshold_text(options)}")
    table = [["", "file", "seconds", "voiced", "Hz"]]
    for role, each in [*(("enrol", each) for each in heard), *(("test", each) for each in tests)]:
        table.append([role, each.name, f"{each.seconds:.2f}", f"{each.voiced:.2f}", str(each.rate)])
    warnings = [f"warning: {each.name}: {warning}" for each in [*heard, *tests] for warning in each.warnings]
    return [*text, f"({scale})", as_text(table, left=2), *warnings]


def tell(options: Options, model: Any, answer: dict[str, Any], failed: use.Failed) -> None:
    """Prints the answer for programs: what the decisions rest on, what was found, what could not be used."""
    costs = {"prior": options.prior, "c_miss": options.c_miss, "c_fa": options.c_fa}
    ratios = [each["llr"] for each in (*answer.get("tests", ()), *answer.get("pairs", ()))]
    worth = {"calibrated": model.calibrated, "scale": use.scale_text(model, ratios)}
    facts = {**costs, "threshold": threshold(options), **worth}
    print(json.dumps({**facts, **answer, "failed": use.reasons(failed)}, indent=1))


def of_pairs(options: Options) -> int:
    """Scores every pair of a list, each recording being heard once. Exit code 1 when some could not be used."""
    pairs, model = use.read_pairs(options.pairs), use.load_model(options)
    names = [name for pair in pairs for name in pair]
    heard, failed = use.hear_many(model, names, options.channel)
    rows: list[dict[str, Any]] = []
    itself = 0  # pairs of a recording with itself
    for enrol, test in pairs:
        if enrol in heard and test in heard:
            score = float(model.score(heard[enrol].vector, heard[test].vector))
            same = model.decides and score >= threshold(options)
            rows.append({"enrol": enrol, "test": test, "llr": score, "same": same})
            itself += use.is_among(heard[enrol].vector, [heard[test].vector])
    if options.json:
        files = [each.facts() for each in heard.values()]
        tell(options, model, {"pairs": rows, "files": files, "itself": itself}, failed)
    else:
        blanks = any(len(name.split()) != 1 for name in names)
        for row in rows:
            print(row["enrol"], row["test"], f"{row['llr']:.6g}", sep="\t" if blanks else " ")
        warned = [f"warning: {each.name}: {warning}" for each in heard.values() for warning in each.warnings]
        warned += [f"warning: {itself} of {len(rows)} pairs are of a recording with itself"] if itself else []
        told = [f"{name}: failed: {reason}" for name, reason in use.reasons(failed).items()]
        print(*warned, *told, f"({use.scale_text(model, [row['llr'] for row in rows])})", sep="\n", file=sys.stderr)
    alike = sum(row["same"] for row in rows)
    decided = f", {alike} of them the same speaker ({threshold_text(options)})" if model.decides else ""
    lost = f"{len(failed)} of {len(set(names))} recordings failed"
    print(f"done {len(rows)} of {len(pairs)} pairs{decided}; {lost}", file=sys.stderr)
    return int(bool(failed))


@command(Options, "[ENROL]...", "--", "[TEST]...")
def main(options: Options, enrol: list[str], test: list[str]) -> int:
    """Compares the recordings ENROL of one speaker with each TEST: same speaker or different.

    Without the `--` the last file is the test. A log-likelihood ratio (natural logarithm) of at least the threshold
    that --prior, --c-miss and --c-fa make means "same speaker". With --speakers and --claim every file is a test of
    that enrolled speaker; with --pairs no file is named. A test that cannot be used is named and the
    others are answered. Exit code 0 whenever there is an answer to everything.

    Example, after ./run.sh:
        W=data/toy/corpus/test/wav
        pyasp verify --model model $W/id20001/*/00001.wav -- $W/id20002/*/00002.wav
    """
    threshold(options)  # a bad prior is told before any work
    if options.pairs and (enrol or test):
        raise UsageError(f"unexpected argument {(enrol + test)[0]!r} beside --pairs")
    if options.pairs:
        return of_pairs(options)
    if options.claim:
        enrol, test = [], enrol + test
    elif not test and len(enrol) > 1:
        enrol, test = enrol[:-1], enrol[-1:]
    if not test or not (enrol or options.claim):
        raise UsageError(f"{'TEST' if options.claim else 'ENROL'}... is missing")
    model = use.load_model(options)
    use.check_decides(model)
    enrolled = list(claimed(options.speakers, options.claim, model)) if options.claim else []
    heard, _ = use.hear_each(model, enrol, options.channel, every=True)
    tests, failed = use.hear_each(model, test, options.channel)
    vectors = enrolled or [each.vector for each in heard]
    use.note_itself(tests, vectors)
    scores = [float(model.score(vectors, each.vector)) for each in tests]
    if options.json:
        limit = threshold(options)
        told = [{**each.facts(), "llr": score, "same": score >= limit} for each, score in zip(tests, scores)]
        known = {"claim": options.claim} if options.claim else {"enrol": [each.facts() for each in heard]}
        tell(options, model, {**known, "tests": told}, failed)
    else:
        print("\n".join(lines(heard, tests, scores, options, use.scale_text(model, scores))))
    return use.tell_failed(failed, len(tests) + len(failed))


if __name__ == "__main__":
    raise SystemExit(main())

"""What was found, in words, and how sure it is: the paragraph on top of the page."""

from pyasp.core.text import cost, percent
from pyasp.evaluation.llr import UNFIT, Entry, classes_text, eer_text, unsure
from pyasp.report import results as report
from pyasp.report.results import Results, entries, is_variant
from pyasp.report.tables import harm, interval, probability

SURE = 0.05  # p below it: more than chance
NO_TELLING = "No difference to {} can be told from chance."
FEW_SPEAKERS = 40  # fewer: intervals are wide, and said to be so


def listed(names: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def title(results: Results) -> str:
    """The corpus and what was compared."""
    names = report.plain(results["systems"])
    compared = listed(names) if len(names) <= 6 else f"{len(names)} systems"
    return f"{results['corpus']}: {compared}{' compared' if len(names) > 1 else ''}"


def _interval(entry: Entry) -> str:
    """' (95 %: 4.00 to 10.88 %)'; nothing without an interval."""
    ci = interval(entry)
    return ci and f" ({ci})"


def _differences(results: Results, name: str, best: str, others: list[str]) -> str:
    """What can be told from chance of the differences of other systems from `best`."""
    tested = {
        row["a"]: row["p"]
        for row in results.get("paired", {}).get(name, [])
        if row["figure"] == "eer" and row["b"] == best and row["a"] in others and row["p"] is not None
    }
    told, chance = ([each for each in tested if (tested[each] < SURE) == sure] for sure in (True, False))
    text = []
    p = {each: f"{each} (p {'' if value < 0.001 else '= '}{probability(value)})" for each, value in tested.items()}
    for names, sentence in ((told, "Its lead over {} is more than chance."), (chance, NO_TELLING)):
        text += [sentence.format(listed([p[each] for each in names]))] if names else []
    return " ".join(text)


def found(results: Results, name: str) -> str:
    """Of one list, a paragraph: the lowest EER, that of the networks, what can be told from chance, how sure it is."""
    everything = entries(results, name)
    plain = {system: everything[system] for system in report.plain(everything)} or everything
    best, first = report.lowest(plain, plain), next(iter(plain.values()))
    speakers = first.get("ci", {}).get("speakers")
    among = f" of {speakers} speakers" if speakers else ""
    rank = f"has the lowest EER of {len(plain)} systems," if len(plain) > 1 else "has an EER of"
    text = [f"{name} ({classes_text(first)}{among}): {best} {rank} {eer_text(plain[best])} %{_interval(plain[best])}."]
    text.append(_differences(results, name, best, list(plain)))
    networks = {system: entry for system, entry in plain.items() if system != "ivector"}
    if len(networks) > 1 and best not in networks:
        second = report.lowest(networks, networks)
        their = networks[second]
        text.append(f"Of the networks {second} has the lowest, {eer_text(their)} %{_interval(their)}.")
        text.append(_differences(results, name, second, list(networks)))
    text.append(_how_sure(plain[best], speakers))
    return " ".join(filter(None, text))


def _how_sure(entry: Entry, speakers: int | None) -> str:
    """What the number of speakers and of errors lets one say."""
    text = []
    ends = entry.get("ci", {}).get("eer")
    if not speakers:
        text.append("How sure these figures are is not known: the speakers of the trials are not.")
    elif not ends:
        text.append(f"{speakers} speakers are too few for an interval: these figures tell next to nothing.")
    elif speakers < FEW_SPEAKERS:
        might = f"with others the EER might well be {percent(ends[0])} or {percent(ends[1])} %"
        text.append(f"{speakers} speakers are few: {might}.")
    if unsure(entry):
        text.append("It hangs on few errors or on equal scores (*), and may be far off.")
    return " ".join(text)


def unfit(results: Results, name: str) -> list[list[str]]:
    """[systems, what] of scores that are worth less than nothing as log-likelihood ratios: Cllr above 1; and of those
    that calibration helped nothing."""
    found = {system: each["calibration"]["cllr"] for system, each in entries(results, name).items()}
    bad = [system for system, cllr in found.items() if not is_variant(system) and (cllr is None or cllr > 1)]
    values = listed([cost(found[system]) for system in bad])
    what = f"scores on {name} {UNFIT}: Cllr {values}, where 1 says nothing (calibrate)"
    everything = entries(results, name)
    worse = [
        [system, f"calibration helps nothing on {name}: {told}"]
        for system in everything
        if (told := harm(everything, system))
    ]
    return [*([[listed(bad), what]] if bad else []), *worse]

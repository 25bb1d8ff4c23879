"""What a run left about itself, read for the report: data, training curves, likelihoods, options, seeds, versions.

Everything is optional: a run of the i-vector system alone has no training curve, a resumed one may lack times.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.audio.folders import replaced_of
from pyasp.backend.calibration import doubts_of
from pyasp.backend.files import SCORING, read_back_end, resolved
from pyasp.backend.options import ScoreOptions
from pyasp.core import costs
from pyasp.core.errors import rerun
from pyasp.core.files import file_sha256
from pyasp.core.records import ancestors
from pyasp.core.text import Table, grouped, read_json_if_there, read_json_lines
from pyasp.data.datadir import DataDir, read_reasons, read_table
from pyasp.data.scores import ALL, ARRAY, read_left_out
from pyasp.data.selection import MUCH, left_out_of, lopsided, much_left_out
from pyasp.report.results import BY_COSINE

SETS = {
    "train": "the training recordings as they were prepared and checked",
    "train_aug": "train and its augmented copies",
    "train_ubm": "what UBM and i-vector extractor are trained on: recordings of train, no copies, with voice enough",
    "train_sel": "what networks and back ends are trained on: recordings of train_aug with voice enough, of speakers "
    "with recordings enough",
    "dev": "speakers kept out of all training, for calibration and tuning",
    "enroll": "recordings of the speakers that trials ask about",
    "test": "recordings that trials ask about",
}
MODELS, CHOSEN = ("ubm/final.ubm", "ivector/final.ie"), ("train_sel/utt2spk", "dev/utt2spk", "train_aug/cuts.jsonl.gz")
FRAMES_PER_SECOND = 100
NAMED = 5  # recordings that a sentence names


def training_curves(exp: Path) -> dict[str, list[dict[str, float]]]:
    """{system: the lines of its train.jsonl}."""
    return {
        path.parent.name: read_json_lines(path, "the JSON line of an epoch", rerun("networks"))
        for path in sorted(exp.glob("*/train.jsonl"))
    }


def likelihoods(exp: Path) -> dict[str, list[float]]:
    """{curve: value after each iteration}: mean log-likelihood a frame of the UBM's EM, diagonal and full, and the
    extractor's objective a frame."""
    curves = {
        "diagonal UBM": ("loglike", _iterations(exp / "ubm", ".dubm")),
        "full UBM": ("loglike", _iterations(exp / "ubm", ".ubm")),
        "extractor": ("objective", _iterations(exp / "ivector", ".ie")),
    }
    found = {
        title: [row[key] for row in rows if isinstance(row.get(key), (int, float))]
        for title, (key, rows) in curves.items()
    }
    return {title: values for title, values in found.items() if values}


def _iterations(directory: Path, suffix: str) -> list[dict[str, Any]]:
    """What each iteration of a model measured, in order, from its likelihood.json."""
    named = ((name.partition("."), row) for name, row in read_json_if_there(directory / "likelihood.json").items())
    rows = [(int(stem), row) for (stem, *end), row in named if stem.isdecimal() and "".join(end) == suffix]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0]) if isinstance(row, dict)]


def durations(data: Path) -> dict[str, np.ndarray]:
    """{set: seconds of its recordings}, of the sets that are people's recordings."""
    return {
        name: np.array([*DataDir(data / name).numbers("utt2dur").values()])
        for name in ("train", "enroll", "test")
        if (data / name / "utt2dur").is_file()
    }


def _row(directory: DataDir) -> list[str]:
    """Speakers, recordings, hours, median seconds, voiced share of one data directory."""

    def column(name: str) -> np.ndarray | None:
        return np.array([*directory.numbers(name).values()]) if directory.has(name) else None

    frames, voiced, seconds = column("utt2num_frames"), column("utt2num_voiced"), column("utt2dur")
    if seconds is None and frames is not None:
        seconds = frames / FRAMES_PER_SECOND
    share = "-"
    if voiced is not None and frames is not None and frames.sum():
        share = f"{100 * voiced.sum() / frames.sum():.1f}"
    hours, middle = ("-", "-") if seconds is None else (f"{seconds.sum() / 3600:.2f}", f"{np.median(seconds):.2f}")
    return [grouped(len(set(directory.utt2spk.values()))), grouped(len(directory.utt2spk)), hours, middle, share]


def data_table(data: Path) -> Table:
    """Speakers, recordings, hours, median seconds, voiced share, and how many were left out, of every data
    directory."""
    table = [["set", "speakers", "recordings", "hours", "median s", "voiced %", "left out"]]
    for name in SETS:
        directory = DataDir(data / name)
        if directory.has("utt2spk"):
            table.append([name, *_row(directory), grouped(sum(dropped(data, name).values()))])
    return table


def dropped(data: Path, name: str) -> Counter[str]:
    """{reason: recordings} of a directory's dropped.tsv, and of what was not selected for it."""
    found = Counter(read_reasons(data / name / "dropped.tsv").values())
    return found + Counter({why: count for why, (count, _) in left_out_of(DataDir(data / name)).items()})


def sets(data: Path) -> list[str]:
    """What each data directory of this run is for, a sentence each."""
    return [f"{name}: {text}." for name, text in SETS.items() if (data / name / "utt2spk").is_file()]


def dropped_table(data: Path) -> Table:
    """Reasons for which recordings were left out, by directory."""
    rows = [[name, reason, grouped(count)] for name in SETS for reason, count in dropped(data, name).items()]
    return [["set", "reason", "recordings"], *rows] if rows else []


def options(exp: Path, conf: Path | None) -> list[tuple[str, str]]:
    """(name, text) of every resolved options.conf of the run, and of the conf directory's files."""
    ours, given = sorted(exp.glob("**/options.conf")), sorted(conf.glob("*.conf")) if conf else []
    named = [(f"{path.parent.name}/{path.name}", path) for path in given]
    named += [(str(path.relative_to(exp)), path) for path in ours]
    return [(name, path.read_text(encoding="utf-8")) for name, path in named]


def seeds(exp: Path, data: Path) -> Table:
    """The seed that each artefact was made with."""
    places = [*(exp / name for name in MODELS), *(data / name for name in CHOSEN), *sorted(exp.glob("*/final.pt"))]
    records = {"/".join(path.parts[-2:]): read_json_if_there(Path(f"{path}.made.json")) for path in places}
    known = {name: record["seed"] for name, record in records.items() if record.get("seed") is not None}
    return [["seed of", "value"], *([name, str(seed)] for name, seed in known.items())]


def versions(exp: Path) -> Table:
    """Versions of Python and packages that made the results."""
    found = read_json_if_there(exp / "results.json.made.json").get("versions", {})
    return [["package", "version"], *map(list, found.items())]


def _name(stage: object, title: str) -> str:
    """A stage and what it does, without saying the same twice; tools that run.sh asks before any stage have neither."""
    if not (stage or title):
        return "before the first stage"
    return title if title.startswith(f"{stage} ") else f"{stage} {title}".strip()


def stages_table(rows: list[dict[str, Any]]) -> Table:
    """By stage and system: seconds of wall clock, of processors, of waiting, those that a longer stage hides and their
    share, and the largest process's memory (rows of costs.by_stage); the whole run last."""
    table = [["stage", "wall s", "processor s", "waiting s", "hidden s", "peak MB", "of tool"]]
    known = [row for row in rows if row["seconds"] is not None]
    for row in rows:
        used, there = row.get("cpu_seconds"), row["seconds"] is not None
        seconds = [f"{row['seconds']:.1f}" if there else "-", "" if used is None else f"{used:.1f}"]
        seconds.append(f"{max(0.0, row['seconds'] - used):.1f}" if there and used is not None else "")
        seconds.append(_hidden(row, known) if there and row.get("spans") else "")
        table.append([_name(row["stage"], row["title"]), *seconds, *_peak(row)])
    if len(known) > 1:
        spans = [span for row in known for span in row.get("spans", ())]
        wall = costs.covered(spans) if all(row.get("spans") for row in known) else sum(row["seconds"] for row in known)
        used = sum(row.get("cpu_seconds", 0.0) for row in rows)
        largest = max(rows, key=lambda row: row.get("peak_mb", 0.0))
        table.append(["all", f"{wall:.1f}", f"{used:.1f}", "", "", *_peak(largest)])
    return table if rows else []


def _peak(row: dict[str, Any]) -> list[str]:
    """Memory of the largest process, and which tool it was."""
    return [grouped(round(row["peak_mb"])) if "peak_mb" in row else "", row.get("tool", "")]


def _hidden(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Seconds of a stage that a longer one hides, and their share where there are any: "15.0 (75 %)"."""
    seconds = costs.hidden(row, rows)
    share = f" ({min(100.0, 100 * seconds / row['seconds']):.0f} %)" if seconds >= 0.05 and row["seconds"] else ""
    return f"{seconds:.1f}{share}"


# ---------------------------------------------------------------- what was lost on the way


def losses(exp: Path, data: Path, systems: Iterable[str]) -> list[list[str]]:
    """[where, what] of everything that the figures suffer from and that is not an error: sentences."""
    prepared = read_json_if_there(data / "prep.json")
    told = prepared.get("warnings", [])  # of labels, trials, training, rates
    dropped_early = (
        f"{grouped(each['dropped'])} recordings of {name} could not be used (dropped.tsv)"
        for name, each in prepared.items()
        if isinstance(each, dict) and each.get("dropped")
    )
    chosen = DataDir(data / "train_sel")
    most = filter(None, [lopsided(chosen.utt2spk)] if chosen.has("utt2spk") else [])
    replaced = [text for each in (data, data / "train_aug") for text in replaced_of(each)]
    told = [*(f"{text} (since stage prepare): figures may be of what was there before" for text in replaced), *told]
    sets = (*_lost_recordings(data), *most, *_silent_recordings(data))
    found = [["data", text] for text in (*told, *dropped_early, *sets)]
    if "ivector" in systems:
        found += [["ivector", text] for text in _lost_gaussians(exp, data)]
    for system in systems:
        texts = (*_lost_directions(exp / system, data), *_doubts(exp / system), *_known_to_init(exp / system, data))
        texts = (*texts, *_chosen(exp / system / "backend"))
        found += [[system, text] for text in texts]
    return [*found, *_same_scores(exp, systems)]


def left_out(exp: Path, names: Iterable[str]) -> list[list[str]]:
    """[where, what] of the variants, of those named, that could not be made."""
    return [
        [name if each == ALL else f"{name}, {each}", f"left out: {reason}"]
        for name in names
        for each, reason in read_left_out(exp / name).items()
    ]


def _lost_recordings(data: Path) -> Iterator[str]:
    """Recordings without features, and rules of the selection that left out much."""
    for name in SETS:
        directory = DataDir(data / name)
        if directory.has("utt2spk") and directory.has("feats.scp"):
            lacking = len(directory.utt2spk) - len(directory.read("feats.scp"))
            if lacking > 0:
                yield f"{grouped(lacking)} of {grouped(len(directory.utt2spk))} recordings of {name} have no features"
    for name, source in (("train_ubm", "train"), ("train_sel", "train_aug")):
        kept, before = DataDir(data / name), DataDir(data / source)
        if kept.has("utt2spk") and before.has("utt2spk"):
            yield from much_left_out(kept, before)


def _silent_recordings(data: Path) -> Iterator[str]:
    """Recordings that hold a tenth of a second of digital silence, of the training set and of the evaluation."""
    for names in (("train",), ("enroll", "test")):
        sets = [DataDir(data / name) for name in names if (data / name / "utt2num_silent").is_file()]
        counts = {utt: count for each in sets for utt, count in each.counts("utt2num_silent").items()}
        if silent := {utt: count for utt, count in counts.items() if count >= FRAMES_PER_SECOND // 10}:
            seconds, first = sum(silent.values()) / FRAMES_PER_SECOND, ", ".join(sorted(silent)[:NAMED])
            share = f"{grouped(len(silent))} of {grouped(len(counts))} recordings of {' and '.join(names)}"
            yield f"{share} hold digital silence ({seconds:.1f} s, no speech): {first}{', ...' * (len(silent) > NAMED)}"


def _setting(path: Path, key: str) -> float | None:
    """A number of a resolved options.conf."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((float(line.partition("=")[2]) for line in lines if line.startswith(f"--{key}=")), None)


def _lost_gaussians(exp: Path, data: Path) -> Iterator[str]:
    """Gaussians removed or left as they were, variances at their floor, recordings not used, in the last iterations."""
    ubm, extractor = ([{}, *_iterations(exp / name, end)][-1] for name, end in (("ubm", ".ubm"), ("ivector", ".ie")))
    asked, there = _setting(exp / "ubm/options.conf", "num-gauss"), ubm.get("gaussians")
    if asked and there and there < asked:
        cure = ". Fewer of them (--num-gauss) would serve this data better" * (there < (1 - MUCH) * asked)
        yield f"{there} of {asked:.0f} Gaussians of the UBM are left: too few frames for the others{cure}"
    ceps, order = (_setting(exp / "ubm/options.conf", key) for key in ("num-ceps", "delta-order"))
    values = there * ceps * (order + 1) if there and ceps and order is not None else 0
    for name, floored in (("UBM", ubm.get("floored", 0)), ("extractor", extractor.get("floored", 0))):
        if values and floored > MUCH * 2.5 * values:
            yield f"{100 * floored / values:.0f} % of the variances of the {name} are at their floor: too few frames"
    low, used, chosen = extractor.get("low_count", 0), extractor.get("recordings"), DataDir(data / "train_ubm")
    if used and chosen.has("utt2spk") and used < len(chosen.utt2spk):
        yield f"{used:.0f} of {len(chosen.utt2spk)} recordings of train_ubm served to train the extractor"
    if low:
        yield f"{low} Gaussians had too few frames for the extractor and stayed as they were"


def _known_to_init(system: Path, data: Path) -> Iterator[str]:
    """Evaluation speakers, by their names, in the training of the networks that a network began with (--init)."""
    sets = [each for name in ("enroll", "test") if (each := DataDir(data / name)).has("utt2spk")]
    tested = {speaker for each in sets for speaker in each.spk2utt}
    for network, record in ancestors(system / "final.pt"):
        if record.get("tool") != "train_tdnn" or network == system / "final.pt":
            continue
        for path in (path for path in record["inputs"] if path.endswith("/utt2spk") and Path(path).is_file()):
            if known := set(read_table(path).values()) & tested:
                who = f"{len(known)} of {len(tested)} evaluation speakers (first: {min(known)})"
                yield f"{who} are in {path}, which {network} was trained on, where this network began"


def _lost_directions(system: Path, data: Path) -> Iterator[str]:
    """Directions in which the vectors do not vary, and PLDAs of many more dimensions than speakers."""
    if not (system / "backend/plda").is_file():
        return
    found, lda = read_back_end(system / "backend"), _setting(system / "backend/options.conf", "lda-dim")
    kept, dim, chosen = len(found.transform), len(found.mean), DataDir(data / "train_sel")
    if not lda and kept < dim:
        yield f"the training vectors vary in {kept} of {dim} directions alone, and the back end keeps these"
    speakers = len(set(chosen.utt2spk.values())) if chosen.has("utt2spk") else kept
    if 2 * speakers < kept and resolved(ScoreOptions(scoring="auto"), system / "backend").scoring != "cosine":
        yield f"PLDA has {kept} dimensions and {speakers} training speakers: cosine, or LDA before it, may be better"


def _same_scores(exp: Path, systems: Iterable[str]) -> Iterator[list[str]]:
    """Systems whose scores on a list are those of another to the last bit: asnorm of a cohort of --cohort-top, say."""
    known: dict[tuple[str, str], str] = {}
    arrays = [(system, path) for system in systems for path in sorted((exp / system / "scores").glob(f"*{ARRAY}"))]
    for system, path in arrays:
        first = known.setdefault((path.name, file_sha256(path)), system)
        if first != system:
            yield [f"{first} and {system}", f"the same scores on {path.name.removesuffix(ARRAY)}, to the last digit"]


def _chosen(backend: Path) -> Iterator[str]:
    """Where --scoring=auto took another back end than PLDA."""
    if (backend / SCORING).is_file() and resolved(ScoreOptions(scoring="auto"), backend).scoring == "cosine":
        yield f"{BY_COSINE}, which --scoring=auto chose: its scores are no log-likelihood ratios (calibrate)"


def _doubts(system: Path) -> list[str]:
    """What is to be said against a calibration."""
    lists = read_json_if_there(system / "calibration.json").get("lists", {}).values()
    found = dict.fromkeys(text for models in lists for text in doubts_of(models))
    return [f"calibrated on {text}" for text in found]

"""A bundle from a finished experiment: the records beside its artefacts lead from the scores back to the options.

scores/<list> -> the back end's three files, the scoring options
test/embedding.scp -> its shards -> network or UBM and extractor; feats.scp, vad.scp -> their options
"""

import dataclasses
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.audio.folders import some
from pyasp.backend.calibration import pooled
from pyasp.backend.options import ScoreOptions
from pyasp.backend.variants import NORMS
from pyasp.bundle.card import card
from pyasp.bundle.format import BACKEND, CALIBRATION, CARD, MANIFEST, SHORTEST, TRAINED, Bundle, write_manifest
from pyasp.core.conf import read_conf, write_conf
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import absent, file_sha256, remove_tree, temporary_name
from pyasp.core.options import T, picked
from pyasp.core.records import changed_behind, maker, record_of, versions
from pyasp.core.text import read_json, read_json_if_there, write_json
from pyasp.data.datadir import TRAINING_RATES, DataDir
from pyasp.data.scores import read_left_out
from pyasp.evaluation.llr import UNFIT
from pyasp.features.kinds import KINDS, MAKERS
from pyasp.features.mfcc import MfccOptions
from pyasp.features.vad import VadOptions

EXTRACTIONS = {"extract_embedding": "network", "extract_ivector": "ivector"}
SHORT_PERCENTILE = 1  # of the voiced frames of the test recordings: shorter ones the system was hardly measured on


@dataclasses.dataclass(frozen=True)
class Found:
    """What the records of an experiment say. directory: EXP/SYSTEM; model: record of the extraction (inputs resolved);
    settings: options by the name of their conf file; backend: the three files; data: the test set's directory.
    """

    directory: Path
    model: dict[str, Any]
    settings: dict[str, Any]
    backend: dict[str, Path]
    data: Path


def check_current(path: Path, besides: str = "") -> None:
    """InputError when something that an artefact was made from, however far behind it, was made again since.

    besides: what else the user may do.
    """
    if changed := changed_behind(path):
        artefact, name = changed
        cure = rerun("scores", besides, force=True)
        raise InputError(artefact, f"one older than {name}", f"one made from the present {Path(name).name}", cure)


def options_of(record: dict[str, Any], cls: type[T]) -> T:
    """The options of class `cls` among those of a record (which may hold further ones)."""
    return picked(record["options"], cls, f"the record of {record.get('tool')}")


def inputs_named(record: dict[str, Any], *names: str) -> dict[str, Path]:
    """{file name: path} of a record's inputs of these names. Raises InputError when one is gone."""
    found = {Path(path).name: Path(path) for path in record["inputs"] if Path(path).name in names}
    for name in names:
        if not (path := found.get(name, Path(name))).is_file():
            cure = "Run the recipe again, or run pyasp bundle where its files lie"
            raise InputError(path, absent(path), "an input of the recorded step", cure)
    return found


def _check_variant(directory: Path) -> None:
    """Raises InputError for a variant whose scores depend on more than one pair of recordings and the back end."""
    steps = [step for step in directory.name.split("+")[1:] if step in NORMS]
    if steps or directory.name.startswith("fusion:"):
        found = f"a variant with {steps[0]}" if steps else "a fusion"
        expected = "a system, or a variant of its back end or with +cal"
        raise InputError(directory, found, expected, "Bundle the system itself")


def calibration_file(directory: Path, given: str) -> Path | None:
    """Where the calibration of EXP/SYSTEM is: `given`, the system's own, its +cal or +calhalf variant's; or None."""
    if given == "none":
        return None
    if given and not Path(given).is_file():
        raise InputError(given, absent(given), "a calibration.json", "Check --calibration, or give none")
    variants = [directory.with_name(directory.name + step) for step in ("", "+cal", "+calhalf")]
    places = [Path(given)] if given else [place / CALIBRATION for place in variants]
    return next((place for place in places if place.is_file()), None)


def affine_map(path: Path, trials: str = "", system: str = "") -> dict[str, Any]:
    """{scale, offset, prior, trained_on} of a calibration.json of the recipe, and on how many trials; the mean of two
    halves' models; `losses`: what the run's report says of the variant.

    trials: the list whose calibration it is, the first without. Raises InputError when there is no such list, when the
    map takes another score than that of `system` ("": any), and when the scores that it was trained on have changed.
    """
    expected, cure = "the recipe's calibration", "Calibrate again (pyasp score calibrate)"
    try:
        stored = read_json(path, expected, cure)
        if trials and trials not in stored["lists"]:
            raise InputError(path, f"no list {trials!r}", " or ".join(stored["lists"]), "Correct --trials")
        trials = trials or next(iter(stored["lists"]))
        models = stored["lists"][trials]
        weights = [list(model["weights"].values()) for model in models]
        offsets, prior = [float(model["offset"]) for model in models], models[0]["prior"]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, IndexError) as error:
        found = f"no usable calibration ({type(error).__name__}: {error})"
        raise InputError(path, found, expected, cure) from None
    if any(len(each) != 1 for each in weights):
        found, cure = f"inputs {' '.join(models[0]['weights'])}", "Calibrate without --quality, and without fusion"
        raise InputError(path, found, "the score of one system alone", cure)
    of, expected = next(iter(models[0]["weights"])), system.removesuffix("+cal").removesuffix("+calhalf")
    if system and of != expected:
        raise InputError(path, f"a calibration of {of}", f"one of {expected}", "Correct --calibration")
    check_current(path.parent / "scores" / trials, "Bundle it without: --calibration none")
    variant = path.absolute().parent
    losses = losses_of(variant.parent, variant.name) if variant.name != system else []
    return {
        "scale": float(np.mean(weights)),
        "offset": float(np.mean(offsets)),
        "prior": prior,
        "trained_on": stored.get("trained_on", ""),
        "trials": trials,
        **pooled(models),
        **({"losses": losses} if losses else {}),
    }


def calibration_of(directory: Path, path: Path, trials: str = "") -> dict[str, Any]:
    """As `affine_map`, of EXP/SYSTEM; or what `pyasp evaluate --calibration` wrote, which knows its scores by their
    SHA-256. Raises InputError when these are not among the system's."""
    cure = "Calibrate again: pyasp evaluate --calibration MAP DATA/trials/LIST EXP/SYSTEM/scores/LIST"
    stored = read_json(path, "a calibration", cure)
    if "scale" not in stored:
        return affine_map(path, trials, directory.name)
    lists = [each for each in sorted((directory / "scores").glob("*")) if file_sha256(each) == stored.get("scores")]
    if not lists or trials not in ("", lists[0].name):
        expected = f"one of {directory}/scores/{trials}"
        raise InputError(path, f"a calibration of other scores ({stored.get('trained_on')})", expected, cure)
    check_current(lists[0], "Bundle it without: --calibration none")
    try:
        values = {name: float(stored[name]) for name in ("scale", "offset", "prior")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"no usable calibration ({error})", "scale, offset and prior", cure) from None
    return {**stored, **values, "trials": lists[0].name}


def losses_of(exp: Path, *places: str) -> list[str]:
    """What the report of a run says that its figures may suffer from, of some systems or of its `data`."""
    told = read_json_if_there(exp / "results.json").get("losses", [])
    return [what for where, what in told if {*places} & {*re.split(", | and ", where)}]


def _unfinished(directory: Path, embeddings: Path) -> InputError:
    """What a directory without scores or without embeddings lacks; where systems lie in it, that it is none."""
    systems = [str(path.parent.parent) for path in sorted(directory.glob("*/test/embedding.scp"))]
    if systems:
        return InputError(directory, "systems in it", "one system, EXP/SYSTEM", f"Name one of {' '.join(systems)}")
    if reasons := read_left_out(directory):
        told = f"a variant that could not be made ({next(iter(reasons.values()))})"
        return InputError(directory, told, "a finished system, EXP/SYSTEM", "Bundle another, or the system itself")
    found = "no scores" if embeddings.is_file() else "no test/embedding.scp" if directory.is_dir() else "no such system"
    cure = rerun("scores" if embeddings.is_file() else "embeddings", "Check the path")
    return InputError(directory, found, "a finished system, EXP/SYSTEM", cure)


def survey(directory: Path) -> Found:
    """Everything that a bundle of EXP/SYSTEM holds. Raises InputError naming what is missing."""
    _check_variant(directory)
    scores = [path for path in sorted((directory / "scores").glob("*")) if record_of(path)]
    embeddings = directory.parent / directory.name.split("+")[0] / "test" / "embedding.scp"  # a variant's: its system's
    if not scores or not embeddings.is_file():
        raise _unfinished(directory, embeddings)
    check_current(scores[0])
    scored, model = maker(scores[0], "score"), maker(embeddings, *EXTRACTIONS)
    tables = inputs_named(model, "feats.scp", "vad.scp")
    features = maker(tables["feats.scp"], *MAKERS)
    kind = features["tool"].removeprefix("make_")
    settings = {
        kind: options_of(features, KINDS[kind].options),
        "mfcc": options_of(maker(tables["vad.scp"], "make_mfcc"), MfccOptions),  # the voice activity's, whatever kind
        "vad": options_of(maker(tables["vad.scp"], "compute_vad"), VadOptions),
        "backend": options_of(scored, ScoreOptions),
    }
    return Found(directory, model, settings, inputs_named(scored, *BACKEND), tables["vad.scp"].parent)


def shortest_voiced(found: Found) -> float:
    """Voiced seconds that nearly all test recordings have (SHORT_PERCENTILE)."""
    frames = [*DataDir(found.data).counts("utt2num_voiced").values()]
    return round(float(np.percentile(frames, SHORT_PERCENTILE)) * found.settings["mfcc"].frame_shift / 1000, 2)


def training_rates(found: Found) -> dict[str, int]:
    """{rate in Hz: training recordings}, as the preparation counted them; none of one that did not."""
    counted = read_json_if_there(found.data.parent / "prep.json").get(TRAINING_RATES, {})
    return {rate.removesuffix(" Hz"): count for rate, count in counted.items()}


def write_network(found: Found, target: Path) -> dict[str, Any]:
    """network.conf and network.ark; returns facts of the network's training."""
    from pyasp.network import checkpoint
    from pyasp.network.embed import ExtractionOptions

    path = model_file(found, ".pt")
    state = checkpoint.load(path, *checkpoint.NETWORK)
    options = picked({**state["options"], **found.model["options"]}, ExtractionOptions, path)
    write_conf(target / "network.conf", dataclasses.replace(options, input_dim=state["dim"], model=""))
    if options.encoder == "onnx":
        (target / "network.onnx").write_bytes(bytes(state["model"]["onnx"].numpy()))
        return {"encoder": options.encoder, "file": Path(options.model).name}
    shapes = checkpoint.write_weights(checkpoint.network_of(state, path), target / "network.ark")
    return {
        "training_speakers": len(state["speakers"]),
        "epoch": state.get("epoch"),
        **({"init": origin(state["init"])} if "init" in state else {}),
        "encoder": options.encoder,
        "pooling": options.pooling,
        "shapes": shapes,
    }


def origin(init: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a checkpoint says of the network that it started from, with the last two parts of its path alone."""
    return init and {**init, "file": "/".join(Path(init["file"]).parts[-2:]), "init": origin(init.get("init"))}


def model_file(found: Found, suffix: str) -> Path:
    """The model of the extraction with this suffix. Raises InputError when it is no longer there."""
    path = next((Path(name) for name in found.model["inputs"] if name.endswith(suffix)), None)
    if path is None or not path.is_file():
        lacking = f"no {suffix} model that its vectors were made with"
        raise InputError(found.directory, lacking, "the model's file", rerun("ubm"))
    return path


def write_ivector(found: Found, target: Path) -> dict[str, Any]:
    """ivector.conf, final.ubm and final.ie."""
    from pyasp.ivector.train import IvectorOptions

    write_conf(target / "ivector.conf", options_of(found.model, IvectorOptions))
    for suffix in (".ubm", ".ie"):
        shutil.copyfile(model_file(found, suffix), target / f"final{suffix}")
    return {}


WRITERS = {"network": write_network, "ivector": write_ivector}


def facts_of(found: Found, calibrated: bool) -> dict[str, Any]:
    """What bundle.json says beyond the files; no results before stage report. calibrated: what the raw scores are as
    ratios no longer matters."""
    metrics = found.directory / "metrics.json"
    trials = read_json_if_there(metrics).get("trials", {})
    if trials and (changed := changed_behind(metrics)):
        print(f"warning: {metrics} is older than {changed[1]}: its results are left out", file=sys.stderr)
        trials = {}
    kept = ("eer", "min_dcf", "n_target", "n_nontarget", "eer_rocch", "errors", "ci")
    losses = losses_of(found.directory.parent, "data", found.directory.name) if trials else []
    return {
        "system": found.directory.name,
        "corpus": found.directory.resolve().parent.name,
        "rate": int(found.settings["mfcc"].sample_frequency),
        "shortest_voiced_seconds": shortest_voiced(found),
        **({TRAINED: rates} if (rates := training_rates(found)) else {}),
        "results": {name: {key: entry[key] for key in kept if key in entry} for name, entry in trials.items()},
        "losses": [what for what in losses if not (calibrated and UNFIT in what)],
        "versions": versions(),
    }


def fill(found: Found, calibration: dict[str, Any] | None, target: Path) -> None:
    """Writes every file of the bundle into `target`, the manifest last."""
    kind = EXTRACTIONS[found.model["tool"]]
    for name, options in found.settings.items():
        write_conf(target / f"{name}.conf", options)
    for name, path in found.backend.items():
        shutil.copyfile(path, target / name)
    facts = {
        **facts_of(found, calibration is not None),
        **WRITERS[kind](found, target),
        "calibrated": calibration is not None,
    }
    facts["losses"] += calibration.get("losses", []) if calibration else []
    kind = "onnx" if facts.get("encoder") == "onnx" else kind
    if calibration:
        write_json(target / CALIBRATION, calibration)
    (target / CARD).write_text(card(kind, facts | {"scoring": found.settings["backend"].scoring}), encoding="utf-8")
    write_manifest(target, kind, facts)


def copy_kaldi(bundle: Bundle, target: Path) -> None:
    """A bundle of its own from Kaldi's files: the recipe's defaults written out."""
    from pyasp.ivector.train import IvectorOptions

    for name, path in bundle.files.items():
        shutil.copyfile(path, target / name)
    for name, defaults in {"ivector.conf": IvectorOptions(), "backend.conf": ScoreOptions()}.items():
        if name not in bundle.files:
            write_conf(target / name, defaults)
    facts = {
        **bundle.facts,
        "rate": int(read_conf(target / "mfcc.conf", MfccOptions).sample_frequency),
        "shortest_voiced_seconds": SHORTEST,
        "results": {},
        "versions": versions(),
        "calibrated": CALIBRATION in bundle.files,
    }
    (target / CARD).write_text(card("ivector", facts), encoding="utf-8")
    write_manifest(target, "ivector", facts)


def _not_of_the_bundle(target: Path) -> list[str]:
    """What a user has put into a bundle: enrolled speakers, notes."""
    ours = {
        MANIFEST,
        CARD,
        CALIBRATION,
        *read_json(target / MANIFEST, "a manifest", "Choose another name").get("files", ()),
    }
    return sorted(path.name for path in target.iterdir() if path.name not in ours)


def make(write: Callable[[Path], None], target: Path, force: bool) -> None:
    """Lets `write` fill a directory of a temporary name, then renames it. Raises InputError when `target` is there,
    without `force`, or is no bundle."""
    if target.exists() and not force:
        raise InputError(target, "something of this name", "no such directory yet", "Give --force to replace a bundle")
    if target.exists() and not (target / MANIFEST).is_file():
        raise InputError(target, "a directory that is no bundle", "a bundle to replace", "Choose another name")
    if target.exists() and (others := _not_of_the_bundle(target)):
        cure = "Move them elsewhere: replacing the bundle would delete them"
        raise InputError(target, f"files that no bundle has ({some(others)})", "those of the bundle alone", cure)
    temporary = temporary_name(target)
    remove_tree(temporary)
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        remove_tree(target)
        temporary.rename(target)
    finally:
        remove_tree(temporary)

"""Which artefacts of a run are out of date: made with other settings than the present ones, or from other inputs.

A tool looks at what it makes itself; this looks at what a run starts from (`--stage N`) or reports. Every record
`X.made.json` says the tool, its options and the fingerprints of its inputs. Settings are read as the tool itself reads
them: its options class (`main.options`) and its conf file.
"""

import dataclasses
import functools
import importlib
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyasp.audio.folders import replaced_of
from pyasp.core.command import parse
from pyasp.core.conf import read_conf
from pyasp.core.errors import COMMAND_LINE, InputError, rerun
from pyasp.core.options import subset
from pyasp.core.records import fingerprint, load_record, moved, same_value
from pyasp.features.frontend import FEATURE_TYPES

RECORD = ".made.json"
SETS = ("train", "enroll", "test", "train_aug", "train_ubm", "train_sel", "dev")  # others are the user's own


@dataclass(frozen=True)
class Tool:
    """Stage that runs it, conf file that it reads, whether --seed decides its result; its verb (and which of the verb's
    commands) where that is not called as its records are."""

    stage: str
    conf: str = ""
    seeded: bool = False
    verb: str = ""


ROOT = Path(__file__).resolve().parents[2]
MAKERS = {f"make_{kind}": Tool("features", f"{kind}.conf") for kind in FEATURE_TYPES}
TOOLS = {
    **{path.stem: Tool("prepare", "prep.conf", True) for path in sorted((ROOT / "local").glob("prep_*.py"))},
    **MAKERS,
    "compute_vad": Tool("features", "vad.conf", verb="vad compute"),
    "merge_shards": Tool("features"),
    "augment": Tool("augment", "augment.conf", True),
    "copy_vad": Tool("augment", verb="vad copy"),
    "select_train": Tool("select", "select.conf", True, "select train"),
    "make_dev": Tool("select", "backend.conf", True, "select dev"),
    "train_ubm": Tool("ubm", "ubm.conf", True),
    "train_ivector": Tool("extractor", "ivector.conf", True),
    "train_tdnn": Tool("networks", "tdnn.conf", True),
    "extract_ivector": Tool("embeddings", "ivector.conf", verb="extract ivector"),
    "extract_embedding": Tool("embeddings", "tdnn.conf", verb="extract network"),
    "train_backend": Tool("scores", "backend.conf", verb="score train"),
    "adapt_backend": Tool("scores", "backend.conf", verb="score adapt"),
    "score": Tool("scores", "backend.conf", verb="score list"),
    "normalise_scores": Tool("scores", "backend.conf", verb="score normalise"),
    "calibrate": Tool("scores", "backend.conf", verb="score calibrate"),
}
DERIVED = {"train_aug": "augment", "train_sel": "select", "dev": "select"}  # sets, with their stage
SYSTEMS = ROOT / "conf" / "systems"  # shared by all corpora
STAGES = tuple(dict.fromkeys(tool.stage for tool in TOOLS.values()))  # in the order of a run
CHOSEN = ("train_on", "kind")  # by the step, not by a setting


@dataclass(frozen=True)
class Request:
    """What a run was asked for. systems: with their variants, as their directories are called.

    conf "": settings are not looked at; seed None: nor is the seed;
    ivector, backend: directories given in place of trained models ("": none; None: not known, not looked at);
    corpus, corpus_options: the preparation and its words; musan, rirs: folders of noises and responses that the run was
    given; "": not looked at.
    """

    data: Path
    exp: Path
    systems: tuple[str, ...]
    conf: str = ""
    seed: int | None = None
    corpus: str = ""
    corpus_options: tuple[str, ...] = ()
    ivector: str | None = None
    backend: str | None = None
    musan: str = ""
    rirs: str = ""


@dataclass(frozen=True)
class Stale:
    """An artefact that is out of date, the stage that makes it, and why."""

    path: Path
    stage: str
    why: str


def family(name: str) -> tuple[str, ...]:
    """A system and those that it is made from: `ivector+snorm` -> `ivector`, `ivector+snorm`."""
    if name.startswith("fusion:"):
        return *name.removeprefix("fusion:").split("+"), name
    steps = name.split("+")
    return tuple("+".join(steps[:count]) for count in range(1, len(steps) + 1))


def with_variants(systems: tuple[str, ...], exp: Path, conf: str) -> tuple[str, ...]:
    """Systems, their variants and fusions of the present backend.conf; those of a former one are not reported."""
    if not any("+" in path.name for path in exp.glob("*")):
        return systems
    from pyasp.backend.options import BackendOptions  # and scipy
    from pyasp.backend.variants import every_name

    return tuple(every_name(read_conf(Path(conf) / "backend.conf", BackendOptions), systems))


def features_of(run: Request) -> set[str]:
    """Kinds of features that the run's networks read."""
    networks = {name.split("+")[0] for name in run.systems if not name.startswith("fusion:")} - {"ivector"}
    return {settings(run, "train_tdnn", name)["feature_type"] for name in networks}


def directory_of(run: Request, artefact: Path) -> str:
    """The directory of the experiment that an artefact lies in; "" for data."""
    return artefact.relative_to(run.exp).parts[0] if artefact.is_relative_to(run.exp) else ""


def used(run: Request, artefact: Path, tool: str) -> bool:
    """False for what lies there but was replaced by models that the run was given."""
    if run.ivector and tool in ("train_ubm", "train_ivector"):
        return False
    if artefact.parent.name in FEATURE_TYPES[1:] and artefact.is_relative_to(run.data) and run.conf:
        return artefact.parent.name in features_of(run)
    name = directory_of(run, artefact)
    return not (run.backend and "ivector" in family(name) and (tool == "train_backend" or name != "ivector"))


def records(run: Request) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(artefact, its record) of the data and of the run's systems. A record without artefact is of a killed step."""
    mine = (*run.systems, *(("ubm",) if "ivector" in run.systems else ()))
    directories = [*(run.data / name for name in SETS), *(run.exp / name for name in mine)]
    places = [run.data / f"prep.json{RECORD}", *(path for each in directories for path in each.rglob(f"*{RECORD}"))]
    artefacts = {Path(str(path).removesuffix(RECORD)): path for path in sorted(places) if path.is_file()}
    found = {artefact: load_record(path) for artefact, path in artefacts.items() if artefact.exists()}
    moves = dict(moved(made["path"], artefact) for artefact, made in found.items() if made.get("path"))
    for artefact, made in found.items():
        if used(run, artefact, made["tool"]):
            yield artefact, {**made, "inputs": {now_at(name, moves): mark for name, mark in made["inputs"].items()}}


def now_at(name: str, moves: Mapping[Path, Path]) -> str:
    """Where an input lies now: directories of the run that were moved, or are copies, hold their own."""
    places = (new / Path(name).relative_to(old) for old, new in moves.items() if Path(name).is_relative_to(old))
    return next((str(place) for place in places if str(place) != name and place.exists()), name)


def stage_of(run: Request, artefact: Path, tool: str) -> str:
    """The stage that makes an artefact; "report" for what is none of the known tools'."""
    stage = TOOLS[tool].stage if tool in TOOLS else "report"
    if stage == "features" and artefact.is_relative_to(run.exp):
        return "embeddings"  # whose shards are merged by the same tool
    later = [stage for name, stage in DERIVED.items() if artefact.is_relative_to(run.data / name)]
    return later[0] if stage == "features" and later else stage


def system_conf(conf: str | Path, system: str) -> Path:
    """The settings of a network by name: in the conf directory's systems/, else in the shared one."""
    own = Path(conf) / "systems" / f"{system}.conf"
    return own if own.is_file() else SYSTEMS / f"{system}.conf"


def main_of(run: Request, tool: str) -> Any:
    """The command that a tool of a record is."""
    if TOOLS[tool].stage == "prepare":
        return importlib.import_module(f"local.prep_{run.corpus}").main
    verb, _, action = (TOOLS[tool].verb or tool).partition(" ")
    main = importlib.import_module(f"pyasp.bin.{verb}").main
    return main.actions[action] if action else main


def settings(run: Request, tool: str, system: str = "") -> dict[str, Any]:
    """{field: value} of the present settings of a tool, for a network those of its system over tdnn.conf."""
    preparing = TOOLS[tool].stage == "prepare"
    if preparing and not run.corpus:
        return {}
    path, words = Path(run.conf) / TOOLS[tool].conf, []
    if path.is_file():
        words += ["--config", str(path)]
        words += ["--config", str(system_conf(run.conf, system))] if TOOLS[tool].conf == "tdnn.conf" else []
    elif not preparing:
        raise InputError(path, "no such file", "the settings of a step", "Check --conf")
    main = main_of(run, tool)
    found, _ = parse(main.options, [*words, *(run.corpus_options if preparing else ())])
    values = json.loads(json.dumps(dataclasses.asdict(found)))  # as a record holds them
    if preparing:  # a later stage may be asked for without what the preparation was given
        return {name: value for name, value in values.items() if value != getattr(main.options(), name)}
    if tool == "augment":  # its folders are no settings: a later stage may be asked for without them
        given = {name: folder for name, folder in (("musan", run.musan), ("rirs", run.rirs)) if folder}
        values = {name: value for name, value in values.items() if name not in ("musan", "rirs")} | given
    if tool in MAKERS and not values["compress"]:
        values["compression_method"] = 0
    if tool == "train_ubm":
        from pyasp.features.frontend import FrontendOptions  # and torch, which a run without records does not wait for
        from pyasp.ivector.train import IvectorOptions

        ivector = read_conf(Path(run.conf) / "ivector.conf", IvectorOptions)
        values |= dataclasses.asdict(subset(ivector, FrontendOptions))
    return values


def of_step(run: Request, tool: str, artefact: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Settings that the step itself gives a tool, for this artefact."""
    chain, more = directory_of(run, artefact).split("+")[1:], {}
    if tool == "train_backend" and chain:
        more["lda_dim"] = values["variant_lda_dim"]
    if "cosine" in chain:
        more["scoring"] = "cosine"
    return more


def recorded_options(made: dict[str, Any]) -> dict[str, Any]:
    """The options of a record, with the values of those that it leaves out."""
    if made["tool"] != "train_tdnn":
        return made["options"]
    from pyasp.network.checkpoint import LATER  # and torch, which a run without networks does not wait for

    return {name: value for name, value in LATER.items() if value is not None} | made["options"]


def changed_settings(
    run: Request, artefact: Path, made: dict[str, Any], settings_of: Callable[[str, str], dict[str, Any]]
) -> Iterator[str]:
    """`--key: old -> new` of each setting that is another one now."""
    tool = TOOLS.get(made["tool"])
    if not tool or not run.conf:
        return
    if tool.seeded and run.seed is not None and made["seed"] != run.seed:
        yield f"--seed: {made['seed']} -> {run.seed}"
    system = directory_of(run, artefact).split("+")[0]
    now = settings_of(made["tool"], system if tool.conf == "tdnn.conf" else "") if tool.conf else {}
    now = now | of_step(run, made["tool"], artefact, now)
    for key, old in recorded_options(made).items():
        decided = key == "scoring" and now.get(key) == "auto"  # by the back end, which is an input
        if key in now and key not in ("seed", "force", *CHOSEN) and not same_value(old, now[key]) and not decided:
            remark = not_there(now[key]) if tool.stage == "prepare" else ""
            yield f"--{key.replace('_', '-')}: {old} -> {now[key]}{remark}"


def not_there(value: Any) -> str:
    """A remark on an option's value that is a path to nothing; "" of others."""
    return ", which is not there" if isinstance(value, str) and os.sep in value and not os.path.exists(value) else ""


def models_of(run: Request, artefact: Path, tool: str) -> list[Path]:
    """The model files that an artefact must have been made with: those given in place of trained ones, or our own."""
    if tool == "extract_ivector" and run.ivector is not None:
        given = Path(run.ivector) if run.ivector else None
        return [(given or run.exp / "ubm") / "final.ubm", (given or run.exp / "ivector") / "final.ie"]
    if tool == "score" and run.backend is not None and directory_of(run, artefact) == "ivector":
        return [(Path(run.backend) if run.backend else run.exp / "ivector" / "backend") / "plda"]
    return []


def changed_inputs(
    run: Request, artefact: Path, made: dict[str, Any], mark_of: Callable[[str], str | None]
) -> Iterator[str]:
    """Each input that is gone, was made again, or is not the one asked for; which audio files were replaced."""
    for path, mark in made["inputs"].items():
        now = mark_of(path)
        if now != mark:
            yield f"input {path} {'is gone' if now is None else 'changed'}"
    if made["tool"] == "augment" or stage_of(run, artefact, made["tool"]) == "prepare":
        yield from replaced_of(artefact.parent)  # of the audio, which is no input of a record
    for path in models_of(run, artefact, made["tool"]):
        if not any(same_value(name, str(path)) for name in made["inputs"]):
            yield f"not made with {path}"


def find(run: Request, stages: Collection[str] = STAGES) -> list[Stale]:
    """What these stages left that is out of date, in the order of stages."""

    @functools.cache
    def mark_of(path: str) -> str | None:
        return fingerprint(path) if Path(path).is_file() else None

    settings_of, found = functools.cache(lambda tool, system: settings(run, tool, system)), []
    for artefact, made in records(run):
        stage = stage_of(run, artefact, made["tool"])
        if stage in stages:
            reasons = [*changed_settings(run, artefact, made, settings_of)]
            reasons += changed_inputs(run, artefact, made, mark_of)
            found += [Stale(artefact, stage, "; ".join(reasons[:4]))] if reasons else []
    return sorted(found, key=lambda each: (STAGES.index(each.stage), str(each.path)))


def data_of(path: Path) -> Path | None:
    """The data directory that an input of a record lies in, by the name of its set; None of others."""
    sets = [place for place, part in enumerate(path.parts) if part in (*SETS, "trials")]
    return Path(*path.parts[: sets[-1]]) if sets else None


def require_data(run: Request) -> None:
    """Raises InputError where the run's experiment was made from another data directory, which is still there.

    One that was copied or moved with the experiment holds the same files: it is the same.
    """
    for artefact, made in records(run):
        for name, mark in made["inputs"].items() if artefact.is_relative_to(run.exp) else ():
            other = None if (path := Path(name)).is_relative_to(run.exp) else data_of(path)
            if not other or not (other / "prep.json").is_file() or same_value(str(other), str(run.data)):
                continue
            ours = run.data / path.relative_to(other)
            if not ours.is_file() or fingerprint(ours) != mark:
                found, expected = f"{run.exp}, which was made from {other}", f"one made from {run.data}"
                raise InputError(COMMAND_LINE, found, expected, f"Give --data {other}, or another --exp", item="--exp")


def refuse(run: Request, stages: Collection[str] = STAGES) -> None:
    """Raises InputError where these stages left what is out of date: the first artefact with the reason, how many
    there are of each stage, and the way out. Before that as `require_data`."""
    require_data(run)
    if not (found := find(run, stages)):
        return
    first, told = found[0], []
    for stage, group in itertools.groupby(found, lambda each: each.stage):
        mine = list(group)
        told.append(f"stage {stage}: {mine[0].path}" + (f" and {len(mine) - 1} more" if mine[1:] else ""))
    what = f"{len(found)} artefacts out of date ({first.why}): {'; '.join(told)}"
    expected, cure = "artefacts made with the present settings and inputs", rerun(first.stage, force=True)
    raise InputError(first.path, what, expected, cure)

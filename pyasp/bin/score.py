"""Trains back ends, and scores, normalises, calibrates and fuses: a whole system, or one step of it."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pyasp.backend import choice, files, model, variants
from pyasp.backend.files import APART, by_trial, read_back_end, resolved
from pyasp.backend.lists import check_missing, load_embeddings, load_models, load_tests, score_list, with_embedding
from pyasp.backend.model import BackEnd, adapt_apart, draw_folds
from pyasp.backend.options import BackendOptions, BackendTrainOptions, ScoreOptions
from pyasp.backend.scoring import SCORERS, Scorer
from pyasp.bin._calibrate import WAYS, calibrate
from pyasp.bin._normalise import HOLD_OUT, normalise
from pyasp.core.command import command, one_of
from pyasp.core.conf import write_conf
from pyasp.core.errors import CannotBeMade, InputError, rerun
from pyasp.core.options import option, subset
from pyasp.core.records import changed_behind, describe, is_current, with_beside
from pyasp.data.datadir import c_sorted, read_model2utts, read_table
from pyasp.data.scores import ALL, dev_list, note_left_out, optional, read_left_out, with_scores, write_scores
from pyasp.data.trials import TrialList, read_trials, trial_lists
from pyasp.kaldi import ScpReader

SETS = ("enroll", "test", "dev")  # whose recordings trials are of
TRAIN_ON = """on the dev speakers' trials (or --calibration-list); halves: on the other half of the speakers of the
evaluation; auto: dev where there are such scores, else halves""".replace("\n", " ")


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of score: a whole backend.conf, of which each command uses its part, and what a command needs beside."""

    backend: str = option("", "system: back end given in place of a trained one; there are no variants then")
    utt2clean: str = option("", "train: table of augmented copies, for --train-copies=false")
    data: str = option("", "adapt: data directory whose sets say whose recordings are whose; none scores its speaker")
    kind: str = option("snorm", "normalise: which normalisation", choices=variants.NORMS)
    train_on: str = option("dev", f"calibrate: {TRAIN_ON}", choices=WAYS)
    force: bool = option(False, "make again what is out of date")


# ---------------------------------------------------------------- a back end


def training_speakers(options: Options, utt2spk: str) -> dict[str, str]:
    """{utterance: speaker} to train on: all of UTT2SPK, or those that are no copies."""
    utt2speaker = read_table(utt2spk)
    if options.train_copies:
        return utt2speaker
    if not options.utt2clean:
        cure = "Give the table of copies"
        raise InputError("command line", "--train-copies=false alone", "--utt2clean with it", cure)
    original = read_table(options.utt2clean)
    return {utt: speaker for utt, speaker in utt2speaker.items() if original[utt] == utt}


@command(Options, "TRAIN_EMBEDDING_SCP", "UTT2SPK", "BACKEND_DIR", action="train")
def train(options: Options, scp: str, utt2spk: str, backend_dir: str) -> None:
    """Trains mean, whitening (or LDA) and PLDA on the embeddings of the utterances in UTT2SPK.

    With --scoring=auto the back end that held-out training speakers favour; scoring.conf says how it scores.
    BACKEND_DIR/mean.vec, transform.mat and plda are Kaldi files: its programs read them, and score list reads Kaldi's.

    Example, after ./run.sh:
        pyasp score train exp/toy/ivector/train/embedding.scp data/toy/train_sel/utt2spk my_backend
    """
    train_options, directory = subset(options, BackendTrainOptions), Path(backend_dir)
    auto = options.scoring == "auto"
    copies = [options.utt2clean] if options.utt2clean and (auto or not options.train_copies) else []
    settings = asdict(train_options) | ({"scoring": "auto"} if auto else {})
    made = describe("train_backend", settings, [scp, utt2spk, *copies])
    if all([is_current(directory / name, made, options.force) for name in files.FILES]):
        return
    utt2speaker, reader = training_speakers(options, utt2spk), ScpReader(scp)
    utts = with_embedding(c_sorted(utt2speaker), reader, options.max_missing, scp)
    _, labels = np.unique([utt2speaker[utt] for utt in utts], return_inverse=True)
    model.check_speakers(labels, utt2spk)
    vectors = load_embeddings(reader, utts, scp)
    with optional(directory.parent, options.force):  # the lda variant
        if auto:
            original = read_table(options.utt2clean) if options.utt2clean else {}
            clean = np.array([original.get(utt, utt) == utt for utt in utts])
            (train_options, scoring), why = choice.choose(vectors, labels, clean, train_options)
            print(f"{backend_dir}: {why}", file=sys.stderr)
            files.write_scoring(directory, scoring)
            if not train_options.train_copies:
                vectors, labels = vectors[clean], np.unique(labels[clean], return_inverse=True)[1]
        trained = model.train(vectors, labels, train_options)
        write_conf(directory / "options.conf", train_options)
        beside = [path for name in ("options.conf", files.SCORING) if (path := directory / name).is_file()]
        files.write_back_end(directory, trained, with_beside(made, *beside))


@command(Options, "BACKEND_DIR", "EMBEDDING_SCP", "OUT_BACKEND_DIR", action="adapt")
def adapt(options: Options, backend_dir: str, scp: str, out: str) -> None:
    """Writes OUT_BACKEND_DIR: the mean of the vectors in EMBEDDING_SCP, and PLDA adapted to them
    (ivector-adapt-plda).

    With --data also OUT_BACKEND_DIR/apart: back ends adapted to parts of their speakers. A trial of speakers among them
    is scored by one that was adapted to neither.

    Example, after ./run.sh:
        pyasp score adapt exp/toy/ivector/backend exp/toy/ivector/test/embedding.scp my_adapted
    """
    with optional(Path(out).parent, options.force):
        if not Path(scp).is_file():
            cure = f"{HOLD_OUT}, or choose another --adapt-to"
            raise CannotBeMade(scp, "no such file", "unlabelled vectors to adapt to", cure)
        names, settings = files.FILES, {name: getattr(options, name) for name in ("adapt_within", "adapt_between")}
        tables = [path for each in SETS if options.data and (path := Path(options.data) / each / "utt2spk").is_file()]
        inputs: list[str | Path] = [*(Path(backend_dir) / name for name in names), scp, *tables]
        made = describe("adapt_backend", settings, inputs, options.variant_seed if tables else None)
        if all([is_current(Path(out) / name, made, options.force) for name in names]):
            return
        reader = ScpReader(scp)
        vectors = load_embeddings(reader, reader, scp)
        back_end, shares = read_back_end(backend_dir), (options.adapt_within, options.adapt_between)
        if tables:
            sets = {path.parent.name: read_table(path) for path in tables}
            own = [sets[Path(scp).parent.name][utt] for utt in reader]
            people = c_sorted(set(own))
            part = dict(zip(people, draw_folds(len(people), options.variant_seed).tolist()))
            folds = {(each, utt): part[spk] for each in sets for utt, spk in sets[each].items() if spk in part}
            apart = adapt_apart(back_end, vectors, np.array([part[speaker] for speaker in own]), *shares)
            files.write_apart(out, folds, apart)
        files.write_back_end(out, model.adapt(back_end, vectors, *shares), made)
        print(f"{out}: adapted to {len(vectors)} unlabelled vectors")


# ---------------------------------------------------------------- scores of a list


def prepare(
    trials: TrialList, scps: tuple[str, str], model2utts: dict, back_end: BackEnd, options: ScoreOptions
) -> tuple[Scorer, np.ndarray]:
    """The scorer of a list and the mask of its trials without embeddings. scps: enrolment, test."""
    enroll, members, missing_models = load_models(trials, model2utts, ScpReader(scps[0]), scps[0])
    tests, missing_tests = load_tests(trials, ScpReader(scps[1]), scps[1])
    missing = check_missing(trials, missing_models, missing_tests, options.max_missing_trials, scps[0])
    num_utts = np.array([len(rows) for rows in members])
    models = model.enroll(back_end, enroll, members, options.average)
    scorer = SCORERS[options.scoring](models, num_utts, back_end.process(tests), back_end.plda, options)
    return scorer, missing


@command(
    Options,
    *("ENROLL_EMBEDDING_SCP", "MODEL2UTTS", "TEST_EMBEDDING_SCP", "BACKEND_DIR", "TRIALS", "SCORES"),
    action="list",
)
def one_list(
    options: Options, enroll: str, model2utts: str, test: str, backend_dir: str, trials: str, scores: str
) -> None:
    """Writes `<model> <test> <score>` for every line of TRIALS, in its order; SCORES.f32.npy has the scores alone.

    The back end's three files may be ours or Kaldi's. A PLDA score is a natural-log likelihood ratio.

    Example, after ./run.sh:
        X=exp/toy/ivector D=data/toy E=embedding.scp
        pyasp score list $X/enroll/$E $D/enroll/model2utts $X/test/$E $X/backend $D/trials/veri_test my_scores
    """
    how, inputs = resolved(options, backend_dir), [Path(backend_dir) / name for name in files.FILES]
    inputs += [path for path in (Path(backend_dir) / APART,) if path.is_file()]
    made = describe("score", how, [enroll, model2utts, test, *inputs, trials])
    if is_current(scores, made, options.force):
        return
    models = read_model2utts(model2utts)
    listed = read_trials(trials, models=list(models))
    result, lacking = np.empty(len(listed), np.float32), np.zeros(len(listed), bool)
    first = [models[name][0] for name in listed.models]
    places = (Path(model2utts).parent.name, first), (Path(test).parent.name, listed.tests)
    for mask, back_end in by_trial(backend_dir, listed, *places):  # one, but for a back end adapted to their speakers
        arrays = {name: getattr(listed, name)[mask] for name in ("model", "test", "target")} if not mask.all() else {}
        part = replace(listed, **arrays)
        scorer, lacking[mask] = prepare(part, (enroll, test), models, back_end, how)
        result[mask] = score_list(part, scorer, lacking[mask])
    if lacking.any() and not lacking.all():
        result[lacking] = result[~lacking].min()
    write_scores(scores, listed, result, made)
    used = len(np.unique(listed.model))
    print(f"{scores}: {len(listed)} trials of {used} models and {len(listed.tests)} test recordings", file=sys.stderr)


@command(Options, "DATA", "EMBEDDINGS_DIR", "BACKEND_DIR", "SYSTEM_DIR", "OUT_SYSTEM_DIR", action="normalise")
def normalise_scores(options: Options, data: str, vectors: str, backend_dir: str, system: str, out: str) -> None:
    """Writes OUT_SYSTEM_DIR/scores/<list> from SYSTEM_DIR/scores/<list>, the dev trials' scores too.

    EMBEDDINGS_DIR/{train,enroll,test,dev}/embedding.scp are the vectors that BACKEND_DIR and SYSTEM_DIR's scores are
    of.

    Example, after ./run.sh:
        pyasp score normalise --kind snorm data/toy exp/toy/ivector exp/toy/ivector/backend exp/toy/ivector my_snorm
    """
    normalise(options, options.kind, data, vectors, backend_dir, system, out, options.force)


@command(Options, "DATA", "OUT_SYSTEM_DIR", "SYSTEM_DIR...", action="calibrate")
def calibrate_scores(options: Options, data: str, out: str, systems: list[str]) -> None:
    """Writes OUT_SYSTEM_DIR/scores/<list>, natural-log likelihood ratios, and calibration.json, which has the weights.

    Several SYSTEM_DIRs are fused: one logistic regression over all their scores. Trained on `halves`, a column `halves`
    beside the scores says which trials are `disjoint`: neither speaker was in the training; trials across the halves
    (`mixed`) get the mean of both models.

    Example, after ./run.sh:
        pyasp score calibrate --train-on halves data/toy my_calibrated exp/toy/ivector
    """
    calibrate(options, options.train_on, data, out, systems, options.force)


# ---------------------------------------------------------------- whole systems


class Chains:
    """A system and its variants, each made from the one before it in its chain: EXP, EXP+snorm, EXP+snorm+cal, ..."""

    def __init__(self, options: Options, data: str, exp: str, backend: str):
        """backend: a back end that is given, "" to train one."""
        self.options, self.data, self.exp = options, Path(data), exp
        self.made: dict[str, tuple[str, Options]] = {}  # {chain: its back end and how it scores}
        for name in ("enroll", "test") if backend else ("enroll", "test", "train"):
            if not Path(self.vectors(name)).is_file():
                raise InputError(self.vectors(name), "no such file", "a vector of each recording", rerun("embeddings"))
        if not backend:
            self.train(options, f"{exp}/backend")
        self.score("", backend or f"{exp}/backend", options)

    def vectors(self, name: str) -> str:
        """Where the embeddings of a set lie."""
        return f"{self.exp}/{name}/embedding.scp"

    def train(self, options: Options, out: str) -> None:
        """A back end from the training vectors."""
        table = self.data / "train_sel"
        copies = replace(options, utt2clean=str(table / "utt2clean"))
        train.function(copies, self.vectors("train"), str(table / "utt2spk"), out)

    def score(self, chain: str, backend: str, options: Options) -> None:
        """Every list with a back end; the dev trials where there are some. A chain that was left out is not."""
        out, dev = self.directory(chain), dev_list(self.data)
        if ALL in read_left_out(out):
            return
        for name in trial_lists(self.data / "trials"):
            self.score_list(options, ("enroll", "test"), backend, self.data / "trials" / name, f"{out}/scores/{name}")
        if dev.trials.is_file() and dev.trials.stat().st_size and Path(self.vectors("dev")).is_file():
            self.score_list(options, ("dev", "dev"), backend, dev.trials, f"{out}/{dev.scores}")
        self.made[chain] = backend, options

    def score_list(self, options: Options, sets: tuple[str, str], backend: str, trials: Path, scores: str) -> None:
        """One list; sets: names of the data directories of its models and tests."""
        enroll, test = map(self.vectors, sets)
        one_list.function(options, enroll, str(self.data / sets[0] / "model2utts"), test, backend, str(trials), scores)

    def directory(self, chain: str) -> str:
        """Of the system that a chain makes."""
        return f"{self.exp}+{chain}" if chain else self.exp

    def make(self, chain: str) -> None:
        """The last step of a chain; nothing where what it builds on could not be made."""
        source, _, step = chain.rpartition("+")
        out, before = self.directory(chain), self.directory(source)
        if source not in self.made:
            print(f"{Path(out).name} is left out: so is {Path(before).name}", file=sys.stderr)
            return
        backend, options = self.made[source]
        if step == "lda":
            self.train(replace(self.options, lda_dim=options.variant_lda_dim), f"{out}/backend")
            self.score(chain, f"{out}/backend", options)
        elif step == "adapt":
            scp, own = self.vectors(options.adapt_to), replace(options, data=str(self.data))
            adapt.function(own, backend, scp, f"{out}/backend")
            self.score(chain, f"{out}/backend", options)
        elif step == "cosine":
            self.score(chain, backend, replace(options, scoring="cosine"))
        else:
            if step in variants.NORMS:
                normalise(options, step, str(self.data), self.exp, backend, before, out, options.force)
            else:
                calibrate(options, variants.TRAINED_ON[step], str(self.data), out, [before], options.force)
            if ALL not in read_left_out(out):
                self.made[chain] = backend, options


@command(Options, "DATA", "SYSTEM_DIR", action="system")
def system(options: Options, data: str, exp: str) -> None:
    """Everything that a system's vectors SYSTEM_DIR/{train,enroll,test,dev}/embedding.scp give: SYSTEM_DIR/backend,
    SYSTEM_DIR/scores/<list>, dev/scores for the trials among dev speakers, then the variants of backend.conf, each in
    SYSTEM_DIR+<chain>.

    What is up to date is left as it is. A variant that cannot be made is left out, and its left_out.tsv says why.

    Example, after ./run.sh:
        pyasp score system --config conf/toy/backend.conf data/toy exp/toy/ivector
    """
    chains = variants.check(options)
    systems = Chains(options, data, exp.rstrip("/"), options.backend)
    if options.backend:  # its training vectors, and so the cohort, are not here
        print(f"{Path(exp).name}: the back end is given, no variants", file=sys.stderr)
        return
    for chain in chains:
        systems.make(chain)


def _outdated(system_dir: Path) -> str:
    """A file behind a system's scores that is another one since; "" where they are up to date."""
    found = map(changed_behind, sorted((system_dir / "scores").iterdir()))
    return next((changed[1] for changed in found if changed), "")


@command(Options, "DATA", "EXP", "SYSTEM...", action="fusions")
def fusions(options: Options, data: str, exp: str, systems: list[str]) -> None:
    """The fusions of backend.conf whose members have scores: EXP/fusion:<a>+<b>/scores/<list>, calibrated.

    One with a member that is not among the systems, and whose scores are out of date, is left out with the reason.

    Example, after ./run.sh:
        pyasp score fusions --config conf/toy/backend.conf data/toy exp/toy ivector attentive_statistics
    """
    known = [*variants.names(options, systems), *with_scores(exp)]
    if not options.fuse:
        print("no --fuse in backend.conf: no fusion is made")
    for text in options.fuse:
        if unscored := [each for each in text.split("+") if each not in known]:
            print(f"fusion:{text} is not made: {' and '.join(unscored)} has no scores", file=sys.stderr)
    for name, members in variants.fusions(options, known).items():
        others = [each for each in members if each.split("+")[0] not in systems]
        if old := {each: changed for each in others if (changed := _outdated(Path(exp, each)))}:
            member, changed = next(iter(old.items()))
            why = f"{member} is not among the systems of this run, and {changed} is another since it was scored"
            note_left_out(f"{exp}/{name}", {ALL: why}, options.force)
            continue
        calibrate(options, "auto", data, f"{exp}/{name}", [f"{exp}/{member}" for member in members], options.force)


steps = {"train": train, "adapt": adapt, "list": one_list, "normalise": normalise_scores, "calibrate": calibrate_scores}
main = one_of(system=system, fusions=fusions, **steps)

if __name__ == "__main__":
    raise SystemExit(main())

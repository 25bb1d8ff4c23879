"""Variants: chains and fusions by name, dev trials, adaptation, and the tools that make each from a tiny experiment."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pyasp.backend import model as backend
from pyasp.backend.files import read_back_end
from pyasp.backend.model import adapt
from pyasp.backend.options import BackendOptions
from pyasp.backend.scoring import SCORERS
from pyasp.backend.variants import VariantOptions, check, expand, explained, fusions, impossible, names
from pyasp.bin import check as check_tool
from pyasp.bin import score, select
from pyasp.core.errors import CannotBeMade, InputError
from pyasp.data import dev_trials
from pyasp.data.datadir import DataDir
from pyasp.data.dev_trials import DevOptions, Material
from pyasp.data.scores import read_left_out, read_scored
from pyasp.evaluation import metrics
from pyasp.kaldi import ArkWriter, ScpReader

DIM, TRAIN, EVAL, EACH = 8, 24, 12, 4


# ---------------------------------------------------------------- names


def test_chains_come_after_what_they_build_on():
    assert expand(["snorm+cal", "cal", "lda+asnorm+calhalf"]) == [
        "snorm",
        "snorm+cal",
        "cal",
        "lda",
        "lda+asnorm",
        "lda+asnorm+calhalf",
    ]


@pytest.mark.parametrize("chain", ["cal+snorm", "snorm+tnorm", "cal+calhalf", "warp", "", "snorm+lda", "cosine+cosine"])
def test_chains_that_make_no_sense(chain):
    with pytest.raises(InputError, match="--variant"):
        expand([chain])


def test_fusions_of_what_is_there():
    options = VariantOptions(fuse=("a+b", "a+c"))
    assert fusions(options, ["a", "b"]) == {"fusion:a+b": ["a", "b"]}
    with pytest.raises(InputError, match="two or more"):
        fusions(VariantOptions(fuse=("a",)), ["a"])


def test_names_are_explained():
    assert explained("ivector") == "" and "i and a" in explained("fusion:i+a")
    assert explained("x+snorm+cal").startswith("mean of znorm and tnorm; calibrated on the dev speakers")


def test_systems_are_followed_by_their_variants():
    options = VariantOptions(variant=("snorm+cal",), fuse=("x+y", "x+z"))
    assert names(options, ["x", "y"]) == ["x", "x+snorm", "x+snorm+cal", "y", "y+snorm", "y+snorm+cal"]
    assert fusions(options, names(options, ["x", "y"])) == {"fusion:x+y": ["x", "y"]}


def test_settings_that_no_data_could_follow_are_told_before_any_work():
    for options, message in (
        (VariantOptions(variant=("warp",)), "--variant"),
        (VariantOptions(variant=("lda",)), "--variant-lda-dim"),
        (VariantOptions(quality=("colour",)), "colour"),
        (VariantOptions(fuse=("a",)), "two or more"),
        (VariantOptions(calibration_prior=1.0), "--calibration-prior"),
    ):
        with pytest.raises(InputError, match=message):
            check(options)


def test_what_needs_dev_speakers_is_known_from_the_settings():
    options = VariantOptions(variant=("snorm+cal", "calhalf", "adapt"))
    assert impossible(options, 3) == {}
    assert impossible(options, 0) == {
        "snorm+cal": "cal (no --calibration-list) needs dev speakers, and select.conf holds none out (--dev-fraction)"
    }
    assert impossible(replace(options, calibration_list="trials"), 0) == {}
    assert list(impossible(replace(options, cohort="dev", adapt_to="dev"), 0)) == ["snorm", "snorm+cal", "adapt"]


# ---------------------------------------------------------------- dev trials


def material(sessions=2, speakers=6, each=4):
    utts = {f"s{k}-{i}": f"s{k}" for k in range(speakers) for i in range(each)}
    return Material(
        utts,
        {utt: "a" if utt[-1] < "2" else "b" for utt in utts} if sessions == 2 else {},
        {utt: f"word{utt[-1]}" for utt in utts},
    )


def test_dev_trials_cross_sessions_and_never_meet_themselves():
    data = material()
    models, trials = dev_trials.draw(data, DevOptions(dev_enroll_utts=("1", "2")), 1)
    assert {len(utts) for utts in models.values()} == {1, 2} and len(set(trials)) == len(trials)
    for model, test, target in trials:
        utts = models[model]
        assert test not in utts and target == (data.speaker[utts[0]] == data.speaker[test])
        assert not target or data.session[test] != data.session[utts[0]]
        assert all(data.differ[utt] != data.differ[test] for utt in utts)
    assert (
        dev_trials.draw(data, DevOptions(), 1)[1]
        == dev_trials.draw(data, DevOptions(), 1)[1]
        != dev_trials.draw(data, DevOptions(), 2)[1]
    )


def test_dev_trials_within_one_session_where_there_is_no_other():
    _, trials = dev_trials.draw(material(sessions=1), DevOptions(dev_targets=10, dev_nontargets=20), 1)
    assert sum(target for *_, target in trials) == 10 and len(trials) == 30


@pytest.mark.parametrize(
    "options, message",
    [(DevOptions(dev_enroll_utts=("0",)), "whole number"), (DevOptions(dev_enroll_utts=("9",)), "0 target")],
)
def test_dev_trials_refuse(options, message):
    with pytest.raises(InputError, match=message):
        dev_trials.draw(material(), options, 1)


def test_select_dev(tmp_path):
    train, speaker = DataDir(tmp_path / "train"), {f"s{k}-{i}": f"s{k}" for k in range(5) for i in range(4)}
    train.path.mkdir()
    for name in ("feats.scp", "vad.scp"):
        train.write(name, {utt: f"x.ark:{number}" for number, utt in enumerate(speaker)})
    train.write("utt2num_voiced", {utt: "5" if utt == "s1-0" else "50" for utt in speaker})
    train.write("utt2dur", {utt: "1.0" for utt in speaker})
    train.write_speakers(speaker)
    (tmp_path / "dev_speakers").write_text("s1\ns3\ns4\n")
    command = ["dev", *(str(tmp_path / name) for name in ("train", "dev_speakers", "dev"))]
    assert select.main(command) == 0
    dev = DataDir(tmp_path / "dev")
    assert set(dev.utt2spk.values()) == {"s1", "s3", "s4"} and "s1-0" not in dev.utt2spk
    assert list(dev.read("feats.scp")) == list(dev.utt2spk) == list(dev.read("utt2dur"))
    assert {line.split()[0] for line in (dev / "trials").read_text().splitlines()} == set(dev.model2utts)
    (tmp_path / "dev_speakers").write_text("")
    assert select.main(command) == 1 and select.main([*command, "--force=true"]) == 0
    assert not (tmp_path / "dev").exists()


# ---------------------------------------------------------------- adaptation


def test_adaptation_moves_to_the_new_domain():
    generator = np.random.default_rng(1)
    vectors, labels = np.repeat(generator.normal(size=(60, DIM)), 6, axis=0), np.repeat(np.arange(60), 6)
    back_end = backend.train(
        vectors + 0.5 * generator.normal(size=vectors.shape), labels, BackendOptions(), log=lambda line: None
    )
    other = generator.normal(size=(300, DIM)) * np.linspace(1, 4, DIM) + 5
    adapted = adapt(back_end, other, 0.75, 0.25)
    assert np.allclose(adapted.mean, other.mean(axis=0)) and np.array_equal(adapted.transform, back_end.transform)
    before, after = (sum(each.plda.covariances()) for each in (back_end, adapted))
    assert np.linalg.eigvalsh(after - before).min() > -1e-9 and np.trace(after) > np.trace(before)


def adapted_eers(seed, dim=30, speakers=10, each=6):
    """EERs of trials among speakers of a new domain by a back end adapted to themselves, to as many others, and to
    those that a trial is not of."""
    generator = np.random.default_rng(seed)

    def domain(count, scale=1.0, shift=0.0):
        means = np.repeat(generator.normal(size=(count, dim)), each, axis=0)
        return (means + 0.7 * generator.normal(size=means.shape)) * scale + shift

    train, labels = domain(150), np.repeat(np.arange(150), each)
    back_end = backend.train(train, labels, BackendOptions(), log=lambda line: None)
    scale, shift = generator.uniform(0.7, 2, dim), generator.normal(size=dim)
    vectors, strangers = (domain(speakers, scale, shift) for _ in range(2))
    speaker, pairs = np.arange(len(vectors)) // each, np.nonzero(~np.eye(len(vectors), dtype=bool))
    part = backend.draw_folds(speakers, 1)[speaker]
    both, apart = np.sort([part[pairs[0]], part[pairs[1]]], axis=0), np.empty(len(pairs[0]))

    def scored(adapted):
        ready = adapted.process(vectors)
        ones = np.ones(len(ready), int)
        return SCORERS["plda"](ready, ones, ready, adapted.plda, BackendOptions()).pairs(*pairs)

    for pair, adapted in backend.adapt_apart(back_end, vectors, part, 0.75, 0.25).items():
        mine = (both.T == pair).all(axis=1)
        apart[mine] = scored(adapted)[mine]
    found = [scored(adapt(back_end, material, 0.75, 0.25)) for material in (vectors, strangers)]
    target = speaker[pairs[0]] == speaker[pairs[1]]
    return [metrics.eer_kaldi(*metrics.split(values, target))[0] for values in (*found, apart)]


def test_a_back_end_adapted_to_a_trials_own_speakers_cannot_tell_them_apart():
    """19 % here, where others give 5 %: the trial's two left out, it is 5 % again."""
    own, others, apart = np.mean([adapted_eers(seed) for seed in range(3)], axis=0)
    assert own > 0.12 and apart < 0.5 * own and abs(apart - others) < 0.2 * (own - others)
    with pytest.raises(CannotBeMade, match="4 speakers; expected at least 5"):
        backend.draw_folds(4, 1)


# ---------------------------------------------------------------- the tools


def embeddings(path, speakers, seed, shift=0.0):
    """Vectors of EACH recordings of some speakers, written as a table; {utterance: speaker}."""
    generator, utt2spk = np.random.default_rng(seed), {}
    path.mkdir(parents=True)
    with ArkWriter(path / "embedding.ark", path / "embedding.scp") as writer:
        for k in range(speakers):
            mean = generator.normal(size=DIM)
            for i in range(EACH):
                utt2spk[f"{path.name}{k:02d}-{i}"] = f"{path.name}{k:02d}"
                writer.write(
                    f"{path.name}{k:02d}-{i}", (mean + 0.6 * generator.normal(size=DIM) + shift).astype(np.float32)
                )
    return utt2spk


def write_data(data, known):
    """Data directories of sets {name: {utterance: speaker}}, each recording a model, and trials of each with each."""
    for name, utt2spk in known.items():
        for place in {"train": ["train_sel"], "test": ["test", "enroll"], "dev": ["dev"]}[name]:
            directory = DataDir(data / place)
            directory.path.mkdir(parents=True, exist_ok=True)
            directory.write_speakers(utt2spk)
            directory.write("utt2dur", {utt: str(2 + int(utt[-1])) for utt in utt2spk})
            directory.write("utt2clean", {utt: utt for utt in utt2spk})
            directory.write("model2utts", {utt: utt for utt in utt2spk})
    (data / "trials").mkdir(exist_ok=True)
    for place, path in (("test", data / "trials/trials"), ("dev", data / "dev/trials")):
        utt2spk = known[place]
        pairs = [(a, b, "target" if utt2spk[a] == utt2spk[b] else "nontarget") for a in utt2spk for b in utt2spk]
        path.write_text("".join(f"{a} {b} {label}\n" for a, b, label in pairs if a != b))


@pytest.fixture
def root(tmp_path):
    """Two systems with back ends, scores of a list `trials` and of dev trials."""
    for number, system in enumerate(("one", "two")):
        exp, sizes = tmp_path / "exp" / system, {"train": TRAIN, "test": EVAL, "dev": EVAL}
        sets = enumerate(sizes.items(), 10 * number)
        write_data(tmp_path / "data", {name: embeddings(exp / name, size, seed) for seed, (name, size) in sets})
        (exp / "enroll").symlink_to("test")
        own = f"exp/{system}"
        assert run("train", tmp_path, f"{own}/train/embedding.scp", "data/train_sel/utt2spk", f"{own}/backend") == 0
        for enroll, test, listed, out in (
            ("enroll", "test", "trials/trials", "scores/trials"),
            ("dev", "dev", "dev/trials", "dev/scores"),
        ):
            vectors = (f"{own}/{enroll}/embedding.scp", f"data/{enroll}/model2utts", f"{own}/{test}/embedding.scp")
            assert run("list", tmp_path, *vectors, f"{own}/backend", f"data/{listed}", f"{own}/{out}") == 0
    return tmp_path


NORMALISED = ("data", "exp/one", "exp/one/backend", "exp/one", "exp/one+snorm")


def run(action, root, *words):
    return score.main([action, *(word if word.startswith("--") else str(root / word) for word in words)])


def scores(root, system, place="scores/trials", listed="data/trials/trials"):
    return read_scored(root / listed, root / "exp" / system / place)[0]


def test_calibration_on_dev_speakers_and_on_halves(root, capsys):
    assert run("calibrate", root, "data", "exp/one+cal", "exp/one") == 0
    model = json.loads((root / "exp/one+cal/calibration.json").read_text())
    assert model["trained_on"] == "dev" and list(model["lists"]["trials"][0]["weights"]) == ["one"]
    weights = model["lists"]["trials"][0]
    assert np.allclose(
        scores(root, "one+cal"), scores(root, "one") * weights["weights"]["one"] + weights["offset"], atol=1e-4
    )
    assert run("calibrate", root, "--train-on=halves", "data", "exp/one+calhalf", "exp/one") == 0
    rows = (root / "exp/one+calhalf/scores/trials.tsv").read_text().splitlines()
    assert rows[0] == "halves" and set(rows[1:]) == {"disjoint", "mixed"} and len(rows) == len(scores(root, "one")) + 1
    assert len(json.loads((root / "exp/one+calhalf/calibration.json").read_text())["lists"]["trials"]) == 2
    before = (root / "exp/one+cal/scores/trials").stat().st_mtime_ns
    assert run("calibrate", root, "data", "exp/one+cal", "exp/one") == 0 and "up to date" in capsys.readouterr().err
    assert (root / "exp/one+cal/scores/trials").stat().st_mtime_ns == before
    assert run("calibrate", root, "--calibration-prior=0.1", "data", "exp/one+cal", "exp/one") == 1
    assert "--calibration-prior: 0.5 -> 0.1" in capsys.readouterr().err


def test_calibration_with_durations_and_on_a_named_list(root):
    assert (
        run(
            "calibrate",
            root,
            "--quality=test_seconds",
            "--quality=enroll_utts",
            "--calibration-list=trials",
            "data",
            "exp/one+cal",
            "exp/one",
        )
        == 0
    )
    model = json.loads((root / "exp/one+cal/calibration.json").read_text())
    assert model["trained_on"] == "trials"
    assert list(model["lists"]["trials"][0]["weights"]) == ["one", "log test_seconds", "log enroll_utts"]


def test_calibration_refuses(root, capsys):
    assert run("calibrate", root, "--quality=colour", "data", "exp/one+cal", "exp/one") == 1
    assert "colour" in capsys.readouterr().err


def test_a_variant_that_cannot_be_made_is_left_out_with_its_reason(root, capsys):
    (root / "data/dev/trials").unlink()
    assert run("calibrate", root, "data", "exp/one+cal", "exp/one") == 0
    told = capsys.readouterr().err
    assert "warning: one+cal is left out: " in told and "no scores of trials among dev speakers" in told
    assert "--dev-fraction" in read_left_out(root / "exp/one+cal")["*"]
    assert run("normalise", root, "--cohort-size=1", *NORMALISED) == 0
    assert "found 1 recordings; expected at least 2" in read_left_out(root / "exp/one+snorm")["*"]
    assert run("normalise", root, *NORMALISED) == 0 and read_left_out(root / "exp/one+snorm") == {}
    assert run("normalise", root, "--cohort-size=1", "--force=true", *NORMALISED) == 0
    assert not (root / "exp/one+snorm/scores").exists()  # no scores of former settings under that name
    words = ("exp/one/train/embedding.scp", "data/train_sel/utt2spk", "exp/one+lda/backend")
    assert run("train", root, "--lda-dim=99", *words) == 0
    assert "expected at most" in read_left_out(root / "exp/one+lda")["*"]
    assert run("train", root, "--lda-dim=99", *words[:2], "exp/three/backend") == 1  # the system itself
    assert run("adapt", root, "exp/one/backend", "exp/one/other/embedding.scp", "exp/one+adapt/backend") == 0
    assert "unlabelled vectors" in read_left_out(root / "exp/one+adapt")["*"]


def test_scores_that_cannot_be_made_again_are_not_left_to_be_reported(root, capsys):
    assert run("calibrate", root, "data", "exp/one+cal", "exp/one") == 0
    (root / "data/dev/trials").unlink()
    assert run("calibrate", root, "data", "exp/one+cal", "exp/one") == 1
    assert "found scores of an earlier run" in capsys.readouterr().err
    assert run("calibrate", root, "--force=true", "data", "exp/one+cal", "exp/one") == 0
    assert not (root / "exp/one+cal/scores").exists()


def test_too_few_speakers_to_train_on_are_said_before_any_work(tmp_path, capsys):
    """As three speakers leave, two of whom are in the trials."""
    for name, text in (("s.conf", "--min-utts=2\n--dev-fraction=0.3\n"), ("b.conf", "--scoring=plda\n")):
        (tmp_path / name).write_text(text)
    train = DataDir(tmp_path / "data/train")
    asked = ["variants", f"--select={tmp_path}/s.conf", str(tmp_path / "b.conf"), str(tmp_path / "data")]
    train.write_speakers({"a-1": "a", "a-2": "a", "b-1": "b"})
    assert check_tool.main([*asked, "--systems=ivector"]) == 1
    told = "found 1 speakers with 2 recordings or more (--min-utts) to train on; 1 of 2 are held out (--dev-fraction)"
    ways = (
        f"Bring recordings of more speakers, who are in no trial, or lower --dev-fraction ({tmp_path}/s.conf): networks"
    )
    cure = f"{ways} and back ends need two. Then run stage prepare again (./run.sh ... --stage prepare --force)"
    assert f"{told}; expected at least 2. {cure}" in capsys.readouterr().err
    assert check_tool.main([*asked, "--systems=ivector", "--kaldi-backend=given"]) == 0
    assert check_tool.main([*asked, "--systems=ivector statistics", "--kaldi-backend=given"]) == 1
    train.write_speakers({f"{speaker}-{take}": speaker for speaker in "abc" for take in range(2)})
    assert check_tool.main([*asked, "--systems=ivector statistics"]) == 0
    (tmp_path / "b.conf").write_text("--lda-dim=1\n")
    assert check_tool.main([*asked, "--systems=ivector"]) == 0  # one of three speakers is held out
    (tmp_path / "b.conf").write_text("--lda-dim=2\n")
    assert check_tool.main([*asked, "--systems=ivector", "--kaldi-backend=given"]) == 0
    assert check_tool.main([*asked, "--systems=ivector"]) == 1
    assert "b.conf: --lda-dim: found 2; expected at most 1, one less than the speakers" in capsys.readouterr().err
    (tmp_path / "augment.conf").write_text("--speeds=0.9,1.1\n")  # two speakers are six
    (tmp_path / "b.conf").write_text("--lda-dim=5\n")
    assert check_tool.main([*asked, "--systems=ivector"]) == 0


def test_halves_of_three_speakers_leave_that_list_out_alone(root, capsys):
    lines = (root / "data/trials/trials").read_text().splitlines()
    few = [line for line in lines if all(word[:6] in ("test00", "test01", "test02") for word in line.split()[:2])]
    (root / "data/trials/few").write_text("\n".join(few) + "\n")
    command = ["exp/one/enroll/embedding.scp", "data/enroll/model2utts", "exp/one/test/embedding.scp"]
    assert run("list", root, *command, "exp/one/backend", "data/trials/few", "exp/one/scores/few") == 0
    assert run("calibrate", root, "--train-on=halves", "data", "exp/one+calhalf", "exp/one") == 0
    assert "one+calhalf, few is left out" in capsys.readouterr().err
    (root / "b.conf").write_text("--variant=cal\n--variant=calhalf\n")
    (root / "s.conf").write_text("--dev-fraction=0.01\n--min-utts=4\n")
    (root / "data/train").symlink_to("train_sel")
    assert check_tool.main(["variants", f"--select={root}/s.conf", str(root / "b.conf"), str(root / "data")]) == 0
    foreseen = capsys.readouterr().out.splitlines()  # before any training
    assert [line.split(":")[1] for line in foreseen] == [" +cal", " +calhalf of few"]
    (row,) = read_left_out(root / "exp/one+calhalf").items()
    assert row[0] == "few" and " trials within half " in row[1]
    assert (root / "exp/one+calhalf/scores/trials").is_file()


def test_few_trials_are_counted_and_said(root, capsys):
    kept, counts = [], {"target": 3, "nontarget": 40}
    for line in (root / "data/dev/trials").read_text().splitlines():
        counts[line.split()[2]] -= 1
        kept += [line] if counts[line.split()[2]] >= 0 else []
    (root / "data/dev/trials").write_text("\n".join(kept) + "\n")
    command = ["exp/one/dev/embedding.scp", "data/dev/model2utts", "exp/one/dev/embedding.scp", "exp/one/backend"]
    assert run("list", root, "--force=true", *command, "data/dev/trials", "exp/one/dev/scores") == 0
    assert run("calibrate", root, "data", "exp/one+cal", "exp/one") == 0
    (model,) = json.loads((root / "exp/one+cal/calibration.json").read_text())["lists"]["trials"]
    assert (model["n_target"], model["n_nontarget"], model["speakers"]) == (3, 40, 11)
    assert "warning: one+cal, trials: calibrated on 3 target trials, fewer than 30" in capsys.readouterr().err


def test_fusion(root):
    assert run("calibrate", root, "--train-on=auto", "data", "exp/fusion:one+two", "exp/one", "exp/two") == 0
    model = json.loads((root / "exp/fusion:one+two/calibration.json").read_text())
    weights = model["lists"]["trials"][0]
    assert model["trained_on"] == "dev" and list(weights["weights"]) == ["one", "two"]
    expected = sum(scores(root, name) * weight for name, weight in weights["weights"].items()) + weights["offset"]
    assert np.allclose(scores(root, "fusion:one+two"), expected, atol=1e-4)
    (root / "data/dev/trials").unlink()
    assert (
        run("calibrate", root, "--train-on=auto", "--force=true", "data", "exp/fusion:one+two", "exp/one", "exp/two")
        == 0
    )
    assert json.loads((root / "exp/fusion:one+two/calibration.json").read_text())["trained_on"] == "halves"


def test_normalisation_of_every_list(root, capsys):
    words = ("data", "exp/one", "exp/one/backend", "exp/one", "exp/one+snorm")
    assert run("normalise", root, *words) == 0
    z, t = (f"exp/one+{kind}" for kind in ("znorm", "tnorm"))
    for kind, out in (("znorm", z), ("tnorm", t)):
        assert run("normalise", root, f"--kind={kind}", *words[:4], out) == 0
    assert np.allclose(
        scores(root, "one+snorm"), (scores(root, "one+znorm") + scores(root, "one+tnorm")) / 2, atol=1e-5
    )
    assert (root / "exp/one+snorm/dev/scores").is_file()  # so that calibration can follow
    assert run("calibrate", root, "data", "exp/one+snorm+cal", "exp/one+snorm") == 0
    assert run("normalise", root, "--cohort=dev", "--kind=asnorm", "--cohort-top=10", *words[:4], "exp/one+asnorm") == 0
    assert run("normalise", root, "--cohort=dev", *words) == 1  # another cohort: out of date
    for top, told in ((10, False), (1000, True)):
        asked = ("--force", "--cohort=dev", "--kind=asnorm", f"--cohort-top={top}", *words[:4], "exp/one+asnorm")
        assert run("normalise", root, *asked) == 0
        assert ("no more than --cohort-top: snorm by another name" in capsys.readouterr().out) == told


def test_a_cohort_of_dev_speakers_leaves_each_dev_trials_own_speaker_out(root):
    """Every dev recording is a model, a test and in the cohort: znorm's moments are those of a model's nontargets."""
    words = ("data", "exp/one", "exp/one/backend", "exp/one", "exp/one+znorm")
    assert run("normalise", root, "--cohort=dev", "--kind=znorm", *words) == 0
    before, trials = read_scored(root / "data/dev/trials", root / "exp/one/dev/scores")
    expected = np.empty_like(before)
    for model in range(len(trials.models)):
        mine = trials.model == model
        others = before[mine & ~trials.target]
        expected[mine] = (before[mine] - others.mean()) / others.std()
    assert np.allclose(scores(root, "one+znorm", "dev/scores", "data/dev/trials"), expected, atol=1e-4)


def test_adapted_back_end(root):
    words = ("exp/one/backend", "exp/one/test/embedding.scp", "exp/one+adapt/backend")
    assert run("adapt", root, *words) == 0
    adapted, plain = read_back_end(root / words[2]), read_back_end(root / words[0])
    assert not np.allclose(adapted.mean, plain.mean) and np.array_equal(adapted.transform, plain.transform)
    assert run("adapt", root, "--adapt-within=0.1", *words) == 1


def test_no_trial_is_scored_by_a_back_end_adapted_to_its_speakers(root):
    """adapt, scores of the dev trials, snorm of them: each trial by the back end of the parts of neither speaker."""
    words = ("exp/one/backend", "exp/one/dev/embedding.scp", "exp/one+adapt/backend")
    assert run("adapt", root, f"--data={root}/data", *words) == 0
    command = ["exp/one/dev/embedding.scp", "data/dev/model2utts", "exp/one/dev/embedding.scp", words[2]]
    assert run("list", root, *command, "data/dev/trials", "exp/one+adapt/dev/scores") == 0
    found, trials = read_scored(root / "data/dev/trials", root / "exp/one+adapt/dev/scores")
    plain, reader = read_back_end(root / words[0]), ScpReader(root / words[1])
    utts = list(reader)
    vectors, speakers = np.stack([reader[utt] for utt in utts]), np.array([utt.split("-")[0] for utt in utts])
    part = dict(zip(sorted(set(speakers)), backend.draw_folds(EVAL, 1)))
    parts = np.array([part[speaker] for speaker in speakers])
    seen = set()
    for n in range(0, len(found), 37):
        i, j = (
            utts.index(ids[index[n]]) for ids, index in ((trials.models, trials.model), (trials.tests, trials.test))
        )
        adapted = adapt(plain, vectors[(parts != parts[i]) & (parts != parts[j])], 0.75, 0.25)
        ready = adapted.process(vectors[[i, j]])
        scorer = SCORERS["plda"](ready[:1], np.ones(1, int), ready[1:], adapted.plda, BackendOptions())
        assert found[n] == pytest.approx(scorer.pairs(np.zeros(1, int), np.zeros(1, int))[0], abs=1e-3)
        seen.add((parts[i], parts[j]))
    assert len(seen) > 10
    (root / "exp/one+adapt/scores").mkdir()
    command = ["exp/one/enroll/embedding.scp", "data/enroll/model2utts", "exp/one/test/embedding.scp", words[2]]
    assert (
        run("list", root, *command, "data/trials/trials", "exp/one+adapt/scores/trials") == 0
    )  # none of them is in it
    adapted = read_back_end(root / words[2])
    assert not np.allclose(scores(root, "one+adapt"), scores(root, "one")) and adapted.plda.dim == DIM
    out = ("data", "exp/one", words[2], "exp/one+adapt", "exp/one+adapt+snorm")
    assert run("normalise", root, "--cohort=dev", *out) == 0
    assert np.isfinite(scores(root, "one+adapt+snorm", "dev/scores", "data/dev/trials")).all()


def test_every_tool_reads_the_whole_conf(root, tmp_path):
    (tmp_path / "b.conf").write_text(
        "--plda-iters=3\n--variant=cal\n--quality=test_seconds\n--dev-targets=9\n--cohort-size=9\n"
    )
    conf = f"--config={tmp_path}/b.conf"
    assert run("calibrate", root, conf, "data", "exp/one+cal", "exp/one") == 0
    assert run("normalise", root, conf, "data", "exp/one", "exp/one/backend", "exp/one", "exp/one+snorm") == 0


def test_a_system_gets_every_variant_and_fusions_come_after(root, capsys):
    """Chains of back ends, normalisations and calibrations in one process; given again, nothing is made again."""
    conf = root / "b.conf"
    conf.write_text(
        "--variant=lda+snorm+cal\n--variant=cosine+asnorm\n--variant=adapt\n--variant=calhalf\n"
        "--variant-lda-dim=5\n--cohort-top=20\n--fuse=one+two\n"
    )
    config = f"--config={conf}"
    assert run("system", root, config, "--force", "data", "exp/one") == 0
    assert score.main(["fusions", config, str(root / "data"), str(root / "exp"), "one", "two"]) == 0
    chains = ("lda", "lda+snorm", "lda+snorm+cal", "cosine", "cosine+asnorm", "adapt", "calhalf")
    made = {path.parent.parent.name for path in root.glob("exp/*/scores/trials")}
    assert made == {"one", "two", "fusion:one+two", *(f"one+{chain}" for chain in chains)}
    assert read_back_end(root / "exp/one+lda/backend").transform.shape[0] == 5
    assert np.abs(scores(root, "one+cosine")).max() <= 1.0001
    found = [scores(root, name) for name in sorted(made)]
    assert all(not np.allclose(a, b) for k, a in enumerate(found) for b in found[:k])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("exp/*/scores/*")}
    capsys.readouterr()
    assert run("system", root, config, "data", "exp/one") == 0 and "up to date" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("exp/*/scores/*")}


def test_a_fusion_takes_no_old_scores_of_a_system_that_is_not_in_the_run(root, capsys):
    (root / "b.conf").write_text("--fuse=one+two\n")
    words = ["fusions", f"--config={root / 'b.conf'}", str(root / "data"), str(root / "exp")]
    assert score.main([words[0], "--fuse=one+gone", *words[2:], "one"]) == 0
    assert "fusion:one+gone is not made: gone has no scores" in capsys.readouterr().err
    assert score.main([*words, "one"]) == 0 and (root / "exp/fusion:one+two/scores").is_dir()  # `two` is up to date
    embeddings = root / "exp/two/enroll/embedding.scp"
    embeddings.write_text(embeddings.read_text() + "new x.ark:3\n")
    assert score.main([*words, "one"]) == 1 and "--force they are deleted" in capsys.readouterr().err
    assert score.main([*words[:1], "--force", *words[1:], "one"]) == 0
    told = f"fusion:one+two is left out: two is not among the systems of this run, and {embeddings} is another since"
    assert told in capsys.readouterr().err and not (root / "exp/fusion:one+two/scores").exists()


def test_a_system_goes_on_without_what_cannot_be_made(root, capsys):
    conf = root / "b.conf"
    conf.write_text("--variant=snorm+cal\n--variant=cosine\n--cohort-size=1\n")
    assert run("system", root, f"--config={conf}", "data", "exp/one") == 0
    assert "one+snorm+cal is left out: so is one+snorm" in capsys.readouterr().err
    assert (root / "exp/one+cosine/scores/trials").is_file() and not (root / "exp/one+snorm+cal").exists()


def test_a_given_back_end_is_not_trained_and_has_no_variants(root, capsys):
    conf = root / "b.conf"
    conf.write_text("--variant=cosine\n")
    (root / "exp/one/train/embedding.scp").unlink()
    words = (f"--config={conf}", "--force", f"--backend={root}/exp/two/backend", "data", "exp/one")
    assert run("system", root, *words) == 0
    assert (
        "one: the back end is given, no variants" in capsys.readouterr().err and not (root / "exp/one+cosine").exists()
    )
    made = json.loads((root / "exp/one/scores/trials.made.json").read_text())
    assert str(root / "exp/two/backend/plda") in made["inputs"]
    assert run("system", root, f"--config={conf}", "data", "exp/one") == 1
    assert "embedding.scp: found no such file" in capsys.readouterr().err  # of the training, which is needed now

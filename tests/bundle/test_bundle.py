"""Bundles of a finished run: what they hold is what the run computed with, wherever they lie."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from pyasp import SpeakerModel
from pyasp.bin import evaluate
from pyasp.bin.bundle import main
from pyasp.bundle.card import card
from pyasp.bundle.format import Bundle, read_bundle
from pyasp.bundle.make import affine_map, calibration_file, check_current
from pyasp.core import records
from pyasp.core.errors import InputError
from pyasp.core.records import write_made
from pyasp.data.datadir import read_table
from pyasp.data.scores import ALL, note_left_out
from pyasp.inspect.show import describe
from pyasp.kaldi import ScpReader


@pytest.mark.parametrize("system", ["ivector", "attentive_statistics", "average"])
def test_a_bundle_scores_audio_as_the_run_scored_it(finished, tmp_path, system, capsys):
    """Up to the 8-bit compression of the run's features, which single recordings do not go through."""
    where, _ = finished
    assert main([str(where / "exp" / system), str(tmp_path / "model")]) == 0
    assert "bundle.json" in capsys.readouterr().out
    model = SpeakerModel.load(shutil.move(tmp_path / "model", tmp_path / "moved"))
    wavs, stored = read_table(where / "data/test/wav.scp"), ScpReader(where / "exp" / system / "test/embedding.scp")
    for utt in list(stored)[:4]:
        found = model.embed(*soundfile.read(wavs[utt], dtype="int16"))
        cosine = found @ stored[utt] / np.linalg.norm(found) / np.linalg.norm(stored[utt])
        assert cosine > 0.98, (utt, cosine)
    trials = (line.split() for line in (where / "exp" / system / "scores/veri_test").read_text().splitlines())
    enroll = ScpReader(where / "exp" / system / "enroll/embedding.scp")
    for name, test, score in list(trials)[:10]:  # the toy's models are single recordings of the same name
        assert model.score(enroll[name], stored[test]) == pytest.approx(float(score), abs=1e-3)


def test_the_card_and_the_manifest_say_what_it_is(finished, tmp_path):
    where, _ = finished
    assert main([str(where / "exp/ivector"), str(tmp_path / "m")]) == 0
    facts = json.loads((tmp_path / "m/bundle.json").read_text())
    result = json.loads((where / "exp/results.json").read_text())["systems"]["ivector"]["trials"]["veri_test"]
    assert facts["results"]["veri_test"]["eer"] == result["eer"] and facts["rate"] == 16000
    assert facts["training_recordings_by_rate"] == {"16000": len(read_table(where / "data/train/utt2spk"))}
    card = (tmp_path / "m/README.md").read_text()
    assert "analysed at 16000 Hz. " in card
    assert f"{result['eer']:.2f}" in card and "Limits" in card
    low, high = result["ci"]["eer"]
    assert f"| {result['ci']['speakers']} | {low:.2f} to {high:.2f} |" in card
    assert str(where) not in card + (tmp_path / "m/bundle.json").read_text()
    assert "ivector: ivector, 16000 Hz" in "\n".join(describe(tmp_path / "m"))


def test_the_card_tells_what_the_figures_may_suffer_from():
    page = card(
        "ivector", {"rate": 8000, "shortest_voiced_seconds": 1, "losses": ["5 recordings seen in training", "x"]}
    )
    assert "as its run told:\n\n- 5 recordings seen in training\n- x\n\n## Limits" in page
    plain = {"rate": 8000, "shortest_voiced_seconds": 1}
    assert "suffer" not in card("ivector", plain)
    rates = {"8000": 3, "16000": 2000}
    told = "at 8000 Hz; among those that it was prepared to train on are 2 000 of 16000 Hz. "
    assert told in card("ivector", plain | {"training_recordings_by_rate": rates})


@pytest.mark.parametrize(
    "counts, usual",
    [({}, (0, 0)), ({"8000": 50}, (8000, 8000)), ({"8000": 2, "11025": 10, "16000": 60}, (11025, 16000))],
)
def test_the_rates_that_a_model_was_trained_on(tmp_path, counts, usual):
    facts = {"training_recordings_by_rate": counts}
    assert Bundle(tmp_path, "ivector", {}, facts).trained_rates == usual


@pytest.mark.parametrize("counts", [["8000"], {"8 kHz": 3}, {"8000": "3"}])
def test_rates_in_a_manifest_that_are_none_are_refused(tmp_path, counts):
    facts = {"format": 1, "kind": "ivector", "training_recordings_by_rate": counts}
    (tmp_path / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="recordings by rate in Hz. Make the bundle again"):
        read_bundle(tmp_path)


def test_what_evaluate_makes_of_the_systems_scores_calibrates_its_bundle(finished, tmp_path, capsys):
    """The command that `verify` prints for a model without threshold; then nothing is said of the raw scores."""
    where = tmp_path / "run"
    shutil.copytree(finished[0], where)
    system, trials, out = where / "exp/statistics", where / "data/trials/veri_test", tmp_path / "map.json"
    losses = [["statistics", "scores on veri_test are no log-likelihood ratios: Cllr 2.0"], ["statistics", "x"]]
    results = json.loads((where / "exp/results.json").read_text())
    (where / "exp/results.json").write_text(json.dumps(results | {"losses": losses}))
    assert evaluate.main(["--calibration", str(out), str(trials), str(system / "scores/veri_test")]) == 0
    assert main(["--calibration", str(out), str(system), str(tmp_path / "m")]) == 0
    told, known = SpeakerModel.load(tmp_path / "m"), json.loads(out.read_text())
    assert (told.calibration.scale, told.calibration.offset) == (known["scale"], known["offset"])
    assert json.loads((tmp_path / "m/bundle.json").read_text())["losses"] == ["x"]
    assert main(["--calibration", "none", str(system), str(tmp_path / "raw")]) == 0
    assert json.loads((tmp_path / "raw/bundle.json").read_text())["losses"] == [what for _, what in losses]
    capsys.readouterr()
    assert main(["--calibration", str(out), str(where / "exp/average"), str(tmp_path / "x")]) == 1
    assert "found a calibration of other scores (veri_test); expected one of" in capsys.readouterr().err
    assert main(["--conf", "conf", str(system), str(tmp_path / "x")]) == 1
    assert "found --backend or --conf" in capsys.readouterr().err


def test_results_older_than_the_scores_are_left_out(finished, tmp_path, capsys):
    where = tmp_path / "run"
    shutil.copytree(finished[0], where)
    scores = where / "exp/ivector/scores/veri_test"
    metrics = where / "exp/ivector/metrics.json"
    record = records.load_record(records.made_path(metrics))
    write_made(metrics, {**record, "inputs": {str(scores): "sha256:before"}})
    assert main(["--calibration", "none", str(where / "exp/ivector"), str(tmp_path / "m")]) == 0
    assert f"{metrics} is older than {scores}: its results are left out" in capsys.readouterr().err
    assert "No results were recorded with it." in (tmp_path / "m/README.md").read_text()


def test_mistakes(finished, tmp_path, capsys):
    where, _ = finished
    target = tmp_path / "m"
    target.mkdir()
    (target / "mine").write_text("keep")
    system = str(where / "exp/ivector")
    assert main([system, str(target)]) == 1 and "--force" in capsys.readouterr().err
    assert main(["--force", system, str(target)]) == 1 and "no bundle" in capsys.readouterr().err
    assert (target / "mine").read_text() == "keep"
    assert main([str(where / "exp"), str(tmp_path / "x")]) == 1
    told = capsys.readouterr().err
    assert "found systems in it; expected one system, EXP/SYSTEM" in told and f" {system} " in told
    assert main([str(where / "gone"), str(tmp_path / "x")]) == 1 and "no such system" in capsys.readouterr().err
    assert main(["--calibration", "gone", system, str(tmp_path / "x")]) == 1 and "gone" in capsys.readouterr().err
    note_left_out(tmp_path / "e/ivector+calhalf", {ALL: "28 target and 0 nontarget trials"})
    assert main([str(tmp_path / "e/ivector+calhalf"), str(tmp_path / "x")]) == 1
    assert "a variant that could not be made (28 target and 0 nontarget trials)" in capsys.readouterr().err
    for name, message in (("ivector+snorm", "a variant with snorm"), ("fusion:a+b", "a fusion")):
        assert main([str(where / "exp" / name), str(tmp_path / "x")]) == 1 and message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert main([system, str(tmp_path / "y")]) == 0 and main(["--force", system, str(tmp_path / "y")]) == 0
    (tmp_path / "y/speakers").mkdir()
    assert main(["--force", system, str(tmp_path / "y")]) == 1 and (tmp_path / "y/speakers").is_dir()
    assert "files that no bundle has (speakers)" in capsys.readouterr().err


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Scores of a system and of its calibrated variant, with the records that lead to PLDA and embeddings."""
    monkeypatch.chdir(tmp_path)
    files = {
        "exp/train/embedding.scp": [],
        "exp/sys/backend/plda": ["exp/train/embedding.scp"],
        "exp/sys/scores/a": ["exp/sys/backend/plda"],
        "exp/sys+cal/scores/a": ["exp/sys/scores/a"],
    }
    for number, (name, inputs) in enumerate(files.items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}")
        write_made(name, records.describe("made", {}, inputs, 1))  # as a run names them, from where it runs
    calibration(tmp_path / "exp/sys+cal/calibration.json", a=[model_of(2.0, 1.0)])
    return tmp_path / "exp"


@pytest.mark.parametrize(
    "name, older",
    [
        ("sys/scores/a", r"sys\+cal/scores/a: found one older than .*sys/scores/a"),
        ("sys/backend/plda", r"sys/scores/a: found one older than .*backend/plda"),
        ("train/embedding.scp", r"backend/plda: found one older than .*train/embedding.scp"),
    ],
)
def test_a_calibration_older_than_what_it_rests_on_is_refused(chain, monkeypatch, name, older):
    path = chain / "sys+cal/calibration.json"
    assert affine_map(path, "", "sys")["scale"] == 2.0
    monkeypatch.chdir("/")  # records lead from the experiment's own parents
    assert affine_map(path)["offset"] == 1.0
    (chain / name).write_text("made again")
    with pytest.raises(InputError, match=f"{older}.*--calibration none"):
        affine_map(path)
    if name == "sys/backend/plda":
        with pytest.raises(InputError, match=older):
            check_current(chain / "sys/scores/a")
    if name == "sys/scores/a":
        check_current(chain / "sys/scores/a")


def test_a_network_that_began_with_another_needs_no_data_of_the_other(tmp_path):
    """--init names a file that is given as it is: data of the run that made it may go on to other things."""
    data, parent, child = tmp_path / "data/utt2spk", tmp_path / "parent/final.pt", tmp_path / "child/final.pt"
    for path in (data, parent, child):
        path.parent.mkdir()
        path.write_text(path.name)
    write_made(parent, records.describe("train_tdnn", {"init": ""}, [data], 1))
    for init in (parent, parent.parent):
        write_made(child, records.describe("train_tdnn", {"init": str(init)}, [parent], 1))
        data.write_text("of another day")
        check_current(child)
    with pytest.raises(InputError, match=r"parent/final.pt: found one older than .*utt2spk"):
        check_current(parent)
    parent.write_text("trained again")
    with pytest.raises(InputError, match=r"child/final.pt: found one older than .*parent/final.pt"):
        check_current(child)


@pytest.mark.parametrize("how", ["copied", "moved", "copied, and the original made again"])
def test_a_copy_of_an_experiment_stands_for_itself(chain, how):
    """Its records name the files of where it was made; those beside it count."""
    other = chain.parent / "backup/of exp"
    other.parent.mkdir()
    shutil.copytree(chain, other) if "copied" in how else chain.rename(other)
    if "again" in how:
        for name in ("train/embedding.scp", "sys/backend/plda", "sys/scores/a"):
            (chain / name).write_text("made again")
    assert affine_map(other / "sys+cal/calibration.json")["scale"] == 2.0
    record = records.record_of(other / "sys/scores/a")
    assert list(record["inputs"]) == [str(other / "sys/backend/plda")]
    (other / "sys/backend/plda").write_text("another system's")
    with pytest.raises(InputError, match=r"of exp/sys/scores/a: found one older than .*/of exp/sys/backend/plda"):
        affine_map(other / "sys+cal/calibration.json")


def test_a_calibration_that_is_gone_from_its_inputs_is_taken(chain):
    (chain / "train/embedding.scp").unlink()
    assert affine_map(chain / "sys+cal/calibration.json")["scale"] == 2.0


def test_a_calibration_of_another_system_is_refused(chain):
    path = chain / "sys+cal/calibration.json"
    assert affine_map(path, "", "sys+cal")["scale"] == affine_map(path, "", "sys+calhalf")["scale"] == 2.0
    with pytest.raises(InputError, match="found a calibration of sys; expected one of other"):
        affine_map(path, "", "other")


def calibration(path, **lists):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"trained_on": "dev", "lists": lists}))
    return path


def model_of(weight, offset, name="sys"):
    return {"weights": {name: weight}, "offset": offset, "prior": 0.5}


def test_calibrations_of_the_recipe(tmp_path):
    path = calibration(
        tmp_path / "sys+calhalf/calibration.json", a=[model_of(2.0, 1.0), model_of(4.0, 2.0)], b=[model_of(1.0, 0.0)]
    )
    assert affine_map(path) == {"scale": 3.0, "offset": 1.5, "prior": 0.5, "trained_on": "dev", "trials": "a"}
    assert affine_map(path, "b")["scale"] == 1.0
    losses = [["data", "x"], ["other and sys+calhalf", "helps nothing"], ["sys", "y"]]
    (tmp_path / "results.json").write_text(json.dumps({"losses": losses}))
    assert affine_map(path)["losses"] == ["helps nothing"]
    counts = {"n_target": 20, "n_nontarget": 90, "speakers": 6, "separable": False}
    path = calibration(
        path, a=[model_of(2.0, 1.0) | counts, model_of(4.0, 2.0) | counts | {"n_target": 40}], b=[model_of(1.0, 0.0)]
    )
    found = affine_map(path)
    assert (found["n_target"], found["n_nontarget"], found["speakers"], found["separable"]) == (60, 180, 12, False)
    halves = ", in one of the halves"
    assert found["doubts"] == ["20 target trials, fewer than 30" + halves, "6 speakers, fewer than 10" + halves]
    assert calibration_file(tmp_path / "sys", "") == path and calibration_file(tmp_path / "sys", "none") is None
    better = calibration(tmp_path / "sys+cal/calibration.json", a=[model_of(1.0, 1.0)])
    assert calibration_file(tmp_path / "sys", "") == better and calibration_file(tmp_path / "sys", str(path)) == path
    with pytest.raises(InputError, match="no list 'c'"):
        affine_map(path, "c")
    two = calibration(tmp_path / "f/calibration.json", a=[{"weights": {"x": 1, "log y": 2}, "offset": 0, "prior": 0.5}])
    with pytest.raises(InputError, match="inputs x log y"):
        affine_map(two)
    two.write_text('{"lists": {}}')
    with pytest.raises(InputError, match="no usable calibration"):
        affine_map(two)

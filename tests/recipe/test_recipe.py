"""The whole recipe on a tiny corpus: the table, what each stage leaves, resuming, and every failure in one message."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest
from recipe import CONF, ROOT, SYSTEMS, artefacts, command, results, run

from pyasp.bin import bundle, export, verify
from pyasp.data.datadir import DataDir, read_table
from pyasp.kaldi import ScpReader


def test_the_table_of_five_systems_is_the_last_thing_on_screen(finished):
    where, process = finished
    table = process.stdout.strip().splitlines()[-30:]
    for system in SYSTEMS:
        assert any(line.split()[:1] == [system] for line in table), "\n".join(table)
    numbers = results(where)["systems"]["ivector"]["trials"]["veri_test"]
    assert f"{numbers['eer']:.2f}" in process.stdout


def test_results_follow_the_schema(finished):
    where, _ = finished
    found = results(where)
    assert found["corpus"] == "toy" and set(found["systems"]) == set(SYSTEMS)
    for system in found["systems"].values():
        ((name, row),) = system["trials"].items()
        assert name == "veri_test" and {"eer", "eer_rocch", "min_dcf", "n_target", "n_nontarget"} <= set(row)
        assert set(row["min_dcf"]) >= {"0.01", "0.001"} and 0 <= row["eer"] <= 100
        assert row["n_target"] + row["n_nontarget"] == len((where / "data/trials/veri_test").read_text().splitlines())


def test_every_file_of_the_contract_is_there(finished):
    where, _ = finished
    for name in ("train", "enroll", "test"):
        data = DataDir(where / "data" / name)
        data.require("utt2spk", "spk2utt", "cuts.jsonl.gz", "utt2dur", "feats.scp", "vad.scp", "utt2num_frames")
        assert list(ScpReader(data / "feats.scp")) == list(data.utt2spk) == list(ScpReader(data / "vad.scp"))
        assert (data / "dropped.tsv").read_text().splitlines()[0] == "utt\treason"
    for name in (
        "train_aug/cuts.jsonl.gz",
        "train_aug/utt2clean",
        "train_ubm/feats.scp",
        "train_sel/valid_utts",
        "train_sel/dev_speakers",
    ):
        assert (where / "data" / name).is_file()
    exp = where / "exp"
    for name in (
        "ubm/0.dubm",
        "ubm/final.dubm",
        "ubm/final.ubm",
        "ivector/0.ie",
        "ivector/final.ie",
        "results.json",
        "RESULTS.md",
        "report.html",
        "det.png",
    ):
        assert (exp / name).is_file()
    for system in SYSTEMS:
        for name in (
            "train/embedding.scp",
            "enroll/embedding.scp",
            "test/embedding.scp",
            "backend/mean.vec",
            "backend/transform.mat",
            "backend/plda",
            "scores/veri_test",
            "scores/veri_test.f32.npy",
            "metrics.json",
        ):
            assert (exp / system / name).is_file()
        if system != "ivector":
            lines = [json.loads(line) for line in (exp / system / "train.jsonl").read_text().splitlines()]
            assert [line["epoch"] for line in lines] == [1, 2, 3] and (exp / system / "last.pt").is_file()


def test_final_artefacts_have_records(finished):
    where, _ = finished
    for name in (
        "exp/ubm/final.ubm",
        "exp/ivector/final.ie",
        "exp/statistics/final.pt",
        "exp/statistics/backend/plda",
        "exp/statistics/scores/veri_test",
        "exp/statistics/test/embedding.scp",
        "data/train/feats.scp",
    ):
        made = json.loads((where / f"{name}.made.json").read_text())
        assert {"tool", "options", "inputs", "seed", "versions"} <= set(made)


def test_recordings_of_two_sets_are_extracted_once(finished):
    where, _ = finished
    test, enroll = (read_table(where / "data" / name / "feats.scp") for name in ("test", "enroll"))
    both = set(test) & set(enroll)
    assert both and all(test[utt] == enroll[utt] for utt in both)


def test_stages_run_again_change_nothing(finished):
    where, _ = finished
    before, usage = artefacts(where), where / "exp/log/usage.jsonl"
    done = len(usage.read_text().splitlines())
    process = run(where, "--systems", "ivector attention")
    assert process.returncode == 0 and artefacts(where) == before
    lines = list(map(json.loads, usage.read_text().splitlines()[done:]))
    ran = {line["tool"] for line in lines}
    heavy = {"make_mfcc", "vad", "merge_shards", "train_ubm", "train_ivector", "train_tdnn", "extract"}
    assert {"check", "score", "report"} <= ran and not ran & heavy  # what has nothing to do imports no torch to say so
    assert max(line["peak_mb"] for line in lines if line["tool"] in ("check", "augment", "score", "select")) < 200
    for name in ("data/train/feats.scp", "data/train_aug/vad.scp", "exp/ubm/final.ubm", "exp/attention/final.pt"):
        assert f"{name}: up to date" in process.stderr


def test_a_changed_setting_stops_until_forced(finished, tmp_path):
    where, _ = finished
    conf = tmp_path / "conf"
    subprocess.run(["cp", "-r", ROOT / CONF, conf], check=True)
    (conf / "backend.conf").write_text(
        (conf / "backend.conf").read_text().replace("--plda-iters=10 ", "--plda-iters=3 ")
    )
    process = run(where, "--stage", "9", "--systems", "statistics", "--conf", str(conf))
    assert process.returncode == 1 and "--plda-iters: 10 -> 3" in process.stderr and "--force" in process.stderr
    assert re.search(r"resume with:\n +./run.sh .*--stage scores", process.stderr)


@pytest.mark.parametrize(
    "stage, missing",
    [
        (2, "stage prepare|stage features"),
        (5, "stage select"),
        (6, "stage ubm"),
        (7, "stage select"),
        (8, "stage extractor"),
        (9, "stage embeddings"),
        (10, "stage embeddings"),
    ],
)
def test_a_stage_without_its_inputs_names_the_one_that_makes_them(tmp_path, stage, missing):
    words = ["--stage", str(stage), "--stop-stage", str(stage), "--systems", "ivector average"]
    process = run(tmp_path, *words)
    assert process.returncode != 0 and re.search(missing, process.stderr)


def test_what_is_printed_when_a_run_stops_is_a_command_that_goes_on(tmp_path):
    """Pasted as it is: nothing is there yet; then the seed has changed."""
    for words, stage in ((["--stage", "check"], "prepare"), (["--seed", "2"], "prepare --force")):
        stopped = run(tmp_path, "--stop-stage", "check", *words)
        line = stopped.stderr.splitlines()[-1]
        assert stopped.returncode == 1 and line.endswith(f"--stage {stage}"), stopped.stderr
        pasted = subprocess.run(["bash", "-c", line], text=True, capture_output=True, timeout=600)
        assert pasted.returncode == 0 and "veri_test: 120 trials" in pasted.stderr + pasted.stdout, pasted.stderr


def with_kaldi_models(where, target, conf=CONF):
    """Stages embeddings to report of the i-vector system with the models of `where` given as Kaldi would lay them out."""
    for name in (
        "ubm/final.ubm",
        "ivector/final.ie",
        "ivector/backend/mean.vec",
        "ivector/backend/transform.mat",
        "ivector/backend/plda",
    ):
        place = target / ("backend" if "backend" in name else "extractor")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(where / "exp" / name, place)
    words = [
        "--exp",
        str(target / "exp"),
        "--conf",
        str(conf),
        "--stage",
        "8",
        "--systems",
        "ivector",
        "--kaldi-ivector",
        str(target / "extractor"),
        "--kaldi-backend",
        str(target / "backend"),
    ]
    return run(where, *words)


def test_models_of_kaldi_stand_in_for_trained_ones(finished, tmp_path):
    where, _ = finished
    process = with_kaldi_models(where, tmp_path)
    assert process.returncode == 0, process.stderr[-2000:]
    for name in ("scores/veri_test", "metrics.json"):
        assert (tmp_path / "exp/ivector" / name).read_bytes() == (where / "exp/ivector" / name).read_bytes()


def test_models_of_another_dimension_are_an_error(finished, tmp_path):
    where, _ = finished
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / CONF, conf)
    (conf / "ivector.conf").write_text((conf / "ivector.conf").read_text().replace("--num-ceps=12", "--num-ceps=11"))
    process = with_kaldi_models(where, tmp_path, conf)
    assert (
        process.returncode == 1
        and re.search(r"found 36|36 dim|33", process.stderr)
        and "Traceback" not in process.stderr
    )


def test_a_missing_root_is_one_message(tmp_path):
    process = run(tmp_path, "--corpus", "voxceleb", "--root", str(tmp_path / "nowhere"))
    assert process.returncode != 0 and "nowhere" in process.stderr and "Traceback" not in process.stderr


@pytest.mark.slow
def test_networks_after_the_paper_and_of_others_stand_in_the_same_table(tmp_path):
    """ECAPA-TDNN and ResNet34 beside the i-vector; then the first, exported, as anybody's ONNX file beside them."""
    conf = shutil.copytree(ROOT / CONF, tmp_path / "conf")
    shutil.copytree(ROOT / "conf/toy/systems", conf / "systems")
    for path in (conf / "systems").iterdir():
        small = "--epochs=1\n--steps-per-epoch=2\n--frame-dim=8\n--pooling-dim=16\n"
        kept = [line for line in path.read_text().splitlines() if line.split("=")[0] + "=" not in small]
        path.write_text("\n".join(kept) + "\n" + small)
    (conf / "systems/published.conf").write_text(
        f"--encoder=onnx\n--model={tmp_path / 'net.onnx'}\n--feature-type=fbank\n"
    )
    networks = ["ecapa", "resnet34"]
    process = run(tmp_path, "--conf", str(conf), "--systems", "ivector ecapa resnet34")
    assert process.returncode == 0, process.stderr[-3000:]
    wavs = list(read_table(tmp_path / "data/test/wav.scp").values())[:2]
    for system in networks:
        assert bundle.main([str(tmp_path / "exp" / system), str(tmp_path / system)]) == 0
    pytest.importorskip("onnxruntime")
    assert export.main(["--onnx", str(tmp_path / "ecapa"), str(tmp_path / "net.onnx")]) == 0
    process = run(tmp_path, "--conf", str(conf), "--systems", "ivector ecapa resnet34 published", "--stage", "networks")
    assert process.returncode == 0, process.stderr[-3000:]
    rows = {name: row["trials"]["veri_test"]["eer"] for name, row in results(tmp_path)["systems"].items()}
    assert set(rows) == {"ivector", *networks, "published"}
    assert rows["published"] == rows["ecapa"]  # the same weights
    assert bundle.main([str(tmp_path / "exp/published"), str(tmp_path / "published")]) == 0
    for system in (*networks, "published"):
        assert verify.main(["--model", str(tmp_path / system), wavs[0], "--", wavs[1]]) == 0


FAKE_SLURM = {
    # A job that waits for the file `go` and then has ended well; its name is noted when it is submitted.
    "sbatch": """
for word in "$@"; do case $word in --output=*) log=${word#*=} ;; --job-name=*) name=${word#*=} ;; esac; done
(until [ -e "$FAKE/go" ]; do sleep 0.05; done; echo "# ended with exit code 0 after 0 s" >>"$log"; touch "$FAKE/over.$$") >/dev/null 2>&1 &
echo "$name" >>"$FAKE/submitted"
echo $$
""",
    "squeue": """
for word in "$@"; do case $word in --jobs=*) id=${word#*=} ;; esac; done
[ ! -e "$FAKE/over.$id" ] || { echo "Invalid job id specified" >&2; exit 1; }
echo "RUNNING None"
""",
    "scancel": 'touch "$FAKE/go"',
}


def test_every_training_is_submitted_before_the_first_has_ended(finished, tmp_path):
    """No job ends before all wait beside each other: the UBM and the four networks; the extractor alone needs one."""
    where, _ = finished
    for name, script in FAKE_SLURM.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    words = ["--data", str(where / "data"), "--stage", "ubm", "--stop-stage", "networks", "--cmd", "steps/slurm_jobs"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAKE": str(tmp_path), "PYASP_SLURM_POLL": "0.1"}
    with open(tmp_path / "screen", "w") as screen:
        process = subprocess.Popen(command(tmp_path, *words), env=os.environ | environment, stderr=screen)

    def submitted():
        path = tmp_path / "submitted"
        return path.read_text().split() if path.exists() else []

    end = time.monotonic() + 300
    try:
        while len(submitted()) < 5 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert sorted(submitted()) == [*["pyasp-train_tdnn"] * 4, "pyasp-train_ubm"] and not list(
            tmp_path.glob("over.*")
        )
        (tmp_path / "exp/ubm").mkdir(parents=True, exist_ok=True)
        (tmp_path / "exp/ubm/final.ubm").write_text("what the job left")
        (tmp_path / "go").touch()
        assert process.wait(300) == 0, (tmp_path / "screen").read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(300)
    assert submitted()[5:] == ["pyasp-train_ivector"] and len(list(tmp_path.glob("over.*"))) == 6

"""Old results are never reported for new settings: a run that starts late says what is out of date and from where to
re-run. Every case on one finished run, which stays as it is."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import recipe

from pyasp.audio.folders import Listing
from pyasp.bin import _stale as stale
from pyasp.bin import check as verb
from pyasp.bin import report
from pyasp.core.command import parse
from pyasp.core.errors import InputError

CONF = recipe.ROOT / recipe.CONF
STAGES = re.search(r"^stages=\((.*?)\)", (recipe.ROOT / "run.sh").read_text(), re.M)[1].split()


def check(where, stage, conf=CONF, *words):
    """The exit code of the check at the start of `./run.sh --stage N`."""
    options = [f"--conf={conf}", f"--skipped={' '.join(STAGES[:stage])}", "--systems", " ".join(recipe.SYSTEMS), *words]
    prepared = ["--config", str(Path(conf) / "prep.conf")]
    return verb.main(["made", *options, str(where / "data"), str(where / "exp"), "--", *prepared])


@contextlib.contextmanager
def changed(path, edit):
    """A file with other bytes, for a while."""
    before = path.read_bytes()
    path.write_bytes(edit(before))
    try:
        yield
    finally:
        path.write_bytes(before)


def edited(tmp_path, name, line):
    """A copy of the conf directory with one more or another line."""
    conf = Path(shutil.copytree(CONF, tmp_path / "conf"))
    key = line.split("=")[0]
    kept = [each for each in (conf / name).read_text().splitlines() if not each.startswith(f"{key}=")]
    (conf / name).write_text("\n".join([*kept, line]) + "\n")
    return conf


def test_nothing_is_out_of_date_after_a_run(finished):
    assert check(finished[0], 10) == 0
    words = [f"--skipped={' '.join(STAGES[:10])}", "--systems=ivector", f"--conf={CONF}"]
    assert verb.main(["made", *words, *(str(finished[0] / name) for name in ("data", "exp")), "--"]) == 0  # no options


@pytest.mark.parametrize(
    "name, line, stage, first, told",
    [
        ("prep.conf", "--max-missing=0.5", 1, 0, "--max-missing: 0.0 -> 0.5"),
        ("mfcc.conf", "--low-freq=30", 5, 2, "--low-freq: 20.0 -> 30.0"),
        ("vad.conf", "--vad-frames-context=3", 3, 2, "--vad-frames-context: 2 -> 3"),
        ("augment.conf", "--snrs=8,15", 4, 3, "--snrs: 8,15,20 -> 8,15"),
        ("select.conf", "--min-utts=3", 5, 4, "--min-utts: 2 -> 3"),
        ("ubm.conf", "--num-iters-full=3", 6, 5, "--num-iters-full: 2 -> 3"),
        ("ivector.conf", "--cmn-window=200", 7, 5, "--cmn-window: 300 -> 200"),
        ("ivector.conf", "--num-iters=3", 8, 6, "--num-iters: 2 -> 3"),
        ("ivector.conf", "--max-count=100", 9, 6, "--max-count: 0.0 -> 100.0"),
        ("tdnn.conf", "--learning-rate=0.004", 8, 7, "--learning-rate: 0.003 -> 0.004"),
        ("tdnn.conf", "--extract-min-frames=30", 9, 8, "--extract-min-frames: "),
        ("backend.conf", "--plda-iters=5", 10, 9, "--plda-iters: 10 -> 5"),
        ("backend.conf", "--smoothing=0.1", 10, 9, "--smoothing: 0.0 -> 0.1"),
    ],
)
def test_a_changed_setting_is_named_with_its_stage(finished, tmp_path, capsys, name, line, stage, first, told):
    conf = edited(tmp_path, name, line)
    assert check(finished[0], stage, conf) == 1
    message = capsys.readouterr().err
    assert re.search(
        rf"found \d+ artefacts out of date \({re.escape(told)}.*--stage {STAGES[first]} --force", message
    ), message
    assert check(finished[0], first, conf) == 0  # the stage itself sees to it, with --force


def test_a_line_that_was_removed_is_a_changed_setting(finished, tmp_path, capsys):
    conf = Path(shutil.copytree(CONF, tmp_path / "conf"))
    (conf / "ubm.conf").write_text((conf / "ubm.conf").read_text().replace("--subsample=1\n", ""))
    assert check(finished[0], 10, conf) == 1 and "--subsample: 1 -> 5" in capsys.readouterr().err


def test_a_later_stage_knows_the_folders_of_the_copies_or_is_asked_for_without_them(finished, tmp_path, capsys):
    given, other = (str(tmp_path / name) for name in ("musan", "other"))
    record = finished[0] / "data/train_aug/cuts.jsonl.gz.made.json"
    with changed(record, lambda before: before.replace(b'"musan": ""', b'"musan": "%s"' % given.encode())):
        data = finished[0] / "data"
        run = stale.Request(data, finished[0] / "exp", ("ivector",), str(CONF))
        for asked in (run, dataclasses.replace(run, musan=given)):
            assert not [each for each in stale.find(asked, ("augment",)) if each.path.name == "cuts.jsonl.gz"]
        assert check(finished[0], 4, CONF, f"--musan={other}") == 1
        assert f"(--musan: {given} -> {other})" in capsys.readouterr().err


def test_another_seed(finished, capsys):
    assert check(finished[0], 5, CONF, "--seed=2") == 1
    assert re.search(r"--seed: 1 -> 2.*--stage prepare --force", capsys.readouterr().err)


@pytest.mark.parametrize(
    "name, stage, first, told",
    [
        ("data/trials/veri_test", 10, 9, "trials/veri_test changed"),
        ("data/test/utt2spk", 8, 2, "test/utt2spk changed"),
        ("data/train_sel/valid_utts", 8, 7, "train_sel/valid_utts changed"),
        ("exp/ubm/final.ubm", 9, 6, "ubm/final.ubm changed"),
        ("exp/statistics/final.pt", 9, 8, "statistics/final.pt changed"),
        ("exp/average/backend/plda", 10, 9, "average/backend/plda changed"),
        ("exp/attention/test/shards/embedding.1.scp", 10, 8, "embedding.1.scp changed"),
    ],
)
def test_a_changed_input_is_named(finished, capsys, name, stage, first, told):
    with changed(finished[0] / name, lambda before: before + b"x\n"):
        assert check(finished[0], stage) == 1
    message = capsys.readouterr().err
    assert told in message and f"--stage {STAGES[first]} --force" in message


def test_audio_that_was_replaced_is_named_whatever_stage_is_asked_for(finished, capsys):
    """Of the preparation; one that is not there now is no other one."""
    listing = Listing(finished[0] / "data", "prep.files.gz")
    path = sorted(listing.old)[3]
    with changed(Path(path), lambda before: before + b"x"):
        for stage in (1, 9):
            assert check(finished[0], stage) == 1
            told = capsys.readouterr().err
            assert f"(1 file replaced: {Path(path).name}" in re.sub(r"replaced: \S*/", "replaced: ", told)
            assert "--stage prepare --force" in told
        assert check(finished[0], 0) == 0
    before = os.stat(path)
    os.utime(path, ns=(before.st_mtime_ns, int(listing.old[path].status.split(":")[1])))
    Path(path).rename(f"{path}.away")
    try:
        assert check(finished[0], 9) == 0
    finally:
        Path(f"{path}.away").rename(path)
    assert check(finished[0], 9) == 0


def test_features_made_again_make_everything_behind_them_out_of_date(finished, capsys):
    """The same bytes by another recipe, as with a lower threshold that changes nothing that is stored."""
    record = finished[0] / "data/train/feats.scp.made.json"
    with changed(record, lambda before: before.replace(b'"merge_shards"', b'"merge"')):
        assert check(finished[0], 10) == 1
    found = capsys.readouterr().err
    assert "train/feats.scp changed" in found and re.search(
        r": stage features: .*; stage augment: .*; stage select: ", found
    )


def test_models_given_in_place_of_ours_are_not_taken_for_those_that_made_the_vectors(finished, tmp_path, capsys):
    assert check(finished[0], 9, CONF, f"--kaldi-ivector={tmp_path}") == 1
    assert f"not made with {tmp_path}/final.ubm" in capsys.readouterr().err
    assert check(finished[0], 10, CONF, f"--kaldi-backend={tmp_path}") == 1
    assert f"not made with {tmp_path}/plda" in capsys.readouterr().err


def test_a_system_of_an_earlier_report_leaves_it_when_its_settings_changed(finished, tmp_path, capsys):
    where, conf = finished[0], edited(tmp_path, "tdnn.conf", "--learning-rate=0.004")
    options, _ = parse(report.Options, ["--corpus", "toy", "--conf", str(conf)])
    found = report.gather(options, str(where / "data/trials"), where / "exp", ["ivector"])
    assert set(found) == {"ivector"} and "statistics of the earlier report is left out" in capsys.readouterr().out
    options, _ = parse(report.Options, ["--corpus", "toy", "--conf", str(CONF)])
    assert set(report.gather(options, str(where / "data/trials"), where / "exp", ["ivector"])) == set(recipe.SYSTEMS)


def test_run_sh_stops_before_it_reports_old_scores(finished, tmp_path):
    where, conf = finished[0], edited(tmp_path, "backend.conf", "--average=raw")
    before = (where / "exp/results.json").read_bytes()
    process = recipe.run(where, "--conf", str(conf), "--stage", "10", "--force")
    assert process.returncode == 1
    assert re.search("--average: normalised -> raw.*--stage scores --force", process.stderr), process.stderr
    assert "stage report: " not in process.stderr and (where / "exp/results.json").read_bytes() == before


@pytest.mark.parametrize("stage", ["report", "prepare"])
def test_an_experiment_of_other_data_is_named_with_its_own(finished, tmp_path, stage):
    """Neither the advice nor anything else makes it again from those."""
    where, other, exp = finished[0], tmp_path / "other", tmp_path / "exp"
    (other / "test").mkdir(parents=True)
    (other / "test/utt2spk").write_text("a-1 a\n")
    shutil.copytree(where / "exp", exp, ignore=shutil.ignore_patterns("*.ark", "*.ie", "*.ubm", "*.dubm"))
    for path in exp.rglob("*.made.json"):
        path.write_text(path.read_text().replace(f"{where}/exp", str(exp)))
    before = {path: path.read_bytes() for path in exp.rglob("*.made.json")}
    words = ["--data", other, "--exp", exp, "--conf", CONF, "--nj", "1", "--systems", "average", "--stage", stage]
    ran = subprocess.run([recipe.ROOT / "run.sh", *words], text=True, capture_output=True, timeout=300)
    told = f"--exp: found {exp}, which was made from {where}/data; expected one made from {other}."
    assert ran.returncode == 1 and f"{told} Give --data {where}/data, or another --exp." in ran.stderr, ran.stderr
    assert "resume" not in ran.stderr and before == {path: path.read_bytes() for path in exp.rglob("*.made.json")}


def test_an_experiment_copied_with_its_data_is_of_these(finished, tmp_path):
    where = finished[0]
    shutil.copytree(where / "data", tmp_path / "data", ignore=shutil.ignore_patterns("*.ark"))
    stale.require_data(stale.Request(tmp_path / "data", where / "exp", recipe.SYSTEMS))
    (tmp_path / "data/train_sel/feats.scp").unlink()
    with pytest.raises(InputError, match="which was made from"):
        stale.require_data(stale.Request(tmp_path / "data", where / "exp", recipe.SYSTEMS))


def test_a_copy_of_the_whole_is_up_to_date_and_stands_for_itself(finished, tmp_path):
    """Its records name where it was made; a file that is another one in the copy is told all the same."""
    for name in ("data", "exp"):
        shutil.copytree(finished[0] / name, tmp_path / name)
    assert check(tmp_path, 10) == 0
    (tmp_path / "exp/average/backend/plda").write_bytes(b"another")
    assert check(tmp_path, 10) == 1


def test_a_tree_that_is_gone_is_told_as_gone(tmp_path, capsys, monkeypatch):
    """Under its own name it is no other setting; under another one it is said that nothing is there."""
    monkeypatch.chdir(tmp_path)
    asked = {"tool": "prep_folder", "options": {"root": "tree/base"}, "inputs": {}, "seed": 1}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/prep.json").write_text("{}")
    (tmp_path / "data/prep.json.made.json").write_text(json.dumps(asked))

    def told(root):
        words = ["--skipped=prepare", "--corpus=folder", "--conf=none", "data", "exp", "--", "--root", root]
        return verb.main(["made", *words]), capsys.readouterr().err

    code, said = told(f"{tmp_path}/tree/base")
    assert code == 0 and f"--root is {tmp_path}/tree/base, which is not there: the run goes on" in said
    code, said = told(f"{tmp_path}/elsewhere/base")
    assert code == 1 and f"--root: tree/base -> {tmp_path}/elsewhere/base, which is not there" in said


@pytest.fixture(scope="module")
def two_kinds(shared_run, shared_lock, tmp_path_factory):
    """(where, conf): a copy with features of both kinds: `filters` is a network over filter banks."""
    where = tmp_path_factory.mktemp("two_kinds")
    with shared_lock():
        shutil.copytree(shared_run[0] / "data", where / "data")
    conf = Path(shutil.copytree(CONF, where / "conf"))
    (conf / "systems").mkdir()
    (conf / "systems/filters.conf").write_text("--pooling=statistics\n--feature-type=fbank\n")
    process = recipe.run(
        where, "--conf", str(conf), "--systems", "average filters", "--stage", "features", "--stop-stage", "select"
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return where, conf


@pytest.mark.parametrize(
    "name, systems, kinds",
    [
        ("fbank.conf", "average filters", {"fbank"}),
        ("fbank.conf", "filters", {"fbank"}),
        ("fbank.conf", "ivector average", set()),
        ("mfcc.conf", "average filters", {"mfcc"}),
        ("mfcc.conf", "filters", {"mfcc"}),  # of its voice activity
    ],
)
def test_a_changed_filter_bank_is_its_own_kind_s_and_that_of_its_systems(two_kinds, tmp_path, name, systems, kinds):
    where, whole = two_kinds
    conf = Path(shutil.copytree(whole, tmp_path / "conf"))
    asked = stale.Request(where / "data", where / "exp", tuple(systems.split()), str(conf))
    assert not stale.find(asked)
    (conf / name).write_text((conf / name).read_text().replace("--low-freq=20", "--low-freq=30"))
    found = stale.find(asked)
    of_stage = {stage: {each.path for each in found if each.stage == stage} for stage in ("features", "augment")}
    assert {each.why for each in found} == {"--low-freq: 20.0 -> 30.0"} if kinds else not found
    assert {each.path.name.split(".")[0].removeprefix("raw_") for each in found} == kinds
    parts = {each.path.relative_to(where / "data").parts[0] for each in found}
    assert parts == ({"train", "test", "enroll", "train_aug"} if kinds else set())
    assert all("train_aug" in path.parts for path in of_stage["augment"]) and all(of_stage.values()) == bool(kinds)


def test_every_tool_that_leaves_a_record_is_known(finished):
    where = finished[0]
    run = stale.Request(where / "data", where / "exp", recipe.SYSTEMS)
    left = {made["tool"] for _, made in stale.records(run)}
    assert left - {"evaluate", "report", "attention"} <= set(stale.TOOLS) and len(left) > 12


def test_every_preparation_is_known_by_its_file():
    assert {path.stem for path in (recipe.ROOT / "local").glob("prep_*.py")} <= set(stale.TOOLS)
    assert stale.STAGES[0] == "prepare" and stale.TOOLS["prep_folder"].seeded


def test_only_what_a_run_takes_up_is_looked_at(tmp_path):
    """Directories of the user's own, and variants that backend.conf has no more, are nobody's business."""
    assert stale.family("ivector+snorm+cal") == ("ivector", "ivector+snorm", "ivector+snorm+cal")
    assert stale.family("fusion:ivector+average") == ("ivector", "average", "fusion:ivector+average")
    (tmp_path / "exp" / "ivector+lda").mkdir(parents=True)
    (tmp_path / "backend.conf").write_text("--variant=snorm+cal\n--fuse=ivector+average\n")
    names = stale.with_variants(("ivector", "average"), tmp_path / "exp", str(tmp_path))
    assert set(names) == {
        "ivector",
        "average",
        "fusion:ivector+average",
        "ivector+snorm",
        "ivector+snorm+cal",
        "average+snorm",
        "average+snorm+cal",
    }
    for name in ("data/mine", "data/train", "exp/ivector+lda", "exp/ivector"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "x").write_text("")
        (tmp_path / name / "x.made.json").write_text(
            '{"tool": "score", "options": {}, "inputs": {"gone": "1"}, "seed": null}'
        )
    found = stale.find(stale.Request(tmp_path / "data", tmp_path / "exp", names))
    assert [str(each.path.relative_to(tmp_path)) for each in found] == ["data/train/x", "exp/ivector/x"]

"""What goes wrong with the field's toolkits and has no test of its own elsewhere: full disks, memory of the metrics."""

import errno
import tracemalloc

import numpy as np
import pytest
from prep_trees import make_tree, refused

from local import prep_folder
from pyasp.core import files
from pyasp.core.errors import InputError, refusal
from pyasp.evaluation import metrics
from pyasp.kaldi import ArkWriter


def test_an_archive_on_a_full_disk_is_not_taken_for_complete(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    copied = OSError(errno.ENOSPC, "No space left on device", "source", None, "target")  # as shutil.copyfile's
    assert str(refusal(copied)).startswith("target: found a full disk")
    with pytest.raises(InputError, match=r"feats.ark: found a full disk \(No space left on device\).*Make room"):
        with ArkWriter(tmp_path / "feats.ark", tmp_path / "feats.scp") as writer:
            writer.write("a", np.ones((3, 2), np.float32))
            monkeypatch.setattr(writer, "write", full)
            writer.write("b", np.ones((3, 2), np.float32))
    assert not list(tmp_path.iterdir())


def test_a_preparation_on_a_full_disk_says_so_and_leaves_no_marker(tmp_path, monkeypatch, capsys):
    tree, data, sync = make_tree(tmp_path / "own"), tmp_path / "data", files.sync

    def full(path):
        if "cuts" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        sync(path)

    monkeypatch.setattr(files, "sync", full)
    assert prep_folder.main(["--root", str(tree), "--data", str(data), "--eval-fraction=0.4"]) == 1
    refused(capsys, "No space left on device", "cuts.jsonl.gz")
    assert not (data / "prep.json").exists() and not (data / "train/cuts.jsonl.gz").exists()
    monkeypatch.setattr(files, "sync", sync)
    assert prep_folder.main(["--root", str(tree), "--data", str(data), "--eval-fraction=0.4"]) == 0


def test_metrics_need_memory_for_the_scores_and_not_for_scores_times_thresholds():
    """300 000 scores: a table of scores and thresholds would have 90 billion entries."""
    rng = np.random.default_rng(0)
    scores, target = rng.normal(0, 1, 300000), np.arange(300000) < 3000
    scores[target] += 2
    tracemalloc.start()
    counts = metrics.error_counts(*metrics.split(scores, target))
    found = metrics.eer_rocch(counts), metrics.min_dcf(counts, 0.01)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.14 < found[0] < 0.18 and 0 < found[1] < 1 and peak < 60 * 300000

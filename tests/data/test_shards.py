"""Shards: the same for any number of jobs, complete or absent, and a merge that loses nothing silently."""

from pathlib import Path

import numpy as np
import pytest

from pyasp.core.errors import InputError
from pyasp.core.records import made_path
from pyasp.data import shards as module
from pyasp.data.datadir import DataDir, read_table
from pyasp.data.shards import MARKS, JobOptions, check_counts, merge, run_shards, shards, shards_of_job
from pyasp.kaldi import ScpReader


@pytest.mark.parametrize("total", [0, 1, 7, 8, 9, 100, 15999, 16001, 1_200_000])
def test_shards_cover_everything_once_whatever_the_jobs(total):
    whole = shards(total)
    assert [s.number for s in whole] == list(range(1, len(whole) + 1))
    assert sum(s.end - s.start for s in whole) == total and all(a.end == b.start for a, b in zip(whole, whole[1:]))
    assert all(0 < s.end - s.start <= 2000 for s in whole)
    for count in (1, 3, 50):
        parts = [s for job in range(1, count + 1) for s in shards_of_job(total, JobOptions(job, count))]
        assert sorted(parts, key=lambda s: s.number) == whole


def test_a_job_out_of_range():
    with pytest.raises(InputError, match="--job 3"):
        shards_of_job(5, JobOptions(3, 2))


@pytest.fixture
def data(tmp_path):
    directory = DataDir(tmp_path / "data")
    directory.write_speakers({f"s{k % 4}-u{k:02d}": f"s{k % 4}" for k in range(20)})
    return directory


CALLS = []


def compute(utts, fail=()):
    for utt in utts:
        CALLS.append(utt)
        failed = {"failed": "no sound"} if utt in fail else {"length": str(len(utt))}
        yield utt, None if utt in fail else np.full(3, int(utt[-2:]), dtype=np.float32), failed


def run(data, tmp_path, jobs=1, reuse="", fail=(), force=False, size=1):
    prefix = str(tmp_path / "out" / "x")
    (tmp_path / "out").mkdir(exist_ok=True)
    for job in range(1, jobs + 1):
        run_shards(
            data,
            JobOptions(job, jobs, reuse, force),
            prefix,
            lambda: {"tool": "test", "options": {"size": size}, "inputs": [data / "utt2spk"]},
            lambda utts: compute(utts, fail),
        )
    return prefix


def content(path):
    return {utt: vector.tolist() for utt, vector in ScpReader(path).items()}


def test_any_number_of_jobs_gives_the_same_files(data, tmp_path):
    files = []
    for jobs in (1, 3):
        prefix = run(data, tmp_path, jobs, force=True)
        merge(data, prefix, "", {"length": str(tmp_path / "utt2length")}, str(tmp_path / "all.scp"), force=True)
        files.append({p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()})
        for path in (tmp_path / "out").iterdir():
            path.unlink()
    assert files[0] == files[1]
    assert read_table(tmp_path / "utt2length") == {utt: "6" for utt in sorted(data.utt2spk)}


def test_finished_shards_are_kept_and_lost_ones_made_again(data, tmp_path):
    prefix = run(data, tmp_path)
    CALLS.clear()
    (tmp_path / "out" / "x.3.scp").unlink()
    run(data, tmp_path)
    assert 0 < len(CALLS) < 20 and set(CALLS) == set(read_table(tmp_path / "out" / "x.3.length"))
    merge(data, prefix, "", {}, str(tmp_path / "all.scp"), False)
    assert content(tmp_path / "all.scp") == {utt: [float(utt[-2:])] * 3 for utt in data.utt2spk}


@pytest.mark.parametrize("moment", ["_asides", "_files", "link_or_copy", "remove_tree"])
@pytest.mark.parametrize("before", [0, 2])
def test_jobs_that_begin_at_the_same_instant_share_what_is_kept_of_earlier_shards(
    tmp_path, monkeypatch, moment, before
):
    """The other job comes first, and replaces a shard, in the midst of this one's beginning."""
    prefix, found = str(tmp_path / "x"), []
    for shard in range(1, before + 1):
        for kind, text in (("scp", f"u{shard} x.{shard}.ark:3\n"), (MARKS, f"u{shard} old\n"), ("ark", "")):
            (tmp_path / f"x.{shard}.{kind}").write_text(text)
    (tmp_path / "x.earlier.older").mkdir()
    function = getattr(module, moment)

    def meanwhile(*words):
        monkeypatch.setattr(module, moment, function)
        found.append(module.Earlier(prefix, {"options": 1}))
        (tmp_path / "x.1.scp").unlink(missing_ok=True)
        return function(*words)

    monkeypatch.setattr(module, moment, meanwhile)
    found.append(module.Earlier(prefix, {"options": 1}))
    assert [[first for first, _ in each._shards] for each in found[-2:]] == [[b"u1", b"u2"][:before]] * 2 or not before
    asides = list(tmp_path.glob("*earlier*"))
    assert len(asides) == 1 and len(list(asides[0].glob("*.scp"))) == before


def test_changed_settings_are_an_error_without_force(data, tmp_path):
    run(data, tmp_path)
    with pytest.raises(InputError, match="out-of-date artefact.*--size: 1 -> 2"):
        run(data, tmp_path, size=2)
    CALLS.clear()
    run(data, tmp_path, size=2, force=True)
    assert len(CALLS) == 20


def test_utterances_of_another_set_are_copied_not_computed(data, tmp_path):
    prefix = run(data, tmp_path)
    (tmp_path / "first").mkdir()
    merge(
        data, prefix, "", {"length": str(tmp_path / "first" / "utt2length")}, str(tmp_path / "first" / "x.scp"), False
    )
    more = DataDir(tmp_path / "more")
    more.write_speakers({**data.utt2spk, "s9-u99": "s9"})
    CALLS.clear()
    (tmp_path / "second").mkdir()
    reuse = str(tmp_path / "first" / "x.scp")
    second = run(more, tmp_path / "second", reuse=reuse)
    merge(
        more,
        second,
        reuse,
        {"length": str(tmp_path / "second" / "utt2length")},
        str(tmp_path / "second" / "x.scp"),
        False,
    )
    assert CALLS == ["s9-u99"] and len(content(tmp_path / "second" / "x.scp")) == 21
    assert len(read_table(tmp_path / "second" / "utt2length")) == 21


def test_failures_are_counted_and_stop_the_merge_unless_allowed(data, tmp_path):
    prefix = run(data, tmp_path, fail=("s1-u01", "s2-u02"))
    with pytest.raises(InputError, match="2 of 20 utterances failed .first: s1-u01: no sound"):
        merge(data, prefix, "", {}, str(tmp_path / "all.scp"), False)
    assert not (tmp_path / "all.scp").exists()
    merge(data, prefix, "", {}, str(tmp_path / "all.scp"), False, allow_fail_fraction=0.1)
    assert len(content(tmp_path / "all.scp")) == 18
    assert "s1-u01\tno sound" in (data / "dropped.tsv").read_text()
    (data / "dropped.tsv").unlink()  # as a preparation that is made again does
    merge(data, prefix, "", {}, str(tmp_path / "all.scp"), False, allow_fail_fraction=0.1)
    assert "s1-u01\tno sound" in (data / "dropped.tsv").read_text()


def test_a_merge_says_what_it_did_or_that_there_is_nothing_to_do(data, tmp_path, capsys):
    prefix = run(data, tmp_path)
    for told, other in (("done 20 of 20, 0 failed", "up to date"), ("up to date", "done")):
        capsys.readouterr()
        merge(data, prefix, "", {}, str(tmp_path / "all.scp"), False)
        said = capsys.readouterr().err
        assert f"all.scp: {told}" in said and other not in said


def test_a_missing_shard_is_named(data, tmp_path):
    prefix = run(data, tmp_path, jobs=2)
    (tmp_path / "out" / "x.5.scp").unlink()
    with pytest.raises(InputError, match="x.5.scp: found no such file; expected shard 5 of 8"):
        merge(data, prefix, "", {}, str(tmp_path / "all.scp"), False)


def test_every_shard_has_its_record(data, tmp_path):
    run(data, tmp_path)
    assert all(made_path(tmp_path / "out" / f"x.{k}.scp").is_file() for k in range(1, 9))


def test_a_script_file_leads_to_its_archive_from_any_directory(data, tmp_path, monkeypatch):
    """Made with relative names, read elsewhere."""
    monkeypatch.chdir(tmp_path)
    prefix = run(data, Path("."))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = [len(ScpReader(scp)) for scp in sorted((tmp_path / prefix).parent.glob("x.*.scp"))]
    assert len(found) == 8 and sum(found) == 20
    assert all(ScpReader(scp)[key].size == 3 for scp in (tmp_path / "out").glob("x.*.scp") for key in ScpReader(scp))


def test_copies_that_fail_by_their_noise_blame_the_noises_all_of_them():
    """And no recording; with another failure among them, that is the recordings' affair."""
    silent = "n/{}.wav: found silence on its first channel; expected a noise that can be heard. Take it out."
    failed = {f"u{k}": silent.format(k % 2) for k in range(4)}
    with pytest.raises(
        InputError, match=r"4 of 5 .*Repair the noises, or take them out: n/0.wav, n/1.wav\. "
    ) as caught:
        check_counts("feats.scp", ["u0", "u1", "u2", "u3", "u4"], {"u4": "x"}, failed, 0.0)
    assert caught.value.rerun == ("augment", True)
    with pytest.raises(InputError, match="Repair those recordings") as caught:
        check_counts("feats.scp", ["u0", "u1", "u4"], {}, {"u0": failed["u0"], "u1": failed["u1"], "u4": "x: bad"}, 0.0)
    assert caught.value.rerun == ("prepare", True)  # repaired recordings are other files

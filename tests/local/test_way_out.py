"""What a preparation says of files that it cannot use, trees that changed, commands, blanks in paths, and rates."""

import json
import os
import shutil

import numpy as np
import pytest
from prep_trees import SPEAKERS, check_data_dir, make_tree, refused, wav

from local import prep_folder
from local.audio_header import LIST, programs_of
from pyasp.bin.make_mfcc import main as make_mfcc
from pyasp.data.datadir import DataDir
from pyasp.data.shards import merge
from pyasp.kaldi import ScpReader
from pyasp.report.facts import losses


def prepare(data, *options):
    """Exit code of the preparation."""
    return prep_folder.main(["--data", str(data), *map(str, options)])


@pytest.fixture
def tree(tmp_path):
    """Six speakers, two sessions, two takes."""
    return make_tree(tmp_path / "own")


def kaldi(tree, directory, entry):
    """A Kaldi data directory of the tree with these entries in wav.scp; `{}` is a file."""
    directory.mkdir()
    utts = {f"{path.parts[-3]}-{path.parts[-2]}-{path.stem}": path for path in sorted(tree.rglob("*.wav"))}
    DataDir(directory).write("wav.scp", {utt: entry.replace("{}", str(path)) for utt, path in utts.items()})
    DataDir(directory).write_speakers({utt: path.parts[-3] for utt, path in utts.items()})
    return directory


@pytest.mark.parametrize("option", ["--eval-fraction=0", "--eval-fraction=1", "--targets=0", "--nontargets=0"])
def test_options_that_leave_no_trial_are_refused_before_any_work(tree, tmp_path, capsys, option):
    """No share of the speakers is not the two that a test needs at least."""
    assert prepare(tmp_path / "data", "--root", tree, option) == 1
    refused(capsys, f"command line: {option.partition('=')[0]}: found ", "; expected ")
    assert not (tmp_path / "data").exists()


def test_every_bad_file_is_listed(tree, tmp_path, capsys):
    for name in ("spk0/s0/0.wav", "spk3/s1/1.wav"):
        (tree / name).write_text("no audio")
    data = tmp_path / "data"
    assert prepare(data, "--root", tree) == 1
    refused(capsys, "2 failed (first: ", f"all of them in {data / LIST}", "--max-bad")
    listed = [line.split("\t") for line in (data / LIST).read_text().splitlines()]
    assert [row[0] for row in listed] == ["file", str(tree / "spk0/s0/0.wav"), str(tree / "spk3/s1/1.wav")]
    assert all(row[1] for row in listed)
    for number, name in enumerate(("spk0/s0/0.wav", "spk3/s1/1.wav")):
        wav(tree / name, 900 + number)
    assert prepare(data, "--root", tree) == 0 and not (data / LIST).exists()


def test_a_trial_of_a_recording_that_was_left_out_is_told_why(tree, tmp_path, capsys):
    (tmp_path / "list").write_text("spk0/s0/0 spk0/s1/0 target\nspk0/s0/0 spk1/s0/0 nontarget\n")
    (tree / "spk0/s1/0.wav").write_text("nothing")
    assert prepare(tmp_path / "data", "--root", tree, "--max-bad=0.1", "--trials", tmp_path / "list") == 1
    told = f"found 1 recordings that cannot be used (spk0-s1-0: {tree}/spk0/s1/0.wav"
    refused(capsys, told, "Repair them, or take their trials out of the list")


def test_a_recording_too_short_for_a_frame_is_listed_as_a_bad_file_is(tree, tmp_path, capsys):
    wav(tree / "spk3/s1/1.wav", samples=96)
    assert prepare(tmp_path / "data", "--root", tree) == 1
    refused(capsys, "1 failed (first: ", "spk3/s1/1.wav: 0.006 s is shorter than one analysis window", "--max-bad")
    assert prepare(tmp_path / "data", "--root", tree, "--max-bad=0.1") == 0
    utts = {utt for name in ("train", "test") for utt in DataDir(tmp_path / "data" / name).utt2spk}
    assert len(utts) == 23 and not any("s1-1" in utt and "spk3" in utt for utt in utts)


def test_a_changed_tree_is_told_by_the_names_of_its_files(tree, tmp_path, capsys):
    data = tmp_path / "data"
    assert prepare(data, "--root", tree) == 0
    wav(tree / "spk3/new_one.wav", 5)
    assert prepare(data, "--root", tree) == 1
    refused(capsys, "out-of-date", "(1 file more: spk3/new_one.wav)", "--force")
    (tree / "spk0/s0/0.wav").unlink()
    (tree / "spk0/s0/1.wav").unlink()
    assert prepare(data, "--root", tree, "--force=true") == 0
    assert "1 file more: spk3/new_one.wav; 2 files fewer: spk0/s0/0.wav, spk0/s0/1.wav" in capsys.readouterr().err
    assert prepare(data, "--root", tree) == 0


def test_one_file_more_touches_its_own_set_alone(tree, tmp_path, capsys):
    """Files of the other sets are the same bytes: their features, and all that is trained, stay."""
    data, options = tmp_path / "data", ["--sample-frequency=16000", "--allow-upsample=true", "--force=true"]
    assert prepare(data, "--root", tree) == 0
    sets = {name: data / name for name in ("train", "test")}
    for path in sets.values():
        assert make_mfcc([*options, str(path), str(path / "mfcc")]) == 0
    for touched, path in sets.items():
        speaker = next(iter(DataDir(path).spk2utt))
        wav(tree / speaker / "s0/more.wav", 900 + len(touched))
        assert prepare(data, "--root", tree, "--force=true") == 0
        assert any("more" in utt for utt in DataDir(path).utt2spk)
        for name, place in sets.items():
            capsys.readouterr()
            assert make_mfcc([*options, str(place), str(place / "mfcc")]) == 0
            kept = capsys.readouterr().err.count(": up to date")
            assert kept == (0 if name == touched else min(8, len(DataDir(place).utt2spk)))


def test_a_file_replaced_by_one_of_the_same_length_is_told_and_computed_again(tree, tmp_path, capsys):
    """Nothing in a table tells them apart: size and time of the file do. Its features alone are computed."""
    data, settings = tmp_path / "data", ["--sample-frequency=16000", "--allow-upsample=true", "--force=true"]

    def features():
        capsys.readouterr()
        for name in ("train", "test"):
            assert make_mfcc([*settings, str(data / name), str(data / name / "mfcc")]) == 0
            merge(DataDir(data / name), str(data / name / "mfcc"), "", {}, str(data / name / "feats.scp"), True)
        return capsys.readouterr().err

    assert prepare(data, "--root", tree) == 0
    features()
    stored = {name: dict(ScpReader(data / name / "feats.scp")) for name in ("train", "test")}
    old, speaker = os.stat(path := tree / "spk3/s1/1.wav"), "spk3"
    wav(path, 901)
    os.utime(path, ns=(old.st_mtime_ns, old.st_mtime_ns + 1))
    touched = next(name for name in stored if speaker in DataDir(data / name).spk2utt)
    assert os.stat(path).st_size == old.st_size and prepare(data, "--root", tree) == 1
    refused(capsys, "found an out-of-date artefact (1 file replaced: spk3/s1/1.wav)", "--force")
    told = "1 file replaced: spk3/s1/1.wav (since stage prepare): figures may be of what was there before"
    assert losses(tmp_path / "exp", data, []) == [["data", told]]
    assert prepare(data, "--root", tree, "--force=true") == 0 and not losses(tmp_path / "exp", data, [])
    count = len(stored[touched])
    told = features()
    assert f"done {count} of {count}, 0 failed, {count - 1} of them as they were" in told
    for name, feats in stored.items():
        now = ScpReader(data / name / "feats.scp")
        other = [utt for utt in feats if not np.array_equal(feats[utt], now[utt])]
        assert [utt[-4:] for utt in other] == (["s1-1"] if name == touched else [])
    assert prepare(data, "--root", tree) == 0 and "prep.json: up to date" in capsys.readouterr().err
    assert features().count("feats.scp: up to date") == 2
    path.rename(tmp_path / "away.wav")  # and back, while the tree is prepared without it
    assert prepare(data, "--root", tree, "--force=true") == 0
    wav(path, 902)
    assert prepare(data, "--root", tree, "--force=true") == 0
    assert f"{count - 1} of them as they were" in features()


def test_the_same_tree_under_another_name_is_no_other_tree(tree, tmp_path, capsys, monkeypatch):
    data, link = tmp_path / "data", tmp_path / "link"
    os.symlink(tree, link)
    assert prepare(data, "--root", tree) == 0
    monkeypatch.chdir(tmp_path)
    for name in (f"{tree}/", f"{tree}/../{tree.name}", link, tree.name):
        capsys.readouterr()
        assert prepare(data, "--root", name) == 0 and "prep.json: up to date" in capsys.readouterr().err
    wav(tree / "spk3/new_one.wav", 5)
    assert prepare(data, "--root", link) == 1
    refused(capsys, "found an out-of-date artefact (1 file more: spk3/new_one.wav)", "--force")
    link.unlink()
    shutil.copytree(tree, link)
    assert prepare(data, "--root", link) == 1  # another tree of the same files


def test_paths_in_tables_written_by_a_preparation_work_from_anywhere(tree, tmp_path, monkeypatch):
    """Relative ones mean what the directory means in which the command was typed."""
    entries = kaldi(tree, tmp_path / "k", "{}").joinpath("wav.scp")
    entries.write_text(entries.read_text().replace(f"{tmp_path}/", ""))
    monkeypatch.chdir(tmp_path)
    assert prepare("a", "--root", "own") == 0 and prepare("b", "--kaldi-data", "k") == 0
    for name in ("a/train", "b/train"):
        assert all(os.path.isabs(path) for path in DataDir(name).read("wav.scp").values())
        check_data_dir(name, 16, 4)


def test_paths_in_somebodys_tables_are_relative_to_where_the_run_was_called(tree, tmp_path, monkeypatch):
    """run.sh works in its own directory, and says where it was called."""
    entries = kaldi(tree, tmp_path / "k", "cat {} |").joinpath("wav.scp")
    entries.write_text(entries.read_text().replace(f"{tmp_path}/", ""))
    monkeypatch.setenv("PYASP_CALLER", str(tmp_path))
    assert prepare(tmp_path / "data", "--kaldi-data", tmp_path / "k") == 0
    check_data_dir(tmp_path / "data/train", 16, 4)


@pytest.mark.parametrize(
    "entry",
    [
        "'{}'",
        "{}",
        "cat '{}' |",
        "flac -c -d -s '{}' |",
        "sph2pipe -f wav -p -c 1 '{}' |",
        "sox '{}' -t wav - remix 1 |",
    ],
)
def test_paths_with_blanks_are_read_directly(tmp_path, entry):
    """Quoted in commands, as the recipe itself writes them, and plain as Kaldi takes them."""
    tree = make_tree(tmp_path / "my own")
    found = prepare(tmp_path / "data", "--kaldi-data", kaldi(tree, tmp_path / "k", entry))
    assert found == (1 if entry == "'{}'" else 0)  # Kaldi knows no quotes around a plain file
    if not found:
        check_data_dir(tmp_path / "data/train", 16, 4)


def test_what_the_preparation_writes_it_reads_again(tmp_path):
    """Its own wav.scp as --kaldi-data: blanks, two channels, and FLAC."""
    import numpy as np
    import soundfile

    tree = make_tree(tmp_path / "my own")
    for path in tree.rglob("*.wav"):
        samples, rate = soundfile.read(path, dtype="int16")
        if path.stem == "0":
            soundfile.write(path.with_suffix(".flac"), samples, rate)
            path.unlink()
        else:
            soundfile.write(path, np.stack([samples, 0 * samples], 1), rate)
    assert prepare(tmp_path / "one", "--root", tree) == 0
    (tmp_path / "one/train/cuts.jsonl.gz").unlink()
    assert prepare(tmp_path / "two", "--kaldi-data", tmp_path / "one/train", "--eval-fraction=0.5") == 0
    entries = {}
    for name in ("train", "test"):
        entries.update(DataDir(tmp_path / "two" / name).read("wav.scp"))
    assert entries == DataDir(tmp_path / "one/train").read("wav.scp")


def test_commands_run_only_when_they_are_allowed(tree, tmp_path, capsys):
    directory = kaldi(tree, tmp_path / "k", f"cat {{}} | tee -a {tmp_path}/ran |")
    assert prepare(tmp_path / "data", "--kaldi-data", directory) == 1
    refused(capsys, "the command", "--allow-commands")
    assert not (tmp_path / "ran").exists()
    assert prepare(tmp_path / "data", "--kaldi-data", directory, "--allow-commands=true") == 0
    train = DataDir(tmp_path / "data/train")
    assert all(entry.endswith(f"{tmp_path}/ran |") for entry in train.read("wav.scp").values())
    assert set(train.read("utt2dur").values()) == {"0.1000"}
    options = ["--sample-frequency=16000", "--dither=0", str(train.path), str(tmp_path / "x")]
    assert make_mfcc(["--allow-commands=true", *options]) == 0
    assert sum(len(path.read_text().splitlines()) for path in tmp_path.glob("x.*.failed")) == 0
    assert sum(len(path.read_text().splitlines()) for path in tmp_path.glob("x.*.scp")) == 16


def test_programs_of_commands_are_looked_for_before_any_is_run(tree, tmp_path, capsys):
    entry = f"touch {tmp_path}/ran && (cd / ; cat {{}}) | no-such-sox -t wav - -t wav - speed 0.9 |"
    directory = kaldi(tree, tmp_path / "k", entry)
    assert prepare(tmp_path / "data", "--kaldi-data", directory, "--allow-commands=true") == 1
    refused(capsys, "wav.scp: touch ", "found no no-such-sox on PATH", "Install no-such-sox, or convert")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "command, programs",
    [
        ("sox -t flac 'a b.flac' -t wav - speed 0.9", ["sox"]),
        ("sph2pipe -f wav x.sph | sox - -r 8k -t wav -", ["sph2pipe", "sox"]),
        ("cd /x && ./decode 'a | b' || (cat y; echo z)", ["cd", "cat", "echo"]),
        ("PATH=/x:$PATH decode x | sox - y", []),
        ("LC_ALL=C $HOME/decode x", []),  # bash alone knows
        ("quotes 'that do not pair", []),
    ],
)
def test_the_programs_that_a_command_starts(command, programs):
    assert programs_of(command) == programs


def test_a_command_that_fails_is_told(tree, tmp_path, capsys):
    directory = kaldi(tree, tmp_path / "k", "echo broken >&2; false {} |")
    assert prepare(tmp_path / "data", "--kaldi-data", directory, "--allow-commands=true") == 1
    refused(capsys, "24 failed", "exit code 1 (broken)")
    directory = kaldi(tree, tmp_path / "half", "head -c 2000 {} |")
    assert prepare(tmp_path / "data", "--kaldi-data", directory, "--allow-commands=true") == 1
    refused(capsys, "24 failed", "1956 bytes of samples (truncated); expected 3200")


def test_rates_are_counted_and_low_ones_said(tree, tmp_path, capsys):
    for name in ("0", "1"):
        wav(tree / f"spk2/s1/{name}.wav", 7 + int(name), 800, rate=8000)
    assert prepare(tmp_path / "data", "--root", tree, "--rate=16000") == 0
    said = capsys.readouterr().out
    assert "recordings by rate: 2 8000 Hz, 22 16000 Hz" in said
    assert "warning of rates: 2 of 24 recordings have a lower rate than the features, 16000 Hz" in said
    assert f"(first: {tree}/spk2/s1/0.wav), and hold 2 of 8000 Hz nothing above 4000 Hz" in said
    assert json.loads((tmp_path / "data/prep.json").read_text())["recordings by rate"] == {"8000 Hz": 2, "16000 Hz": 22}
    for number, path in enumerate(tree.rglob("*.wav")):
        wav(path, number, 800, rate=8000)
    assert prepare(tmp_path / "other", "--root", tree, "--rate=16000") == 0
    assert "24 of 24 recordings have a lower rate" in capsys.readouterr().out
    for take in (0, 1):
        wav(tree / f"spk4/s0/{take}.wav", take, 800, rate=11025)
    assert prepare(tmp_path / "third", "--root", tree, "--rate=16000") == 0
    said = capsys.readouterr().out
    assert "and hold 22 of 8000 Hz nothing above 4000 Hz, 2 of 11025 Hz nothing above 5512 Hz; give --conf" in said


def test_own_data_of_a_lower_rate_is_resampled(tree, tmp_path):
    """conf/folder takes what the preparation has counted."""
    for number, speaker in enumerate(SPEAKERS):
        wav(tree / speaker / "s0/0.wav", number, 1600, rate=8000)
    assert prepare(tmp_path / "data", "--root", tree) == 0
    train = tmp_path / "data/train"
    assert make_mfcc(["--config=conf/folder/mfcc.conf", str(train), str(tmp_path / "x")]) == 0
    assert not "".join(path.read_text() for path in tmp_path.glob("x.*.failed"))


def test_a_preparation_that_cannot_be_made_leaves_the_old_one(tmp_path, capsys):
    """Nothing is removed before it is known that the new one works."""
    root = tmp_path / "audio"
    for place, speaker in enumerate(("ann", "bob", "cid", "dan")):
        for number in range(3):
            wav(root / speaker / f"{number}.wav", 3 * place + number)
    words = ["--root", str(root), "--data", str(tmp_path / "data"), "--eval-fraction=0.5"]
    assert prep_folder.main(words) == 0
    before = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file())
    (root / "ann/0.wav").write_bytes(b"")
    capsys.readouterr()
    assert prep_folder.main([*words, "--seed=2", "--force"]) == 1 and "1 failed" in capsys.readouterr().err
    assert set(before) <= set((tmp_path / "data").rglob("*"))


def test_a_percentage_is_no_fraction(capsys):
    assert prep_folder.main(["--max-bad=20"]) == 1
    assert "--max-bad: found 20; expected 0 to 1. Give a fraction: 0.2 is a fifth" in capsys.readouterr().err

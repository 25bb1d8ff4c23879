"""lhotse manifests and Kaldi data directories as sources of own data: stretches, channels, columns, and no commands."""

import gzip
import json
import subprocess
import sys

import lhotse
import numpy as np
import pytest
import soundfile
from lhotse import AudioSource
from prep_trees import SPEAKERS, check_data_dir, make_tree, refused, sph, trial_lines

from local import prep_folder
from pyasp.audio.cuts import read_samples
from pyasp.bin.data import main as data_verb
from pyasp.data.datadir import DataDir
from pyasp.data.manifests import read_jsonl, write_jsonl


def prepare(data, *options):
    """Exit code of the preparation."""
    return prep_folder.main(["--data", str(data), *map(str, options)])


@pytest.fixture
def tree(tmp_path):
    """Six speakers, two sessions, two takes."""
    return make_tree(tmp_path / "own")


def manifests(tree, directory):
    """lhotse manifests of the tree: one recording a session (both takes in it), one supervision a take.

    spk0 is on channel 1 of two.
    """
    recordings, supervisions = [], []
    for speaker in SPEAKERS:
        for session in ("s0", "s1"):
            takes = [soundfile.read(tree / speaker / session / f"{take}.wav")[0] for take in (0, 1)]
            path, whole = directory / f"{speaker}-{session}.wav", np.concatenate(takes)
            directory.mkdir(exist_ok=True)
            soundfile.write(path, np.stack([0 * whole, whole], 1) if speaker == "spk0" else whole, 16000)
            recordings.append(lhotse.Recording.from_file(path))
            supervisions += [
                lhotse.SupervisionSegment(
                    f"{speaker}-{session}-{take}",
                    path.stem,
                    0.1 * take,
                    0.1,
                    int(speaker == "spk0"),
                    speaker=speaker,
                    gender="female",
                    custom={"session": session},
                )
                for take in (0, 1)
            ]
    lhotse.RecordingSet.from_recordings(recordings).to_file(directory / "recordings.jsonl.gz")
    lhotse.SupervisionSet.from_segments(supervisions).to_file(directory / "supervisions.jsonl.gz")
    return "--recordings", directory / "recordings.jsonl.gz", "--supervisions", directory / "supervisions.jsonl.gz"


def samples_of(data):
    """{utterance: samples at 16 kHz} through the reader of the feature stage."""
    return {cut.id: read_samples(cut.to_dict(), 16000) for cut in lhotse.CutSet.from_file(data / "cuts.jsonl.gz")}


def test_lhotse_manifests_keep_stretches_channels_and_columns(tree, tmp_path):
    assert prepare(tmp_path / "data", *manifests(tree, tmp_path / "lhotse"), "--eval-fraction=0.4") == 0
    for name, count in (("train", 16), ("test", 8)):
        data = check_data_dir(tmp_path / "data" / name, count, count // 4)
        assert set(data.read("spk2gender").values()) == {"f"} and {row["session"] for row in data.info.values()} == {
            "s0",
            "s1",
        }
        assert data.read("segments")
        for utt, heard in samples_of(data).items():
            wanted = soundfile.read(tree.joinpath(*utt.split("-")).with_suffix(".wav"), dtype="int16")[0]
            assert np.array_equal(heard, wanted), utt


def test_a_supervision_that_ends_before_it_begins_is_named_and_may_be_left_out(tree, tmp_path, capsys):
    """Before anything is written: no later stage could say where it came from."""
    options = manifests(tree, tmp_path / "m")
    items = list(read_jsonl(options[3]))
    items[0] |= {"duration": -0.05}
    write_jsonl(options[3], items)
    assert prepare(tmp_path / "data", *options) == 1
    told = f"{items[0]['id']}: found 1 utterances outside of their recordings"
    refused(capsys, told, "found 0.000 s to -0.050 s of a recording of 0.200 s", "--max-bad")
    assert not (tmp_path / "data/train").exists()
    assert prepare(tmp_path / "data", *options, "--max-bad=0.2") == 0
    dropped = "".join(path.read_text() for path in (tmp_path / "data").glob("*/dropped.tsv"))
    assert f"{items[0]['id']}\t" in dropped and "0.000 s to -0.050 s" in dropped


def test_recordings_of_no_supervision_are_counted(tree, tmp_path, capsys):
    options = manifests(tree, tmp_path / "lhotse")
    kept = [each for each in lhotse.SupervisionSet.from_file(options[3]) if each.recording_id != "spk5-s1"]
    lhotse.SupervisionSet.from_segments(kept).to_file(options[3])
    assert prepare(tmp_path / "data", *options) == 0
    assert "recordings.jsonl.gz: 1 recordings are of no supervision (first: spk5-s1)" in capsys.readouterr().out


def test_manifests_that_do_not_fit_are_refused(tree, tmp_path, capsys):
    options = manifests(tree, tmp_path / "lhotse")
    assert prepare(tmp_path / "data", *options[:2]) == 1
    refused(capsys, "only one of --recordings and --supervisions")
    segment = lhotse.SupervisionSegment("spk0-x", "no-such-recording", 0, 1, speaker="spk0")
    lhotse.SupervisionSet.from_segments([segment]).to_file(options[3])
    assert prepare(tmp_path / "data", *options) == 1
    refused(capsys, "no-such-recording", "spk0-x")
    options[1].write_text("not gzip")
    assert prepare(tmp_path / "data", *options) == 1
    refused(capsys, "recordings.jsonl.gz", "no whole gzip file")


def changed(options, which, change):
    """Manifests of which `change` has altered the objects of one, a list."""
    objects = list(read_jsonl(options[which]))
    change(objects)
    write_jsonl(options[which], objects)


BROKEN = {
    "channel that is not there": (3, lambda s: s[4].update(channel=[0, 1]), "channel [0, 1]; expected channels of its recording spk1-s0, [0]"),
    "ends before it begins": (3, lambda s: s[6].update(duration=-1), "found 0.000 s to -1.000 s of a recording of 0.200 s"),
    "before the start": (3, lambda s: s[6].update(start=-0.2), "found -0.200 s to -0.100 s of a recording of 0.200 s; expected one from 0 s"),
    "speaker a number": (3, lambda s: s[3].update(speaker=3), 'found speaker 3; expected a text, as lhotse writes speaker. Write it in quotes: "3"'),
    "start a text": (3, lambda s: s[3].update(start="0.0"), 'found start "0.0"; expected a number, as lhotse writes start'),
    "no length": (1, lambda r: r[0].pop("num_samples"), "found no num_samples; expected a whole number, as lhotse writes"),
    "an address": (1, lambda r: r[0]["sources"][0].update(type="url"), "a source of type 'url'; expected a file"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_with_an_entry_of_a_manifest_is_told(tree, tmp_path, capsys, what):
    options = manifests(tree, tmp_path / "m")
    which, change, told = BROKEN[what]
    changed(options, which, change)
    assert prepare(tmp_path / "data", *options) == 1
    refused(capsys, told)


def test_a_damaged_line_of_a_manifest_is_no_line_to_convert(tree, tmp_path, capsys):
    """lhotse copy leaves the lines before it, and half a corpus."""
    options = manifests(tree, tmp_path / "m")
    lines = gzip.decompress(options[3].read_bytes()).splitlines()
    options[3].write_bytes(gzip.compress(b"\n".join([*lines[:5], lines[5][:30], *lines[6:]])))
    assert prepare(tmp_path / "data", *options) == 1
    told = refused_line(capsys)
    assert (
        "line 6: found broken JSON" in told and "make or copy the manifest again" in told and "lhotse copy" not in told
    )
    options[3].write_bytes(gzip.compress(b"[" + b",".join(lines) + b"]"))
    assert prepare(tmp_path / "data", *options) == 1
    assert "Write it so, after . ./path.sh: lhotse copy OLD.json NEW.jsonl.gz" in refused_line(capsys)


def refused_line(capsys):
    """The one line of an error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_recordings_that_nothing_leads_to_are_told(tree, tmp_path, capsys):
    options = manifests(tree, tmp_path / "m")
    changed(options, 3, lambda supervisions: supervisions.__delitem__(slice(-2, None)))
    assert prepare(tmp_path / "lhotse", *options) == 0
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    lines = (kaldi / "utt2spk").read_text().splitlines(keepends=True)
    (kaldi / "utt2spk").write_text("".join(lines[1:]))
    assert prepare(tmp_path / "one", "--kaldi-data", kaldi) == 0
    (kaldi / "segments").write_text("".join(f"{line.split()[0]} {line.split()[0]} 0 0.1\n" for line in lines))
    assert prepare(tmp_path / "two", "--kaldi-data", kaldi) == 0
    capsys.readouterr()
    left, first = "1 recordings of wav.scp are of no utterance", "(first: spk0-s0-0)"
    told = {
        "lhotse": ["recordings.jsonl.gz: 1 recordings are of no supervision (first: spk5-s1)"],
        "one": [f"{left} {first}"],
        "two": [f"{left} {first}", f"1 segments are of no utterance of utt2spk {first}"],
    }
    for name, lines in told.items():
        warnings = json.loads((tmp_path / name / "prep.json").read_text())["warnings"]
        assert len(warnings) == len(lines) and all(each.endswith(line) for each, line in zip(warnings, lines))


@pytest.mark.parametrize("entry", ["", None])
def test_an_entry_of_wav_scp_without_a_path_is_told(tree, tmp_path, capsys, entry):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    first, *lines = (kaldi / "wav.scp").read_text().splitlines(keepends=True)
    (kaldi / "wav.scp").write_text("".join([f"{first.split()[0]}\n"] * (entry == "") + lines))
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == 1
    refused(capsys, "kaldi: found no path in wav.scp, or no segment, of spk0-s0-0", f"pyasp data fix {kaldi} leaves")
    assert data_verb(["fix", str(kaldi)]) == 0 and prepare(tmp_path / "data", "--kaldi-data", kaldi) == 0


def kaldi_dir(tree, directory, speakers=SPEAKERS, entry="{}"):
    """A Kaldi data directory over the tree's takes."""
    directory.mkdir(parents=True, exist_ok=True)
    utts = [(speaker, session, take) for speaker in speakers for session in ("s0", "s1") for take in "01"]
    (directory / "wav.scp").write_text(
        "".join(f"{s}-{n}-{t} " + entry.replace("{}", str(tree / s / n / f"{t}.wav")) + "\n" for s, n, t in utts)
    )
    (directory / "utt2spk").write_text("".join(f"{s}-{n}-{t} {s}\n" for s, n, t in utts))
    (directory / "spk2gender").write_text("".join(f"{speaker} f\n" for speaker in speakers))
    return directory


def test_a_kaldi_directory_is_a_pool(tree, tmp_path, capsys):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    data = check_data_dir(tmp_path / "data/train", 16, 4)
    assert set(data.read("spk2gender").values()) == {"f"} and "is none of" not in capsys.readouterr().out
    (kaldi / "spk2gender").write_text("".join(f"{speaker} w\n" for speaker in SPEAKERS))
    assert prepare(tmp_path / "other", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    assert "the gender of 6 speakers is none of m f male female (w)" in capsys.readouterr().out
    assert not DataDir(tmp_path / "other/train").has("spk2gender")


def test_what_of_a_kaldi_directory_is_passed_over_is_said(tree, tmp_path, capsys):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    assert "not used" not in capsys.readouterr().out
    for name in ("feats.scp", "vad.scp", "utt2dur", "text", "utt2age", ".hidden"):
        (kaldi / name).write_text("x y\n")
    (kaldi / "spk2utt").write_text("w999 spk0-s0-0\n")
    with open(kaldi / "wav.scp", "a") as stream:
        stream.write(f"zz {tree}/spk0/s0/0.wav\n")
    assert prepare(tmp_path / "other", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    said = capsys.readouterr().out
    for told in (
        "feats.scp, utt2dur, vad.scp not used: features are made anew from the recordings",
        "text, utt2age not used: nothing here reads such tables",
        "1 recordings of wav.scp are of no utterance (first: zz)",
        "spk2utt is not what utt2spk says, which counts (pyasp data fix makes it anew)",
    ):
        assert f"{kaldi}: {told}\n" in said
    (kaldi / "spk2utt").unlink()
    utts = list(DataDir(kaldi).utt2spk)
    (kaldi / "segments").write_text("".join(f"{utt} {utt} 0 0.05\n" for utt in [*utts, "zz"]))
    assert prepare(tmp_path / "third", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    said = capsys.readouterr().out
    assert "1 segments are of no utterance of utt2spk (first: zz)" in said and "spk2utt" not in said


def test_kaldi_segments_are_cut_out(tree, tmp_path):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    utts = (kaldi / "utt2spk").read_text().splitlines()
    (kaldi / "segments").write_text("".join(f"{line.split()[0]}-a {line.split()[0]} 0.025 0.075\n" for line in utts))
    (kaldi / "utt2spk").write_text("".join("{0}-a {1}\n".format(*line.split()) for line in utts))
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    data = check_data_dir(tmp_path / "data/test", 8, 2)
    for utt, heard in samples_of(data).items():
        whole = soundfile.read(tree.joinpath(*utt[:-2].split("-")).with_suffix(".wav"), dtype="int16")[0]
        assert np.array_equal(heard, whole[400:1200])


def test_kaldi_sets_and_their_trials_are_taken_over(tree, tmp_path):
    top = tmp_path / "kaldi"
    kaldi_dir(tree, top / "train", SPEAKERS[:4])
    kaldi_dir(tree, top / "enroll", SPEAKERS[4:])
    kaldi_dir(tree, top / "test", SPEAKERS[4:])
    (top / "test/trials").write_text("spk4 spk4-s1-0 target\nspk4-s0-0 spk5-s1-0 nontarget\n")
    assert prepare(tmp_path / "data", "--kaldi-data", top) == 0
    assert check_data_dir(tmp_path / "data/enroll", 8, 2).model2utts["spk4"] == [
        f"spk4-s{n}-{t}" for n in "01" for t in "01"
    ]
    assert trial_lines(tmp_path / "data", "trials") == [
        ["spk4", "spk4-s1-0", "target"],
        ["spk4-s0-0", "spk5-s1-0", "nontarget"],
    ]


@pytest.mark.parametrize("command, good", [("sph2pipe -f wav -p -c 2 {}", True), ("touch {}.ran; cat {}", False)])
def test_commands_of_lhotse_sources_are_read_directly_or_refused(tree, tmp_path, capsys, command, good):
    """A source that decodes one side of a call, as lhotse's recipes for telephone speech write it."""
    options, recordings, supervisions = manifests(tree, tmp_path / "m"), [], []
    for index, speaker in enumerate(SPEAKERS):
        for take in (0, 1):
            path = tmp_path / "calls" / f"{speaker}-{take}.sph"
            sph(path)
            whole = AudioSource("command", [0], command.format(path, path))
            recordings.append(lhotse.Recording(path.stem, [whole], 8000, 1600, 0.2))
            supervisions.append(lhotse.SupervisionSegment(path.stem, path.stem, 0, 0.2, 0, speaker=speaker))
    lhotse.RecordingSet.from_recordings(recordings).to_file(options[1])
    lhotse.SupervisionSet.from_segments(supervisions).to_file(options[3])
    assert prepare(tmp_path / "data", *options, "--eval-fraction=0.4") == (0 if good else 1)
    if good:
        train = check_data_dir(tmp_path / "data/train", 8, 4)
        assert {entry.split()[5] for entry in train.read("wav.scp").values()} == {"2"}
    else:
        refused(capsys, "the command", "a preparation runs no commands")
        assert not list(tmp_path.rglob("*.ran"))


@pytest.mark.parametrize("entry", ["cat {} |", "flac -c -d -s {} |", "sph2pipe -f wav -p -c 1 {} |"])
def test_commands_that_only_decode_are_read_directly(tree, tmp_path, entry):
    assert (
        prepare(
            tmp_path / "data", "--kaldi-data", kaldi_dir(tree, tmp_path / "kaldi", entry=entry), "--eval-fraction=0.4"
        )
        == 0
    )
    check_data_dir(tmp_path / "data/train", 16, 4)


@pytest.mark.parametrize(
    "entry",
    [
        "touch {}.ran; cat {} |",
        "cat {} && touch x |",
        "sox {} -t wav - |",
        "sph2pipe -p $(touch x) {} |",
        "cat {};touch${IFS}x |",
    ],
)
def test_other_commands_are_refused_and_never_run(tree, tmp_path, capsys, monkeypatch, entry):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    kaldi = kaldi_dir(tree, tmp_path / "kaldi", entry=entry)
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == 1
    refused(capsys, "the command")
    assert not [path for path in set(tmp_path.rglob("*")) - before if path.name.endswith(("ran", "x"))]


HIDDEN = "touch {where}/ran; cat {file} |"


NEVER = ["train", "test", "enroll", "file source"]  # entries of wav.scp are the user's own commands, once allowed


@pytest.mark.parametrize(
    "name, allowed",
    [(name, allowed) for allowed in (False, True) for name in [*NEVER, *["decoded", "quoted |"][allowed * 2 :]]],
)
def test_a_path_in_somebodys_data_never_becomes_a_command(tree, tmp_path, capsys, name, allowed):
    """Of a table, of a manifest's file, or what a recognised command decodes: nothing runs, nothing is written."""
    command = HIDDEN.format(where=tmp_path, file=tree / "spk0/s0/0.wav")
    if name == "file source":
        options = manifests(tree, tmp_path / "m")
        recordings = [each.to_dict() for each in lhotse.RecordingSet.from_file(options[1])]
        recordings[3]["sources"][0]["source"] = command
        lhotse.RecordingSet.from_dicts(recordings).to_file(options[1])
    elif name in ("decoded", "quoted |"):
        entry = {"decoded": f"cat '{command}' |", "quoted |": f"flac -c -d -s '{command[:-1]}|' |"}[name]
        options = "--kaldi-data", kaldi_dir(tree, tmp_path / "kaldi", entry=entry)
    else:
        rows = [(f"{s}-{t}", s, f"{s}/s0/{t}.wav", s) for s in SPEAKERS for t in "01"]
        for each, some in (("train", rows[:6]), ("test", rows[6:]), ("enroll", rows[6:])):
            some = [(*row[:2], command, row[3]) if each == name and not i else row for i, row in enumerate(some)]
            lines = [("utt", "speaker", "path", "model"), *some]
            (tmp_path / f"{each}.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
        options = "--tables", tmp_path, "--root", tree
    data = tmp_path / "data"
    assert prepare(data, *options, *["--allow-commands"] * allowed) == 1
    refused(capsys, "found the command '", "; expected a file", "a preparation runs no commands")
    assert not (tmp_path / "ran").exists() and not list(data.glob("*/wav.scp"))


def test_no_file_of_a_manifest_becomes_a_command_of_wav_scp(tree, tmp_path, capsys):
    options = manifests(tree, tmp_path / "m")
    recordings = [each.to_dict() for each in lhotse.RecordingSet.from_file(options[1])]
    recordings[3]["sources"][0]["source"] = "touch ran | "
    lhotse.RecordingSet.from_dicts(recordings).to_file(options[1])
    assert data_verb(["from-lhotse", str(options[1]), str(options[3]), str(tmp_path / "k")]) == 1
    refused(capsys, "the file 'touch ran | '; expected no command of wav.scp")
    assert not (tmp_path / "k/wav.scp").exists()


def two_channels(path, silent):
    """Makes a wav file of the tree stereo, with one silent channel."""
    whole, rate = soundfile.read(path)
    soundfile.write(path, np.stack([whole * (silent != side) for side in (0, 1)], axis=1), rate)


def test_the_side_of_a_two_channel_file_comes_from_reco2file_and_channel(tree, tmp_path, capsys):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    for path in tree.glob("spk0/*/*.wav"):
        two_channels(path, silent=0)
    recordings = [line.split()[0] for line in (kaldi / "wav.scp").read_text().splitlines()]
    (kaldi / "reco2file_and_channel").write_text("".join(f"{reco} {reco[:-2]} B\n" for reco in recordings))
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi, "--eval-fraction=0.4") == 0
    assert (
        "4 utterances are one channel of several, the others are not used (first: channel 1 of 2, counted from 0, in"
        in capsys.readouterr().out
    )
    for name in ("train", "test"):
        assert all(np.abs(heard).max() > 100 for heard in samples_of(tmp_path / "data" / name).values())


@pytest.mark.parametrize(
    "name, text", [("reco2file_and_channel", "spk0-s0-0 x B\n"), ("utt2uniq", "spk1-s0-1 spk1-s0-0\n")]
)
def test_every_table_that_is_read_makes_a_preparation_out_of_date(tree, tmp_path, capsys, name, text):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == 0
    (kaldi / name).write_text(text)
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == 1
    refused(capsys, "out-of-date", name, "--force")


def test_sides_that_are_none_are_refused_and_numbers_count_from_1(tree, tmp_path, capsys):
    kaldi = kaldi_dir(tree, tmp_path / "kaldi")
    whole, rate = soundfile.read(tree / "spk0/s0/0.wav")
    soundfile.write(tree / "spk0/s0/0.wav", np.stack([0 * whole, 0 * whole, whole], axis=1), rate)
    (kaldi / "reco2file_and_channel").write_text("spk0-s0-0 x 3\nspk1-s0-0 x 1\nspk2-s0-0 x a\n")
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == 1
    refused(capsys, "reco2file_and_channel: spk2-s0-0: found the side 'a'; expected A or B, or the channel's number")
    (kaldi / "reco2file_and_channel").write_text("spk0-s0-0 x 3\nspk1-s0-0 x 1\n")
    assert prepare(tmp_path / "data", "--kaldi-data", kaldi) == 0
    heard = {**samples_of(tmp_path / "data/train"), **samples_of(tmp_path / "data/test")}
    assert np.abs(heard["spk0-s0-0"]).max() > 100


def test_the_first_channel_of_several_is_said_to_be_used(tree, tmp_path, capsys):
    two_channels(tree / "spk3/s0/1.wav", silent=1)
    assert prepare(tmp_path / "data", "--root", tree, "--eval-fraction=0.4") == 0
    assert (
        "1 utterances are one channel of several, the others are not used (first: channel 0 of 2, counted from 0, in"
        in capsys.readouterr().out
    )


def test_what_lhotse_holds_elsewhere_is_stored_as_the_message_says(tree, tmp_path, capsys, monkeypatch):
    """Its command, on recordings that are no files as they are, leaves what fits the supervisions."""
    options = manifests(tree, tmp_path / "lhotse")
    recordings = list(lhotse.RecordingSet.from_file(options[1]))
    for each in recordings:
        each.sources[0].type, each.sources[0].source = "url", f"https://example.org/{each.id}.wav"
    lhotse.RecordingSet.from_recordings(recordings).to_file(tmp_path / "url.jsonl.gz")
    assert prepare(tmp_path / "data", "--recordings", tmp_path / "url.jsonl.gz", *options[2:]) == 1
    refused(
        capsys,
        "found a source of type 'url'",
        f"from_file('{tmp_path}/url.jsonl.gz')",
        "give DIR/recordings.jsonl.gz in its place",
    )
    resampled = lhotse.RecordingSet.from_recordings(lhotse.RecordingSet.from_file(options[1]).resample(8000))
    resampled.to_file(options[1])
    assert prepare(tmp_path / "data", *options) == 1
    error = capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", error.partition('python -c "')[2].partition('"')[0]], check=True)
    assert prepare(tmp_path / "data", "--recordings", "DIR/recordings.jsonl.gz", *options[2:]) == 0
    assert "recordings by rate: 12 8000 Hz" in capsys.readouterr().out
    cuts = [
        cut for name in ("train", "test") for cut in lhotse.CutSet.from_file(tmp_path / "data" / name / "cuts.jsonl.gz")
    ]
    assert sorted(cut.id for cut in cuts) == sorted(each.id for each in lhotse.SupervisionSet.from_file(options[3]))
    assert {len(read_samples(cut.to_dict(), 8000)) for cut in cuts} == {800}


def test_recordings_with_transforms_are_refused(tree, tmp_path, capsys):
    options = manifests(tree, tmp_path / "lhotse")
    recordings = lhotse.RecordingSet.from_file(options[1]).resample(8000)
    lhotse.RecordingSet.from_recordings(recordings).to_file(options[1])
    assert prepare(tmp_path / "data", *options) == 1
    refused(capsys, "transforms", "spk0-s0")

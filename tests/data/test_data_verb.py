"""data: each action on good and bad directories; Kaldi to lhotse and back, both ways without loss."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyasp.audio.cut_files import cut_of
from pyasp.audio.headers import Header, read_header
from pyasp.bin.data import main
from pyasp.bin.diff import main as diff
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, read_table, write_table
from pyasp.data.parts import choose, parts_of

RATE = 8000


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`d`: a plain Kaldi directory of whole recordings; `s`: one of segments; no cuts."""
    monkeypatch.chdir(tmp_path)
    for name in ("a-1", "a-2", "b-1", "b-2", "b-3"):
        soundfile.write(f"{name}.wav", np.zeros(RATE + 80 * int(name[-1])), RATE)
    utts = {f"{name}": name[0] for name in ("a-1", "a-2", "b-1", "b-2", "b-3")}
    data = DataDir("d")
    data.write_speakers(utts)
    data.write("wav.scp", {utt: str(tmp_path / f"{utt}.wav") for utt in utts})
    data.write("spk2gender", {"a": "f", "b": "m"})
    data.write("utt2dur", {utt: f"{1 + int(utt[-1]) / 100:.4f}" for utt in utts})
    data.write("text", {utt: f"word {utt}" for utt in utts})
    data.write("model2utts", {"m1": "a-1", "m2": "b-2 b-1"})
    Path("d/utt2info.tsv").write_text("utt\tphone\tday\n" + "".join(f"{utt}\tp{utt[-1]}\t\n" for utt in utts))
    cut = DataDir("s")
    cut.write_speakers({"a-x": "a", "a-y": "a", "b-z": "b"})
    cut.write("wav.scp", {"rec1": str(tmp_path / "a-1.wav"), "rec2": f"cat {tmp_path}/b-1.wav | cat |"})
    cut.write("segments", {"a-x": "rec1 0.1 0.5", "a-y": "rec1 0.5 0.9", "b-z": "rec2 0.00 1.01"})
    cut.write("reco2file_and_channel", {"rec1": "a-1 A", "rec2": "b-1 A"})
    cut.write("reco2dur", {"rec1": "1.01", "rec2": "1.01"})
    return tmp_path


def tables(path):
    """Every table of a directory but the cuts."""
    return {each.name: each.read_text() for each in Path(path).iterdir() if each.is_file() and each.suffix != ".gz"}


def lines(path):
    with gzip.open(path, "rt") as stream:
        return [json.loads(text) for text in stream]


def test_kaldi_to_lhotse_and_back_loses_nothing(folder):
    for name, options in (("d", []), ("s", ["--rate", str(RATE)])):
        assert main(["to-lhotse", name, f"{name}-man", *options]) == 0
        assert main(["from-lhotse", f"{name}-man", f"{name}-back"]) == 0
        assert tables(f"{name}-back") == tables(name)
        assert main(["to-lhotse", f"{name}-back", f"{name}-again"]) == 0
        for manifest in ("recordings.jsonl.gz", "supervisions.jsonl.gz"):
            assert lines(f"{name}-man/{manifest}") == lines(f"{name}-again/{manifest}")


def test_lhotse_reads_the_manifests_and_cuts(folder):
    lhotse = pytest.importorskip("lhotse")
    main(["to-lhotse", "d", "man"])
    main(["from-lhotse", "man", "back"])
    recordings = lhotse.RecordingSet.from_file("man/recordings.jsonl.gz")
    supervisions = lhotse.SupervisionSet.from_file("man/supervisions.jsonl.gz")
    lhotse.validate_recordings_and_supervisions(recordings, supervisions)
    assert {each.id: (each.speaker, each.gender, each.text) for each in supervisions}["b-1"] == ("b", "m", "word b-1")
    cut = {each.id: each for each in lhotse.CutSet.from_file("back/cuts.jsonl.gz")}["a-2"]
    assert cut.load_audio().shape == (1, RATE + 160) and cut.supervisions[0].text == "word a-2"
    recording = {each.id: each for each in recordings}["a-2"].to_dict()
    assert cut.to_dict() == cut_of(
        recording,
        {
            "id": "a-2",
            "recording_id": "a-2",
            "start": 0.0,
            "duration": 1.02,
            "channel": 0,
            "text": "word a-2",
            "speaker": "a",
            "gender": "f",
        },
    )


def two_recordings(folder):
    """a-1 and b-1 as lhotse describes them."""
    return [
        {
            "id": name,
            "sources": [{"type": "file", "channels": [0], "source": str(folder / f"{name}.wav")}],
            "sampling_rate": RATE,
            "num_samples": RATE + 80,
            "duration": 1.01,
            "channel_ids": [0],
        }
        for name in ("a-1", "b-1")
    ]


def test_lhotse_to_kaldi_and_back_loses_nothing(folder):
    recordings = two_recordings(folder)
    supervisions = [
        {
            "id": "a-1-late",
            "recording_id": "a-1",
            "start": 0.5,
            "duration": 0.25,
            "channel": 0,
            "speaker": "a",
            "language": "xx",
            "custom": {"snr": 12.5, "tags": ["x", "y"]},
        }
    ]
    for name, objects in (("recordings", recordings), ("supervisions", supervisions)):
        with gzip.open(f"{name}.jsonl.gz", "wt") as stream:
            stream.writelines(json.dumps(each) + "\n" for each in objects)
    assert main(["from-lhotse", "recordings.jsonl.gz", "supervisions.jsonl.gz", "k"]) == 0
    assert read_table("k/segments") == {"a-1-late": "a-1 0.500 0.750"} and read_table("k/utt2spk") == {"a-1-late": "a"}
    assert main(["to-lhotse", "k", "man"]) == 0
    assert lines("man/recordings.jsonl.gz") == recordings
    (found,) = lines("man/supervisions.jsonl.gz")
    found["custom"] = {name: value for name, value in found["custom"].items() if not name.startswith("kaldi/")}
    assert found == supervisions[0]


def manifests(folder, recording=None, supervision=None):
    """Two recordings, a-1 and b-1, and a supervision of each; of the first with other fields."""
    recordings = two_recordings(folder)
    supervisions = [
        {"id": name, "recording_id": name, "start": 0.0, "duration": 1.01, "channel": 0, "speaker": name[0]}
        for name in ("a-1", "b-1")
    ]
    recordings[0] |= recording or {}
    supervisions[0] |= supervision or {}
    for name, objects in (("recordings", recordings), ("supervisions", supervisions)):
        with gzip.open(f"{name}.jsonl.gz", "wt") as stream:
            stream.writelines(json.dumps(each) + "\n" for each in objects)
    return ["from-lhotse", "recordings.jsonl.gz", "supervisions.jsonl.gz", "k"]


TWO = [{"type": "file", "channels": [0, 1], "source": "two.wav"}]  # which is not there


@pytest.mark.parametrize(
    "recording, supervision, message",
    [
        ({}, {"channel": 1}, "a-1: found channel 1; expected channels of its recording a-1, [0]"),
        ({}, {"channel": [0, 1]}, "a-1: found channel [0, 1]; expected channels of its recording a-1, [0]"),
        ({"sources": TWO}, {"channel": [0, 1]}, "a-1: found channels [0, 1]; expected one channel"),
        ({"transforms": [{"name": "Speed"}]}, {}, "a-1: found a recording with transforms ([{'name': 'Speed'}])"),
        ({}, {"duration": -1}, "a-1: found 0.000 s to -1.000 s of a recording of 1.010 s"),
        ({}, {"start": -0.2}, "a-1: found -0.200 s to 0.810 s of a recording of 1.010 s"),
        ({"sampling_rate": 0}, {}, "a-1: found sampling_rate 0"),
        ({"sampling_rate": -8000}, {}, "a-1: found sampling_rate -8000"),
        ({}, {"text": "two\nlines"}, "text: found the entry 'a-1' 'two\\nlines'"),
    ],
)
def test_manifests_that_no_table_can_tell_are_refused_and_leave_nothing(
    folder, capsys, recording, supervision, message
):
    assert main(manifests(folder, recording, supervision)) == 1
    assert message in capsys.readouterr().err and not Path("k").exists()


def test_a_channel_that_the_file_lacks_is_refused(folder, capsys):
    source = {"type": "file", "channels": [0, 1], "source": str(folder / "a-1.wav")}
    assert main(manifests(folder, {"sources": [source]}, {"channel": 1})) == 1
    assert "a-1: found 1 channels; expected those of the manifest: [0, 1]" in capsys.readouterr().err


def test_a_manifest_of_nothing_is_refused_and_a_speaker_of_both_genders_told(folder, capsys):
    words = manifests(folder, None, {"gender": "F"})
    with gzip.open("supervisions.jsonl.gz", "at") as stream:
        more = {"id": "a-2", "recording_id": "a-1", "start": 0.5, "duration": 0.5, "channel": 0, "speaker": "a"}
        stream.write(json.dumps({**more, "gender": "male"}) + "\n")
    assert main(words) == 0
    assert "supervisions.jsonl.gz: 1 speakers have supervisions of both genders: a\n" in capsys.readouterr().out
    with gzip.open("supervisions.jsonl.gz", "wt"):
        pass
    assert main([*words[:3], "j"]) == 1 and not Path("j").exists()
    assert "supervisions.jsonl.gz: found no supervision; expected at least one" in capsys.readouterr().err


def test_a_directory_that_no_run_made_is_to_be_made_again_with_what_made_it(folder, capsys):
    assert main(manifests(folder)) == 0
    first, second = lines("k/cuts.jsonl.gz")
    with gzip.open("k/cuts.jsonl.gz", "wt") as stream:
        stream.write(json.dumps({**first, "duration": -1}) + "\n" + json.dumps(second) + "\n")
    assert main(["validate", "k"]) == 1
    told = "line 1: found start and duration [0.0, -1] of a-1; expected a lhotse cut as JSON. Make the directory again"
    assert f"{told} with what made it: pyasp data from-lhotse" in capsys.readouterr().err


def test_files_that_are_not_what_a_manifest_says_decide(folder, capsys):
    assert (
        main(manifests(folder, {"sampling_rate": 16000, "num_samples": 99999, "duration": 6.25}, {"duration": 6.25}))
        == 0
    )
    said = capsys.readouterr().out
    assert f"1 of 2 files are not what it says, and decide (first: {folder}/a-1.wav: found {RATE + 80} samples" in said
    assert read_table("k/utt2dur")["a-1"] == "1.0100" and main(["validate", "k"]) == 0
    Path("a-1.wav").rename("away")
    assert main([*manifests(folder)[:3], "j"]) == 0
    assert f"1 of 2 files are not there to compare it with (first: {folder}/a-1.wav)" in capsys.readouterr().out


def test_each_channel_of_a_recording_is_one_of_its_own(folder):
    soundfile.write("two.wav", np.zeros((RATE, 2)), RATE)
    source = {"type": "file", "channels": [0, 1], "source": str(folder / "two.wav")}
    words = manifests(
        folder, {"sources": [source], "num_samples": RATE, "duration": 1.0}, {"channel": 1, "duration": 1.0}
    )
    assert main(words) == 0
    assert read_table("k/reco2file_and_channel") == {"a-1": "two B", "b-1": "b-1 A"}
    with gzip.open("supervisions.jsonl.gz", "at") as stream:
        other = {"id": "a-2", "recording_id": "a-1", "start": 0.5, "duration": 0.5, "channel": 0, "speaker": "a"}
        stream.write(json.dumps(other) + "\n")
    assert main([*words[:3], "j"]) == 0 and main(["validate", "j"]) == 0
    assert read_table("j/segments")["a-2"] == "a-1-0 0.500 1.000"
    assert read_table("j/reco2file_and_channel") == {"a-1-0": "two A", "a-1-1": "two B", "b-1": "b-1 A"}
    cuts = {each["id"]: each["channel"] for each in lines("j/cuts.jsonl.gz")}
    assert cuts == {"a-1": 1, "a-2": 0, "b-1": 0}


def test_commands_that_only_decode_a_file_are_looked_at_as_the_file_is(folder, capsys):
    """As the recipe's own wav.scp has them: nothing is run, and nothing need be said of lengths."""
    data = DataDir("d")
    entry = f"ffmpeg -v 8 -i {folder}/%s.wav -map_channel 0.0.0 -f wav -acodec pcm_s16le - |"
    data.write("wav.scp", {utt: entry % utt for utt in data.utt2spk})
    (data / "utt2dur").unlink()
    assert main(["validate", "d"]) == 0 and main(["to-lhotse", "d", "man"]) == 0
    found = {each["id"]: each for each in lines("man/recordings.jsonl.gz")}
    assert found["b-3"]["num_samples"] == RATE + 240 and found["b-3"]["sources"][0]["type"] == "command"
    (folder / "b-3.wav").unlink()
    capsys.readouterr()
    assert main(["validate", "d"]) == 1 and "b-3.wav" in capsys.readouterr().out
    data.write("segments", {"a-1": "a-1 0 60"} | {utt: f"{utt} 0 0.5" for utt in data.utt2spk if utt != "a-1"})
    assert main(["validate", "d"]) == 1 and "a-1" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["combine", "o", "d", "e"], ["to-lhotse", "e", "o"], ["subset", "e", "o"]])
def test_what_fails_half_way_leaves_nothing(folder, capsys, words):
    shutil.copytree("d", "e")
    Path("e/utt2spk").write_text(Path("d/utt2spk").read_text().replace("b-3 b", "b-3 c"))
    Path("e/text").write_text("a-1 x\na-1 y\n")
    assert main(words) == 1 and capsys.readouterr().err and not Path("o").exists()
    Path("o").mkdir()
    Path("o/mine").touch()
    assert main(words) == 1 and [each.name for each in Path("o").iterdir()] == ["mine"]


def test_parts_are_written_all_or_none(folder, capsys):
    assert main(["split", "d", "2", "parts"]) == 0
    shutil.rmtree("parts/1")
    assert main(["split", "d", "2", "parts"]) == 1 and "parts/2: found data already" in capsys.readouterr().err
    assert [each.name for each in Path("parts").iterdir()] == ["2"] and Path("parts/2/utt2spk").is_file()


@pytest.mark.parametrize("name", ["utt2num_voiced", "utt2num_silent"])
def test_counts_that_are_no_numbers_are_told(folder, capsys, name):
    DataDir("d").write(name, {"a-1": "1s"})
    assert main(["stats", "d"]) == 1 and f"d/{name}: a-1: found '1s'; expected a number" in capsys.readouterr().err
    with pytest.raises(InputError, match="a-1: found '1s'"):
        DataDir("d").counts(name)
    DataDir("d").write(name, {"a-1": "12"})
    assert DataDir("d").counts(name) == {"a-1": 12}


def test_subset(folder):
    assert main(["subset", "--speakers", "b", "--count", "2", "d", "out"]) == 0
    part = DataDir("out")
    assert len(part.utt2spk) == 2 and set(part.utt2spk.values()) == {"b"} and part.read("spk2gender") == {"b": "m"}
    assert all(set(part.read(name)) == set(part.utt2spk) for name in ("wav.scp", "utt2dur", "text"))
    assert set(part.info) == set(part.utt2spk) and "m1" not in part.model2utts
    data = DataDir("d")
    Path("list").write_text("a-2\nb-3\n")
    assert choose(data, "list", "", 0, 0, 1) == ["a-2", "b-3"]
    assert [utt[0] for utt in choose(data, "", "", 0, 1, 1)] == ["a", "b"]
    assert main(["subset", "--utts", "list", "s", "out2"]) == 1
    assert main(["subset", "--speakers", "a", "s", "out3"]) == 0 and list(read_table("out3/wav.scp")) == ["rec1"]


def test_split_and_combine_are_inverse(folder, capsys):
    assert main(["split", "d", "2"]) == 0
    parts = [DataDir(f"d/split2/{number}") for number in (1, 2)]
    assert [sorted(set(part.utt2spk.values())) for part in parts] == [["a"], ["b"]]
    assert main(["combine", "joined", "d/split2/1", "d/split2/2"]) == 0
    assert tables("joined") == {name: text for name, text in tables_without("d", "split2").items()}
    assert [len(part) for part in parts_of(DataDir("d"), 3, by_speaker=False)] == [2, 2, 1]
    for count in range(1, 6):
        got = parts_of(DataDir("d"), count, by_speaker=False)
        assert len(got) == count and all(got) and sum(got, []) == list(DataDir("d").utt2spk)


def tables_without(path, name):
    return {each.name: each.read_text() for each in Path(path).iterdir() if each.is_file()}


def test_combine_refuses_contradictions_and_says_what_is_left_out(folder, capsys):
    shutil.copytree("d", "e")
    Path("e/text").unlink()
    assert main(["combine", "j", "d", "e"]) == 0 and "text: only in d: left out" in capsys.readouterr().out
    DataDir("e").write("utt2dur", {**read_table("e/utt2dur"), "a-1": "9"})
    assert main(["combine", "j2", "d", "e"]) == 1 and "as in another directory" in capsys.readouterr().err
    DataDir("e").write("utt2dur", {**read_table("d/utt2dur"), "a-1": ""})
    assert main(["combine", "j2", "d", "e"]) == 1
    assert "a-1: found nothing; expected '1.0100', as in another directory" in capsys.readouterr().err
    assert main(["combine", "j3", "d", "s"]) == 1 and "in all or none" in capsys.readouterr().err


def reverse(path):
    Path(path).write_text("".join(reversed(Path(path).read_text().splitlines(keepends=True))))


DEFECTS = {
    "not sorted": lambda: reverse("d/utt2dur"),
    "1 unknown keys (first: zz)": lambda: DataDir("d").write("text", {**read_table("d/text"), "zz": "w"}),
    "no entry for 1 of 5": lambda: DataDir("d").write("utt2dur", {"a-1": "1", "b-1": "1", "b-2": "1", "b-3": "1"}),
    "1 files are not there": lambda: Path("b-3.wav").unlink(),
    "not their prefix": lambda: DataDir("d").write("utt2spk", {**read_table("d/utt2spk"), "a-1": "b"}),
    "not the inverse": lambda: DataDir("d").write("spk2utt", {"a": "a-1"}),
    "utt2dur: 1 entries are not the audio's (first: b-3: 99 s, where there are 1.030)": lambda: DataDir("d").write(
        "utt2dur", {**read_table("d/utt2dur"), "b-3": "99"}
    ),
    "(first: a-1: long s, where there are 1.010)": lambda: DataDir("d").write(
        "utt2dur", {**read_table("d/utt2dur"), "a-1": "long"}
    ),
    "feats.scp: 5 entries lead to no file (first: a-1: x.ark:7)": lambda: DataDir("d").write(
        "feats.scp", dict.fromkeys(DataDir("d").utt2spk, "x.ark:7")
    ),
    "vad.scp: 1 entries lead to no file (first: b-1: a-1.wav:99999)": lambda: DataDir("d").write(
        "vad.scp", {utt: f"a-1.wav:{99999 if utt == 'b-1' else 5}" for utt in DataDir("d").utt2spk}
    ),
    "wav.scp: no path for 1 of 5 (first: a-2)": lambda: DataDir("d").write(
        "wav.scp", {**read_table("d/wav.scp"), "a-2": ""}
    ),
    "utterances cannot be used (first: b-1: 0.001 s is shorter than": lambda: soundfile.write(
        "b-1.wav", np.zeros(8), RATE
    ),
    "1 unknown recordings": lambda: DataDir("d").write("model2utts", {"m": "a-1 q"}),
}


@pytest.mark.parametrize("told", DEFECTS)
def test_validate_names_each_defect(folder, capsys, told):
    assert main(["validate", "d", "s"]) == 0 and "2 directories, 0 problems" in capsys.readouterr().out
    DEFECTS[told]()
    assert main(["validate", "d"]) == 1 and told in capsys.readouterr().out


@pytest.mark.parametrize("told", DEFECTS)
def test_fix_mends_what_validate_names_or_says_what_is_left(folder, capsys, told):
    """Its exit code is that of the validation behind it."""
    DEFECTS[told]()
    mended = main(["fix", "d"]) == 0
    said = capsys.readouterr()
    assert (main(["validate", "d"]) == 0) == mended
    left = [line.removeprefix("d: ") for line in capsys.readouterr().out.splitlines()[:-1]]
    assert all(f"d: not mended: {line}" in said.out for line in left) or "error: " in said.err
    assert mended == (not any(word in told for word in ("not there", "prefix", "to no file", "unknown recordings")))


def test_fix_sets_durations_to_the_audio(folder, capsys):
    right = read_table("d/utt2dur")
    DataDir("d").write("utt2dur", {**right, "b-3": "99", "a-1": "abc"})
    assert main(["fix", "d"]) == 0
    assert "dropped 0, put in order: utt2dur (old ones in .backup), set 2 entries of utt2dur to what the audio is" in (
        capsys.readouterr().out
    )
    assert read_table("d/utt2dur") == right and read_table("d/.backup/utt2dur")["b-3"] == "99"


@pytest.mark.parametrize(
    "times, reason",
    [
        ("0.5 0.2", "found 0.5 0.2; expected <recording> <start> <end> in seconds, start < end"),
        ("-0.1 0.2", "found -0.1 0.2; expected <recording> <start> <end>"),
        ("0,1 0,5", "found 0,1 0,5; expected"),
        ("0.1 nan", "found 0.1 nan; expected"),
        ("inf 0.5", "found inf 0.5; expected"),
        ("0.1", "no path in wav.scp, or no segment, of a-x"),
        ("5 9", "5.000 s to 9.000 s of a recording of 1.010 s"),
        ("100 500", "100.000 s to 500.000 s of a recording of 1.010 s"),
        ("0.2 1.6", "0.200 s to 1.600 s of a recording of 1.010 s"),
        ("0.5 0.51", "0.010 s is shorter than one analysis window"),
    ],
)
def test_segments_that_cannot_be_are_named_and_dropped(folder, capsys, times, reason):
    DataDir("s").write("segments", {**read_table("s/segments"), "a-x": f"rec1 {times}"})
    assert main(["validate", "s"]) == 1
    said = capsys.readouterr().out
    assert "s: audio or segments: 1 utterances cannot be used (first: a-x: " in said and reason in said
    assert main(["fix", "s"]) == 0 and main(["validate", "s"]) == 0
    assert set(read_table("s/utt2spk")) == {"a-y", "b-z"} == set(read_table("s/segments"))
    assert reason in Path("s/dropped.tsv").read_text() and "dropped 1 (a-x: " in capsys.readouterr().out


def test_segments_none_of_which_can_be_do_not_lead_back_to_fix(folder, capsys):
    before = {utt: "rec1 0.9 0.1" for utt in read_table("s/segments")}
    DataDir("s").write("segments", before)
    assert main(["fix", "s"]) == 1
    said = capsys.readouterr().err
    assert "no usable utterance" in said and "a-x: s/segments: a-x: found 0.9 0.1; expected" in said
    assert "data fix" not in said and read_table("s/segments") == before


def test_validate_compares_durations_with_segments(folder, capsys):
    """Where they do not end with the recording the file is not asked, so that entries which are commands are looked at
    too; a tenth of a second may be rounding."""
    Path("s/segments").write_text("a-x rec1 0.1 0.5\na-y rec1 0.5 -1\nb-z rec2 0.00 1.01\n")
    DataDir("s").write("utt2dur", {"a-x": "0.45", "a-y": "0.51", "b-z": "1"})
    assert main(["validate", "s"]) == 0
    DataDir("s").write("utt2dur", {"a-x": "0.1", "a-y": "0.9", "b-z": "2"})
    assert main(["validate", "s"]) == 1
    assert (
        "utt2dur: 3 entries are not the audio's (first: a-x: 0.1 s, where there are 0.400)" in capsys.readouterr().out
    )


def test_a_directory_given_twice_counts_once(folder, capsys):
    assert main(["combine", "joined", "d", str(Path("d").absolute())]) == 0
    said = capsys.readouterr().out
    assert "1 of 2 directories given a second time" in said and "joined: 5 utterances of 1 directories" in said


def test_fix_mends_or_drops_and_keeps_the_old_tables(folder, capsys):
    """Tables that Kaldi's fix_data_dir.sh keeps in .backup; every second fix keeps the first one's too."""
    reverse("d/utt2dur")
    old = tables("d")
    for name, lacking in (("utt2dur", "b-3"), ("text", "zz")):
        table = {**read_table(f"d/{name}"), "zz": "w"}
        DataDir("d").write(name, {key: value for key, value in table.items() if key != lacking})
    assert main(["fix", "d"]) == 0
    said = capsys.readouterr().out
    assert "kept 4 of 5 utterances of 2 speakers, dropped 1 (b-3: no entry in utt2dur; all of them in d/drop" in said
    assert main(["validate", "d"]) == 0 and "b-3" not in Path("d/spk2utt").read_text() + Path("d/text").read_text()
    assert Path("d/dropped.tsv").read_text() == "utt\treason\nb-3\tno entry in utt2dur\n"
    kept = tables("d/.backup")
    assert {name: kept[name] for name in ("text", "utt2spk", "wav.scp")} == {
        name: old[name] for name in ("text", "utt2spk", "wav.scp")
    }
    before = tables("d")
    DataDir("d").write("utt2dur", {"a-1": "1"})  # the model m2 would have no recording
    assert main(["fix", "d"]) == 1 and "m2: found no usable recording" in capsys.readouterr().err
    assert {**tables("d"), "utt2dur": ""} == {**before, "utt2dur": ""}  # nothing is half mended
    DataDir("d").write("utt2dur", {"a-1": "1", "b-1": "1"})
    assert main(["fix", "d"]) == 0 and "kept 2 of 4" in capsys.readouterr().out
    assert tables("d/.backup")["text.1"] == old["text"] and "a-2" in tables("d/.backup")["text"]
    DataDir("d").write("utt2dur", {"q-1": "1"})
    assert main(["fix", "d"]) == 1 and "no usable utterance" in capsys.readouterr().err


def test_what_fix_takes_out_of_tables_is_named(folder, capsys):
    lines = Path("d/wav.scp").read_text().splitlines(keepends=True)
    Path("d/wav.scp").write_text("".join([*lines, lines[1]]))
    DataDir("d").write("text", {**read_table("d/text"), "zz": "w"})
    assert main(["validate", "d"]) == 1 and "wav.scp: 1 keys in several lines (first: a-2)" in capsys.readouterr().out
    assert main(["fix", "d"]) == 0
    said = capsys.readouterr().out
    assert "dropped 0, put in order: text (without zz) wav.scp (without a-2 again) (old ones in .backup)" in said
    assert Path("d/wav.scp").read_text() == "".join(lines) and main(["validate", "d"]) == 0
    Path("d/wav.scp").write_text("".join([*lines, "a-2 other.wav\n"]))
    assert main(["fix", "d"]) == 1 and "line 6: found key 'a-2' a second time" in capsys.readouterr().err


def test_speakers_that_are_no_prefix_are_named_and_where_they_become_one(folder, capsys):
    utts = {"x1": "a", "x2": "a", "y1": "b"}
    data = DataDir("x")
    data.write_speakers(utts)
    data.write("wav.scp", {utt: str(folder / f"{spk}-1.wav") for utt, spk in utts.items()})
    assert main(["fix", "x"]) == 1
    said = capsys.readouterr().out
    assert (
        "not mended: utt2spk: 3 utterances whose speaker is not their prefix (x1, x2, y1): Ids are not changed" in said
    )
    assert "./run.sh --corpus folder --kaldi-data DIR" in said and read_table("x/utt2spk") == utts


def test_a_recording_that_cannot_be_read_is_dropped_where_validate_names_it(folder, capsys):
    Path("b-3.wav").write_bytes(b"no audio")
    assert main(["validate", "d"]) == 1 and "1 utterances cannot be used (first: b-3" in capsys.readouterr().out
    assert main(["fix", "d"]) == 0 and "dropped 1 (b-3: " in capsys.readouterr().out
    assert main(["validate", "d"]) == 0


def test_fix_drops_no_recording_whose_disk_is_away(folder, capsys):
    Path("b-3.wav").unlink()
    assert main(["fix", "d"]) == 1
    assert "kept 5 of 5 utterances of 2 speakers, dropped 0, kept 1 recordings that are" in capsys.readouterr().out
    assert "b-3" in Path("d/text").read_text() and not Path("d/.backup").exists()


def test_a_kaldi_directorys_trials_and_frame_shift_are_no_tables(folder, capsys):
    Path("d/trials").write_text("a a-1 target\na b-1 nontarget\n")
    Path("d/frame_shift").write_text("0.01\n")
    Path("d/augment.txt").write_text("5 recordings, 5 copies\n")  # what stage augment says of its copies
    reverse("d/utt2spk")
    assert main(["fix", "d"]) == 0 and main(["validate", "d"]) == 0
    assert Path("d/frame_shift").read_text() == "0.01\n" and Path("d/.backup/utt2spk").exists()


def test_stats(folder, capsys):
    assert main(["stats", "--json", "d"]) == 0
    found = json.loads(capsys.readouterr().out)["d"]
    assert (found["recordings"], found["speakers"], found["models"]) == (5, 2, 2)
    assert found["genders"] == {"f": 1, "m": 1} and found["seconds"]["most"] == 1.03
    assert main(["stats", "d"]) == 0 and "recordings a speaker: least 2.0" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["abc", "nan", ""])
def test_durations_that_are_no_numbers_are_told(folder, capsys, text):
    DataDir("d").write("utt2dur", {**read_table("d/utt2dur"), "b-1": text})
    assert main(["stats", "d"]) == 1
    assert f"utt2dur: b-1: found {text!r}; expected a number. pyasp data fix d sets" in capsys.readouterr().err
    DataDir("s").write("reco2dur", {"rec1": "1.01", "rec2": text})
    assert main(["to-lhotse", "s", "man", "--rate", str(RATE)]) == 1
    assert "rec2: found the command" in capsys.readouterr().err


def test_stats_name_recordings_with_digital_silence(folder, capsys):
    utts = list(DataDir("d").utt2spk)
    write_table("d/utt2num_silent", {utt: "150" if utt == utts[1] else "0" for utt in utts})
    assert main(["stats", "d"]) == 0
    assert f"digital silence: recordings 1, seconds 1.5, first {utts[1]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["validate", "gone"], "no utt2spk"),
        (["paint", "d"], "validate or fix"),
        (["subset", "d"], "DIR OUT"),
        (["subset", "d", "s"], "data already"),
        (["split", "d", "9"], "1 to 2"),
        (["split", "d", "x"], "a number of parts"),
        (["subset", "--speakers", "zz", "d", "o"], "zz"),
        (["to-lhotse", "s", "o"], "--rate"),
        (["from-lhotse", "d", "o"], "recordings.jsonl.gz"),
    ],
)
def test_mistakes(folder, capsys, words, message):
    assert main(words) == 1 and message in capsys.readouterr().err


def test_a_converted_directory_equals_itself_in_diff(folder, capsys):
    main(["to-lhotse", "d", "man"])
    main(["from-lhotse", "man", "back"])
    main(["from-lhotse", "man", "back2"])
    assert diff(["back", "back2"]) == 0
    assert read_header(folder / "a-1.wav") == Header(RATE, RATE + 80, 1, "WAV")

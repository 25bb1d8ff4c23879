"""Writers that every preparation shares: data directories, trial lists, and the marker that says complete."""

import gzip
import json

import lhotse
import pytest
from prep_trees import check_data_dir, wav

from local import common, trial_lists
from local.audio_header import probe_all
from local.common import Utterance
from local.trial_lists import Trial
from pyasp.audio.folders import audio_below
from pyasp.audio.headers import Header, read_header
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir


def utterances(top, count=3):
    """({id: utterance}, headers) of short wav files; ids in no order, speakers with their own prefixes."""
    index = {}
    for number in range(count):
        path = wav(top / f"{number}.wav", number)
        index[f"s{number % 2}-u{9 - number}"] = Utterance(
            f"s{number % 2}-u{9 - number}",
            f"s{number % 2}",
            str(path),
            "mf"[number % 2],
            info={"kind": f"a b\t{number}"},
        )
    return index, probe_all(utt.path for utt in index.values())[0]


def test_a_data_directory_is_whole_sorted_and_reproducible(tmp_path):
    index, audio = utterances(tmp_path)
    counts = [
        common.write_data_dir(tmp_path / name, order, audio)
        for name, order in (("one", index), ("two", dict(reversed(index.items()))))
    ]
    assert counts[0] == counts[1] == {"utterances": 3, "speakers": 2, "hours": 0.0}
    data = check_data_dir(tmp_path / "one", 3, 2)
    assert data.info["s0-u9"] == {"kind": "a b 0"} and data.read("spk2gender") == {"s0": "m", "s1": "f"}
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_cuts_are_lhotses_own(tmp_path):
    index, audio = utterances(tmp_path, 1)
    utt = next(iter(index.values()))
    common.write_data_dir(tmp_path / "data", index, audio)
    with gzip.open(tmp_path / "data/cuts.jsonl.gz", "rt") as stream:
        written = json.loads(stream.readline())
    cut = lhotse.Recording.from_file(utt.path, recording_id=utt.id).to_cut().with_id(utt.id)
    cut.supervisions = [lhotse.SupervisionSegment(utt.id, utt.id, 0.0, cut.duration, 0, speaker="s0", gender="m")]
    assert written == cut.to_dict()


def test_stretches_and_sides_get_segments_and_channels(tmp_path):
    path = str(wav(tmp_path / "call.wav", 0, 16000))
    audio = {path: Header(8000, 16000, 2, "sphere")}
    index = {
        name: Utterance(name, "s", path, channel=side, start=0.5, seconds=1.0, recording=f"call-{side}")
        for side, name in enumerate(("s-a", "s-b"))
    }
    common.write_data_dir(tmp_path / "data", index, audio)
    data = DataDir(tmp_path / "data")
    assert data.read("segments") == {"s-a": "call-0 0.500 1.500", "s-b": "call-1 0.500 1.500"}
    assert data.read("reco2file_and_channel") == {"call-0": "call A", "call-1": "call B"}
    assert data.read("wav.scp")["call-1"] == f"sph2pipe -f wav -p -c 2 {path} |"


def test_an_older_table_that_no_longer_applies_is_removed(tmp_path):
    index, audio = utterances(tmp_path)
    common.write_data_dir(tmp_path / "data", index, audio)
    for utt in index.values():
        utt.info, utt.start = {}, 0.0
    (tmp_path / "data/segments").write_text("old\n")
    common.write_data_dir(tmp_path / "data", index, audio)
    assert not (tmp_path / "data/utt2info.tsv").exists() and not (tmp_path / "data/segments").exists()


ENTRIES = {
    ("x.wav", 1, "WAV"): "/a b/x.wav",
    ("x.wav", 2, "WAV"): "sox '/a b/x.wav' -t wav - remix 2 |",
    ("x.flac", 1, "FLAC"): "flac -c -d -s '/a b/x.flac' |",
    ("x.bin", 2, "sphere"): "sph2pipe -f wav -p -c 2 '/a b/x.bin' |",
}


@pytest.mark.parametrize("name, channels, kind", ENTRIES)
def test_kaldi_users_get_a_plain_path_or_the_command_that_reads_one_channel(name, channels, kind):
    entry = common.kaldi_entry(
        Utterance("u", "u", f"/a b/{name}", channel=channels - 1), Header(8000, 1, channels, kind)
    )
    assert entry == ENTRIES[name, channels, kind]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a|b", "a\tb", "a'b", 'a"b', "a;b", "a>b", "a\\b", "a\nb"])
def test_ids_that_tables_cannot_hold_are_refused(name):
    with pytest.raises(InputError, match="without spaces, slashes"):
        common.index_by_id([Utterance(name, "s", "/x.wav")], "here")
    with pytest.raises(InputError, match="speaker id"):
        common.index_by_id([Utterance("u", name, "/x.wav")], "here")


def test_an_id_twice_is_refused_unless_it_is_the_same_audio():
    one, same, other = (Utterance("s-u", "s", path) for path in ("/x.wav", "/x.wav", "/y.wav"))
    assert list(common.index_by_id([one, same], "here")) == ["s-u"]
    with pytest.raises(InputError, match="s-u twice: /x.wav and /y.wav"):
        common.index_by_id([one, other], "here")


def test_an_empty_data_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match="no utterance"):
        common.write_data_dir(tmp_path / "data", {}, {})


def test_a_list_streams_and_leaves_nothing_when_it_fails(tmp_path):
    strange = [Trial("m", "nobody", False, ("y",)), Trial("k", "t", False, ("y",)), Trial("m", "no", False, ("y",))]
    with pytest.raises(InputError, match="m nobody: found 'nobody' in a trial, and 2 more unknown ids \\(k, no\\)"):
        trial_lists.write_list(tmp_path, "trials", [Trial("m", "t", True, ("x",)), *strange], ("column",), {"m"}, {"t"})
    assert list((tmp_path / "trials").iterdir()) == []
    good = [Trial("m", "t", True, ("x",)), Trial("m", "t", False, ("y",))]
    assert trial_lists.write_list(tmp_path, "trials", good, ("column",), {"m"}, {"t"}) == {"target": 1, "nontarget": 1}
    assert (tmp_path / "trials/trials").read_text() == "m t target\nm t nontarget\n"
    assert (tmp_path / "trials/trials.tsv").read_text() == "column\nx\ny\n"


@pytest.mark.parametrize(
    "name, wanted", [("a/veri_test.txt", "veri_test"), ("trials_1utt", "trials_1utt"), ("x.tsv", "x.tsv")]
)
def test_a_list_goes_by_its_file_name(name, wanted):
    assert trial_lists.list_name(name) == wanted


def test_the_marker_is_written_last_and_an_older_preparation_goes_when_a_new_one_begins(tmp_path):
    def prepared(a, force=False):
        return common.Preparation("prep", common.PrepOptions(data=str(tmp_path), force=force), [], [], a=a)

    (tmp_path / "trials").mkdir()
    (tmp_path / "trials/old").write_text("x\n")
    with pytest.raises(InputError, match="files that no run made .trials.*nothing was changed"):
        prepared(1)
    (tmp_path / common.LISTING).touch()  # now an older preparation has begun here
    prep = prepared(1)
    assert not prep.current() and (tmp_path / "trials/old").exists()  # it may yet fail
    prep.begin()
    assert not (tmp_path / "trials").exists()
    prep.summary["seen in training"] = {"evaluation speakers": 1}
    prep.report()
    assert prep.current() and prepared(1).current()
    with pytest.raises(InputError, match="--a: 1 -> 2"):
        prepared(2).current()
    changed = prepared(2, force=True)
    assert not changed.current() and (tmp_path / common.MARKER).exists()
    changed.begin()
    assert not (tmp_path / common.MARKER).exists()


def test_headers_are_counted_and_bad_files_named(tmp_path, capsys):
    good = str(wav(tmp_path / "good.wav"))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.flac").write_text("no audio")
    paths = [good, *(str(tmp_path / name) for name in ("empty.wav", "text.flac", "gone.wav"))]
    assert read_header(good) == Header(16000, 1600, 1, "WAV")
    assert probe_all(paths, max_bad=0.75)[0] == {good: Header(16000, 1600, 1, "WAV")}
    assert f"done 1 of 4 audio headers, 3 failed (first: {paths[1]}" in capsys.readouterr().err
    with pytest.raises(InputError, match="3 failed.*at most 0.5"):
        probe_all(paths, max_bad=0.5)


def test_audio_is_found_in_order_hidden_files_passed_over(tmp_path):
    for name in ("b/2.wav", "a/1.FLAC", ".git/x.wav", "a/.hidden.wav", "a/readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert audio_below(tmp_path) == [str(tmp_path / "a/1.FLAC"), str(tmp_path / "b/2.wav")]

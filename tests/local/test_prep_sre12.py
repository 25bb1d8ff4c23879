"""NIST SRE12: key, target tables, sides and conditions come out as the tables say, and what is missing is told."""

import json
import os
import shutil

import lhotse
import numpy as np
import pytest
import soundfile
from prep_trees import check_data_dir, put, refused, speech, sph, trial_lines
from sre12_discs import KEY, LINES, TABLES, discs, key_line  # noqa: F401 (discs is a fixture)
from training_made import CORPORA

from local import prep_sre12, sre12_tables
from pyasp.audio.cuts import read_samples


@pytest.fixture
def own(discs, tmp_path):
    """A copy to damage; recordings are linked, tables copied."""

    def linked(source, target):
        return os.link(source, target) if source.endswith("_sre12.sph") else shutil.copy(source, target)

    shutil.copytree(discs, tmp_path / "discs", copy_function=linked)
    return tmp_path / "discs"


def prepare(top, data, *options, sre08=True, cts=True):
    """Exit code of the preparation."""
    given = [
        "--root",
        top / "sre12",
        *(("--sre08", top / "sre08") if sre08 else ()),
        *(("--cts", top / "cts") if cts else ()),
    ]
    return prep_sre12.main(["--data", str(data), *map(str, given), *options])


@pytest.fixture(scope="module")
def data(discs, tmp_path_factory):
    """The discs, prepared."""
    directory = tmp_path_factory.mktemp("data")
    assert prepare(discs, directory) == 0
    return directory


def test_each_condition_is_a_list_with_its_columns(data):
    assert trial_lines(data, "cc2") == [
        ["4001", "taaaho_sre12-a", "target"],
        ["4002", "taaaho_sre12-a", "nontarget"],
        ["4001", "taaaho_sre12-b", "nontarget"],
        ["4003", "tbbbho_sre12-b", "target"],
    ]
    assert trial_lines(data, "cc2.tsv") == [
        ["known", "duration_class"],
        ["known", "30"],
        ["known", "30"],
        ["unknown", "30"],
        ["known", "100"],
    ]
    assert trial_lines(data, "cc1") == trial_lines(data, "cc4") and trial_lines(data, "cc4.tsv")[1] == ["known", "300"]
    assert trial_lines(data, "cc5") == trial_lines(data, "cc2")[2:]
    assert not (data / "trials/cc3").exists()


def test_tables_of_both_generations_are_merged_and_summed_recordings_dropped(discs, data, tmp_path, capsys):
    enroll = check_data_dir(data / "enroll", 5, 3)
    assert enroll.model2utts == {
        "4001": ["4001-faaaa-b", "4001-fbbbb-a"],
        "4002": ["4002-faaaa-a", "4002-fbbbb-b"],
        "4003": ["4003-fcccc-a"],
    }
    assert enroll.read("spk2gender") == {"4001": "m", "4002": "f", "4003": "f"}
    targets = sre12_tables.read_targets(discs / "sre12")
    assert targets.summed == 1 and len(targets.files) == 4
    assert prepare(discs, tmp_path / "again") == 0
    assert "3 target speakers, 1 summed recordings dropped" in capsys.readouterr().out


def test_a_name_in_two_directories_is_told_apart_by_its_path(discs, data):
    paths = {cut.id: cut.recording.sources[0].source for cut in lhotse.CutSet.from_file(data / "enroll/cuts.jsonl.gz")}
    assert paths["4001-faaaa-b"].endswith("long/faaaa.sph") and paths["4002-faaaa-a"].endswith("short2/faaaa.sph")


def test_sides_are_channels(discs, data):
    cuts = {cut.id: cut for cut in lhotse.CutSet.from_file(data / "test/cuts.jsonl.gz")}
    whole = soundfile.read(discs / "sre12/data/tel_phn/taaaho-tfdwxt/taaaho_sre12.sph", dtype="int16")[0]
    for side, utt in enumerate(("taaaho_sre12-a", "taaaho_sre12-b")):
        assert np.array_equal(read_samples(cuts[utt].to_dict(), 8000), whole[:, side])
    test = check_data_dir(data / "test", 4, 4)
    assert test.read("reco2file_and_channel")["taaaho_sre12-b"] == "taaaho_sre12 B"
    assert test.read("wav.scp")["taaaho_sre12-b"].startswith("sph2pipe -f wav -p -c 2 /")
    assert {utt: row["duration_class"] for utt, row in test.info.items()} == {
        "taaaho_sre12-a": "30",
        "taaaho_sre12-b": "30",
        "tbbbho_sre12-b": "100",
        "tccckk_sre12-a": "300",
    }


def test_a_microphone_recording_of_16_khz_is_read_at_the_rate_of_its_header(data):
    cut = next(cut for cut in lhotse.CutSet.from_file(data / "test/cuts.jsonl.gz") if cut.id == "tccckk_sre12-a")
    assert (cut.sampling_rate, cut.num_samples) == (16000, 3200000)
    samples = read_samples(cut.to_dict(), 16000)
    assert np.array_equal(samples[:16000], speech(16000)) and not samples[16000:].any()
    assert len(read_samples(cut.to_dict(), 8000)) == 1600000  # as stage features of conf/sre12 reads it


def test_training_is_the_cts_superset(data):
    train = check_data_dir(data / "train", 4, 2)
    assert list(train.utt2spk.items())[0] == ("7001_3", "7001") and train.info["7002_4"] == {"corpus": "mx4"}


BAD_KEYS = {
    "type": (LINES[0].replace(",target,", ",maybe,"), "line 9: found trial type 'maybe'"),
    "flag": (LINES[0].replace(",Y,", ",yes,"), "line 9: found condition flag 'yes'"),
    "fields": ("4001,taaaho,a,target,x,Y,N", "line 9: found 7 fields"),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_a_bad_line_of_the_key_is_named(own, tmp_path, capsys, case):
    line, message = BAD_KEYS[case]
    put(own / "sre12" / KEY, "header", *LINES, line)
    assert prepare(own, tmp_path / "data") == 1
    refused(capsys, KEY, message)
    assert not (tmp_path / "data/prep.json").exists() and not list((tmp_path / "data").glob("trials/cc*"))


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "an empty trial list"),
        ([LINES[6]], "an empty trial list"),
        (LINES[1:2], "1 trials, every one of them nontarget"),
    ],
)
def test_keys_that_make_no_list_are_refused(own, tmp_path, capsys, lines, message):
    put(own / "sre12" / KEY, "header", *lines)
    assert prepare(own, tmp_path / "data") == 1
    refused(capsys, message)


def test_missing_enrolment_recordings_are_counted(discs, tmp_path, capsys):
    assert prepare(discs, tmp_path / "data", sre08=False) == 1
    refused(
        capsys,
        "5 of 5 enrolment recordings missing (first: NIST_SRE08/data/long/faaaa.sph)",
        "--sre06 --sre08 --sre10",
        "--max-missing",
    )


def test_missing_recordings_may_be_left_out(own, tmp_path, capsys):
    (own / "sre08/NIST_SRE08/data/short2/fcccc.sph").unlink()
    put(
        own / "sre12" / KEY,
        "header",
        *LINES,
        key_line("4001", "tzzzzz", "a", "target", "NYNNN"),
        key_line("4001", "tbbbho", "a", "target", "NYNNY"),
        key_line("4001", "tccckk", "a", "known_nontarget", "YNNYN"),
    )
    assert prepare(own, tmp_path / "data", "--max-missing=0.5") == 0
    said = capsys.readouterr().out
    assert "left out: 1 of 5 enrolment recordings missing (first: NIST_SRE08/data/short2/fcccc.sph)" in said
    assert (
        "left out: 3 of 9 trials without test file or enrolment (2 ids: 4003 in 2 trials, tzzzzz:a in 1 trials)" in said
    )
    assert (
        len(trial_lines(tmp_path / "data", "cc2")) == 4
        and "4003" not in (tmp_path / "data/enroll/model2utts").read_text()
    )


def test_missing_test_recordings_are_named(own, tmp_path, capsys):
    (own / "sre12/data/tel_phn/taaaho-tfdwxt/tbbbho_sre12.sph").unlink()
    assert prepare(own, tmp_path / "data") == 1
    refused(capsys, "1 of 6 trials without test file or enrolment", "tbbbho:b in 1 trials", "--max-missing")


def test_a_side_that_the_file_does_not_have_is_missing(own, tmp_path, capsys):
    sph(own / "sre12/data/tel_phn/taaaho-tfdwxt/tbbbho_sre12.sph.new", channels=1)
    (own / "sre12/data/tel_phn/taaaho-tfdwxt/tbbbho_sre12.sph.new").replace(
        own / "sre12/data/tel_phn/taaaho-tfdwxt/tbbbho_sre12.sph"
    )
    assert prepare(own, tmp_path / "data") == 1
    refused(capsys, "tbbbho:b in 1 trials")


def test_a_truncated_recording_is_named(own, tmp_path, capsys):
    path = own / "cts/data/7001_3.sph"
    path.write_bytes(path.read_bytes()[:-5])
    assert prepare(own, tmp_path / "data") == 1
    refused(capsys, "7001_3.sph", "truncated")


def test_corpora_not_given_are_listed(discs, tmp_path, capsys):
    assert prepare(discs, tmp_path / "data") == 0
    said = capsys.readouterr().out
    assert "not given: sre04 sre05 sre06 sre10 swbd2p1" in said and "mixer6; training: cts" in said
    assert prepare(discs, tmp_path / "data", cts=False, sre08=False) == 1
    refused(capsys, "no training corpus", "--sre04 --sre05", "--mixer6 --cts")
    assert prepare(discs, tmp_path / "data", "--train-on=fisher1,cts") == 1
    refused(capsys, "'fisher1', which is not given", "some of: sre08 cts", "Give --fisher1=DIR")
    assert prepare(discs, tmp_path / "data", "--tables", "x") == 1
    refused(capsys, "unknown option --tables", "--swbd2p1")
    assert prepare(discs, tmp_path / "data", "--fisher1", str(tmp_path)) == 1
    refused(capsys, "no fe_03_p1_calldata.tbl below it", "transcripts")


@pytest.fixture
def more(tmp_path):
    """SRE04, Switchboard-2 phase 1 and Mixer 6."""
    for name in ("sre04", "swbd2p1", "mixer6"):
        CORPORA[name][0](tmp_path / "more" / name, name)
    return [f"--{name}={tmp_path}/more/{name}" for name in ("sre04", "swbd2p1", "mixer6")]


def test_training_corpora_are_merged_and_counted(discs, more, tmp_path, capsys):
    assert prepare(discs, tmp_path / "data", *more, "--train-on=sre04,swbd2p1,mixer6") == 0
    said = capsys.readouterr().out
    assert "left out: 1 of 4 sre04: recordings missing (first: tmissing)" in said
    assert "train/merging: 7 speakers before merging, 6 speakers after" in said
    train = check_data_dir(tmp_path / "data/train", 10, 6)
    assert len(train.spk2utt["1001"]) == 2 and train.info["1001-mixer6-20090714_134807_8432-a"] == {"corpus": "mixer6"}
    summary = json.loads((tmp_path / "data/prep.json").read_text())
    assert summary["train/mixer6"] == {"sides": 3, "missing": 0, "sides without a speaker": 1}
    assert prepare(discs, tmp_path / "data", *more, "--force=true") == 0  # and the CTS superset
    assert "cts_7001" in check_data_dir(tmp_path / "data/train", 14, 8).spk2utt


def test_pins_can_be_kept_apart(discs, more, tmp_path):
    assert prepare(discs, tmp_path / "data", *more, "--merge-pins=false", "--train-on=sre04,mixer6") == 0
    assert {"sre04_1001", "mixer6_1001"} <= set(check_data_dir(tmp_path / "data/train", 6, 4).spk2utt)


BOTH_KINDS = [("false", 2, ["1001"], "4 microphone recordings left out"), ("true", 6, ["1001", "1010"], "4 microphone")]


@pytest.mark.parametrize("keep, sides, speakers, told", BOTH_KINDS)
def test_training_is_on_telephone_recordings_unless_asked(discs, tmp_path, capsys, keep, sides, speakers, told):
    CORPORA["sre10"][0](tmp_path / "sre10", "sre10")
    options = (f"--sre10={tmp_path}/sre10", "--train-on=sre10", f"--keep-microphone={keep}")
    assert prepare(discs, tmp_path / "data", *options) == 0
    assert f"train/sre10: {sides} sides, 0 missing, 2 telephone, {told}" in capsys.readouterr().out
    assert list(check_data_dir(tmp_path / "data/train", sides, len(speakers)).spk2utt) == speakers


def test_a_training_corpus_without_its_audio_is_refused(discs, more, tmp_path, capsys):
    call = tmp_path / "more/swbd2p1/disc1/data/sw2001.sph"
    call.unlink()
    assert prepare(discs, tmp_path / "data", *more) == 1
    refused(capsys, "2 of 4 swbd2p1: recordings missing (first: sw2001)", "--max-missing-train")
    shutil.rmtree(tmp_path / "more/sre04/r1")
    shutil.rmtree(tmp_path / "more/sre04/r2")
    assert prepare(discs, tmp_path / "data", *more) == 1
    refused(capsys, "no recording of its tables", "Check --sre04")


def test_side_b_of_a_mono_training_file_is_left_out(discs, more, tmp_path, capsys):
    sph(tmp_path / "more/swbd2p1/disc1/data/sw2001.sph", channels=1)
    assert prepare(discs, tmp_path / "data", *more) == 0
    assert "training: left out 1 side b of a one-channel file of 14" in capsys.readouterr().out


def test_short_enrolment_recordings_can_be_left_out(own, tmp_path, capsys):
    for name in ("fbbbb", "fcccc"):
        sph(own / f"sre08/NIST_SRE08/data/short2/{name}.sph", 0.4)
    assert prepare(own, tmp_path / "data", "--min-enroll-seconds=0.3") == 0
    assert "enrolment: left out 2 shorter than 0.3 s of 5" in capsys.readouterr().out
    enroll = check_data_dir(tmp_path / "data/enroll", 3, 3)
    assert enroll.model2utts == {"4001": ["4001-fbbbb-a"], "4002": ["4002-fbbbb-b"], "4003": ["4003-fcccc-a"]}


@pytest.mark.parametrize(
    "name, message", [(KEY, "no such file"), (TABLES.format("2.1", "", "2.1"), ""), ("docs", "file maps")]
)
def test_a_root_without_its_tables_is_refused(own, tmp_path, capsys, name, message):
    path = own / "sre12" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert prepare(own, tmp_path / "data") == 1
    refused(capsys, message or "sre12")


def test_current_data_is_kept_and_a_changed_key_needs_force(own, tmp_path, capsys):
    data = tmp_path / "data"
    assert prepare(own, data) == 0 and prepare(own, data) == 0
    assert "up to date" in capsys.readouterr().err
    put(own / "sre12" / KEY, "header", *LINES[:5], LINES[5])
    assert prepare(own, data) == 1
    refused(capsys, "changed", "--force")
    assert prepare(own, data, "--force=true") == 0


def test_the_settings_of_the_real_corpora_are_options_of_their_preparations(discs, tmp_path):
    assert prepare(discs, tmp_path / "data", "--config", "conf/sre12/prep.conf") == 0
    assert check_data_dir(tmp_path / "data/train", 4, 2).spk2utt.keys() == {"7001", "7002"}

"""Selection of training material: every rule, hold-outs, no leak of a held-out recording through its copies."""

import dataclasses

import pytest

from pyasp.bin import select as verb
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.data.selection import (
    HELD,
    Augmented,
    SelectOptions,
    by_reason,
    lopsided,
    much_left_out,
    select,
    write_left_out,
)
from pyasp.report import facts

CLEAN = {f"s{k:02d}-u{i}": f"s{k:02d}" for k in range(20) for i in range(5)}
UTT2CLEAN = {**{u: u for u in CLEAN}, **{f"{u}-noise1": u for u in CLEAN}}
UTT2SPK = {u: CLEAN[c] for u, c in UTT2CLEAN.items()}
VOICED = {u: 100 + int(c[1:3]) for u, c in UTT2CLEAN.items()}
OPTIONS = SelectOptions(min_voiced_ubm=50, min_voiced=50, min_utts=2, dev_fraction=0.2)


def chosen(options=OPTIONS, voiced=VOICED, seed=1):
    return select(CLEAN, Augmented(UTT2SPK, UTT2CLEAN, voiced, UTT2SPK), options, seed)


def test_dev_speakers_are_nowhere_else():
    result = chosen()
    assert len(result.dev_speakers) == 4
    assert not {UTT2SPK[u] for u in result.ubm + result.train} & set(result.dev_speakers)
    assert set(result.ubm) <= set(CLEAN)


def test_a_share_of_the_speakers_lies_within_a_larger_one_and_the_hold_outs_stay():
    shares = {share: chosen(dataclasses.replace(OPTIONS, train_fraction=share)) for share in (0.25, 0.5, 1.0)}
    speakers = {share: {UTT2SPK[u] for u in result.train} for share, result in shares.items()}
    assert [len(each) for each in speakers.values()] == [4, 8, 16] and speakers[0.25] < speakers[0.5] < speakers[1.0]
    assert all({CLEAN[u] for u in result.ubm} == speakers[share] for share, result in shares.items())
    assert {tuple(result.dev_speakers) for result in shares.values()} == {tuple(chosen().dev_speakers)}
    assert shares[0.25].left_out_ubm == {"speaker held out (dev)": 20, "speaker beyond --train-fraction": 60}
    with pytest.raises(InputError, match="--train-fraction: found 0; expected a number in .0, 1."):
        SelectOptions(train_fraction=0.0)


def test_copies_at_other_speeds_are_other_speakers_but_held_out_with_the_person():
    fast = {f"{spk}~1.1{utt[3:]}": utt for utt, spk in CLEAN.items()}
    utt2spk = CLEAN | {utt: utt.split("-")[0] for utt in fast}
    every = Augmented(
        utt2spk,
        {utt: utt for utt in utt2spk},
        dict.fromkeys(utt2spk, 100),
        CLEAN | {u: CLEAN[c] for u, c in fast.items()},
    )
    result = select(CLEAN, every, OPTIONS, 1)
    trained = {utt2spk[utt] for utt in result.train}
    assert len(trained) == 2 * (20 - 4) and not {spk.split("~")[0] for spk in trained} & set(result.dev_speakers)
    assert set(result.ubm) <= set(CLEAN)


def test_validation_recordings_come_with_their_copies_and_leave_the_speaker_enough():
    result = chosen()
    originals = {UTT2CLEAN[u] for u in result.valid}
    assert set(result.valid) == {u for u in result.train if UTT2CLEAN[u] in originals}
    assert len(originals) == len({CLEAN[u] for u in originals}) == 8


def test_short_recordings_and_poor_speakers_are_left_out_and_counted():
    voiced = {
        **VOICED,
        "s00-u0": 10,
        "s00-u0-noise1": 10,
        **{f"s01-u{i}{c}": 10 for i in range(1, 5) for c in ("", "-noise1")},
    }
    result = chosen(SelectOptions(min_voiced_ubm=50, min_voiced=50, min_utts=2), voiced)
    assert "s00-u0" not in result.ubm and "s00-u0-noise1" not in result.train
    assert "s01" not in {UTT2SPK[u] for u in result.train} and "s01-u0" in result.ubm
    assert result.left_out_ubm == {"fewer than 50 voiced frames": 5}
    assert result.left_out_train == {"fewer than 50 voiced frames": 10, "speaker with fewer than 2 such recordings": 2}


def test_longest_recordings_for_the_ubm():
    result = chosen(SelectOptions(min_voiced_ubm=0, min_voiced=0, min_utts=1, max_utts_ubm=5))
    assert {CLEAN[u] for u in result.ubm} == {"s19"}


def test_draws_depend_on_the_seed_alone():
    assert chosen().valid == chosen().valid and chosen(seed=2).dev_speakers != chosen(seed=3).dev_speakers


def test_empty_selections_are_errors_that_name_the_file():
    with pytest.raises(InputError, match="train_ubm: found no recording left.*select.conf"):
        chosen(SelectOptions(min_voiced_ubm=1000, min_voiced=0, min_utts=1))
    with pytest.raises(InputError, match="train_sel: found no recording left"):
        chosen(SelectOptions(min_voiced_ubm=0, min_voiced=0, min_utts=9))


def test_two_recordings_a_speaker_are_enough():
    """One of two is held out for validation where nobody has three; an i-vector alone needs no validation at all."""
    two = {utt: spk for utt, spk in CLEAN.items() if utt.endswith(("u0", "u1"))}
    pairs = Augmented(two, {utt: utt for utt in two}, dict.fromkeys(two, 100), two)
    result = select(two, pairs, OPTIONS, 1)
    assert len(result.train) == 32 and len(result.valid) == 8 == len({two[utt] for utt in result.valid})
    one = {utt: spk for utt, spk in CLEAN.items() if utt.endswith("u0")}
    single = Augmented(one, {utt: utt for utt in one}, dict.fromkeys(one, 100), one)
    result = select(one, single, SelectOptions(min_voiced_ubm=50, min_voiced=50, min_utts=1), 1)
    assert not result.valid and len(result.ubm) == len(result.train) == 20


def test_a_speaker_with_most_of_the_recordings_is_named():
    others = {f"s{k}-{i}": f"s{k}" for k in range(10) for i in range(2)}
    assert "speaker s has 500 of 520 training recordings" in lopsided(others | {f"s-{i}": "s" for i in range(500)})
    assert lopsided(others | {f"s-{i}": "s" for i in range(20)}) == lopsided({}) == ""
    assert lopsided({"a": "x", "b": "x", "c": "y"}) == ""  # of two speakers one always has most, or both are alike


def test_the_tool_keeps_what_was_left_out_and_why(tmp_path):
    """Ten speakers of three recordings, one of them short: for the report, which shows it by set and reason."""
    speaker = {f"s{k}-{i}": f"s{k}" for k in range(10) for i in range(3)}
    for name in ("train", "train_aug"):
        directory = DataDir(tmp_path / name)
        directory.path.mkdir()
        directory.write_speakers(speaker)
        for table in ("feats.scp", "vad.scp"):
            directory.write(table, {utt: f"x.ark:{number}" for number, utt in enumerate(speaker)})
        directory.write("utt2num_voiced", {utt: "40" if utt.endswith("-2") else "90" for utt in speaker})
        directory.write("utt2clean", {utt: utt for utt in speaker})
    words = [str(tmp_path / name) for name in ("train", "train_aug", "train_ubm", "train_sel")]
    options = ["--min-voiced-ubm=10", "--min-voiced=50", "--min-utts=2", "--dev-fraction=0.2"]
    assert verb.main(["train", *options, *words]) == 0
    assert facts.dropped(tmp_path, "train_ubm") == {"speaker held out (dev)": 6}
    assert facts.dropped(tmp_path, "train_sel") == {"speaker held out (dev)": 6, "fewer than 50 voiced frames": 8}
    assert facts.data_table(tmp_path)[3][0::6] == ["train_ubm", "6"]


def test_voice_activity_that_loses_most_of_the_training_material_is_told(tmp_path, capsys):
    """Eight of ten speakers keep one of five recordings each; the two others one recording less."""
    speaker = {f"s{k}-{i}": f"s{k}" for k in range(10) for i in range(5)}
    short = {utt for utt in speaker if utt[3] == "4" or (utt[1] not in "01" and utt[3] != "0")}
    for name in ("train", "train_aug"):
        directory = DataDir(tmp_path / name)
        directory.write_speakers(speaker)
        for table in ("feats.scp", "vad.scp"):
            directory.write(table, {utt: f"x.ark:{number}" for number, utt in enumerate(speaker)})
        directory.write("utt2num_frames", dict.fromkeys(speaker, "300"))
        directory.write("utt2num_voiced", {utt: "6" if utt in short else "90" for utt in speaker})
        directory.write("utt2clean", {utt: utt for utt in speaker})
    words = [str(tmp_path / name) for name in ("train", "train_aug", "train_ubm", "train_sel")]
    assert verb.main(["train", "--min-voiced-ubm=5", "--min-voiced=50", "--min-utts=2", *words]) == 0
    rest = "of 50 recordings were left out of train_sel, which has 2 of 10 speakers: "
    voice = "fewer than 50 voiced frames (select.conf); voice activity (vad.conf) keeps 11 % of all frames"
    told = [f"34 {rest}{voice}", f"8 {rest}speaker with fewer than 2 such recordings"]
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")] == [
        f"warning: {line}" for line in told
    ]
    assert [line for _, line in facts.losses(tmp_path / "exp", tmp_path, [])] == told


def test_speakers_lost_with_few_recordings_are_told_and_what_was_asked_for_is_not(tmp_path):
    before, kept = DataDir(tmp_path / "train_aug"), DataDir(tmp_path / "train_sel")
    before.write_speakers({f"s{k}-{i}": f"s{k}" for k in range(5) for i in range(1 if k < 2 else 20)})
    kept.write_speakers({utt: spk for utt, spk in before.utt2spk.items() if spk in "s3 s4"})
    few = "speaker with fewer than 2 such recordings"
    reasons = {utt: few if spk in "s0 s1" else HELD for utt, spk in before.utt2spk.items() if spk not in "s3 s4"}
    assert by_reason(before.utt2spk, reasons) == ({few: 2, HELD: 20}, {few: 2, HELD: 1})
    write_left_out(kept, *by_reason(before.utt2spk, reasons))
    share = "2 of 62 recordings were left out of train_sel, which has 2 of 5 speakers"
    assert much_left_out(kept, before) == [f"{share}: {few}"]

"""Joined recordings: lengths, words that model and test do not share, the same pairs in every list."""

import join_words
import numpy as np
import pytest
import soundfile
from prep_trees import refused

from local import prep_folder

RATE = 8000
WORDS = "one two three four five".split()


@pytest.fixture
def protocol(tmp_path):
    """Four evaluation speakers; `few` has two words. The samples of a recording are all its number."""
    rows, number = [], 0
    for speaker in ("ann", "bob", "cyd", "few"):
        for take, word in [(take, word) for take in (0, 1) for word in (WORDS if speaker != "few" else WORDS[:2])]:
            number += 1
            path = tmp_path / "audio" / speaker / f"{word}-{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(RATE, number, np.int16), RATE)
            rows.append((f"{speaker}-{word}-{take}", speaker, f"{speaker}/{word}-{take}.wav", word))
    for name, lines in (("test", rows), ("enroll", rows), ("train", rows[:2])):
        text = "".join("\t".join(row) + "\n" for row in [("utt", "speaker", "path", "word"), *lines])
        (tmp_path / f"{name}.tsv").write_text(text)
    return tmp_path, {number: row for number, row in enumerate(rows, 1)}


def join(protocol, *options):
    given = ["--tables", str(protocol), "--root", str(protocol / "audio"), "--enroll=2", "--lengths=1", "--lengths=4"]
    return join_words.main([*given, "--draws=2", "--nontargets=3", *options, str(protocol / "out")])


def recordings_of(path):
    """The numbers of the recordings in a joined one, each a second."""
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE and len(samples) % RATE == 0
    parts = samples.reshape(-1, RATE)
    assert (parts == parts[:, :1]).all()
    return parts[:, 0].tolist()


def test_models_and_tests_share_no_word_and_a_test_begins_the_next(protocol):
    directory, rows = protocol
    assert join(directory) == 0
    for speaker in ("ann", "bob", "cyd"):
        for k in (1, 2):
            model, short, long = (
                recordings_of(directory / f"out/audio/{speaker}/{name}.flac")
                for name in (f"model{k}", f"test{k}-1", f"test{k}-4")
            )
            assert (len(model), len(short), len(long)) == (2, 1, 4) and long[:1] == short
            assert len(set(model + long)) == 6 and {rows[n][1] for n in model + long} == {speaker}
            words = {rows[n][3] for n in model}
            assert len(words) == 2 and not words & {rows[n][3] for n in long}
    assert not (directory / "out/audio/few").exists()


def test_every_list_holds_the_same_pairs_and_the_tables_are_a_protocol(protocol, capsys):
    directory, _ = protocol
    assert join(directory) == 0
    assert "6 models of 3 speakers; 1 have too few recordings" in capsys.readouterr().out
    lists = [(directory / f"out/trials_{length}").read_text().split("\n") for length in (1, 4)]
    assert [line.replace("-1 ", "-4 ") for line in lists[0]] == lists[1]
    lines = [line.split() for line in lists[0][:-1]]
    assert len(lines) == 6 * 4 and sum(label == "target" for *_, label in lines) == 6
    assert all((model[:3] == test[:3]) == (label == "target") for model, test, label in lines)
    assert prep_folder.main(["--data", str(directory / "data"), "--tables", str(directory / "out")]) == 0


def test_the_seed_decides(protocol):
    directory, _ = protocol
    texts = []
    for seed in (1, 1, 2):
        assert join(directory, f"--seed={seed}") == 0
        texts.append(b"".join(sorted(path.read_bytes() for path in (directory / "out/audio").rglob("*.flac"))))
    assert texts[0] == texts[1] != texts[2]


def test_too_few_recordings_are_one_clear_error(protocol, capsys):
    assert join(protocol[0], "--lengths=30") == 1
    refused(capsys, "0 speakers with 2 words and 30 recordings", "Lower --enroll or --lengths")

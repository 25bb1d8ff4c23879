"""Small trees of the real corpora for the tests of their preparation; audio from the toy synthesiser."""

import functools
from pathlib import Path

import lhotse
import numpy as np

from local import toy_speech
from local.toy_trees import write_wav
from pyasp.audio import read_samples
from pyasp.datadir import DataDir


@functools.cache
def speech(rate=16000, seconds=1.0):
    """(rate * seconds,) int16 of one toy speaker."""
    rng = toy_speech.stream(1, "tests")
    clean = toy_speech.speak(toy_speech.draw_speaker(rng, "m"), toy_speech.Manner(), seconds, rate, rng)
    return np.rint(clean / np.abs(clean).max() * 20000).astype(np.int16)


def wav(path, start=0, samples=1600, rate=16000):
    """A short wav file, different for different starts; returns its path."""
    write_wav(str(path), np.roll(speech(rate), -17 * start)[:samples], rate)
    return Path(path)


def tables(directory):
    """{name: content} of every file of a data directory."""
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def check_data_dir(directory, utterances, speakers):
    """What contracts.md promises of any data directory; returns it. Counts as given."""
    data = DataDir(directory)
    assert len(data.utt2spk) == utterances and len(data.spk2utt) == speakers
    assert list(data.utt2spk) == sorted(data.utt2spk, key=str.encode) and all(
        u.startswith(s) for u, s in data.utt2spk.items()
    )
    assert {spk: utts.split() for spk, utts in data.read("spk2utt").items()} == data.spk2utt
    cuts = lhotse.CutSet.from_file(data / "cuts.jsonl.gz")
    assert [cut.id for cut in cuts] == list(data.utt2spk)
    for cut in cuts:
        assert cut.supervisions[0].speaker == data.utt2spk[cut.id]
        assert len(read_samples(cut.to_dict(), cut.sampling_rate)) == cut.num_samples
        assert float(data.read("utt2dur")[cut.id]) == np.float64(f"{cut.duration:.4f}")
    return data


def trial_lines(data, name):
    """Lines of one trial list, split."""
    return [line.split() for line in (Path(data) / "trials" / name).read_text().splitlines()]

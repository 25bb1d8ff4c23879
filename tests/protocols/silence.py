"""EER of a bundle with digital silence on the test side: python tests/protocols/silence.py MODEL DATA LIST [TRIALS]

MODEL: of `pyasp bundle`; DATA: data directories with enroll/, test/ and trials/LIST; TRIALS: at most so many, drawn.
A line for each kind of silence: its EER in percent, and the share of the samples that it took.
"""

import sys
from pathlib import Path

import numpy as np

from pyasp import SpeakerModel
from pyasp.audio.cut_files import CutStream
from pyasp.audio.cuts import read_samples
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.evaluation.metrics import eer_kaldi

FULL = 32768.0


def gate(wave: np.ndarray, rate: int, decibels: float) -> np.ndarray:
    """Zeros where the recording is more than so far below its loud parts, in blocks of 20 ms; it closes a block late."""
    size = rate // 50
    blocks = wave[: len(wave) // size * size].reshape(-1, size)
    level = np.sqrt((blocks**2).mean(1))
    open_ = level > np.quantile(level, 0.95) * 10 ** (-decibels / 20)
    open_[1:] |= open_[:-1].copy()
    mask = np.repeat(open_, size)
    return np.where(np.append(mask, np.full(len(wave) - len(mask), mask[-1:])), wave, 0.0)


def zeros(rate: int, seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * rate))


KINDS = {
    "clean": lambda x, rate: x,
    "1 s of zeros at both ends": lambda x, rate: np.concatenate([zeros(rate, 1), x, zeros(rate, 1)]),
    "0.5 s in the middle": lambda x, rate: np.concatenate([x[: len(x) // 2], zeros(rate, 0.5), x[len(x) // 2 :]]),
    "noise gate, 20 dB": lambda x, rate: gate(x, rate, 20),
    "noise gate, 30 dB": lambda x, rate: gate(x, rate, 30),
    "noise gate, 40 dB": lambda x, rate: gate(x, rate, 40),
}


def waves(data: DataDir, utts: set[str], rate: int) -> dict[str, np.ndarray]:
    """{utterance: samples in [-1, 1]}."""
    cuts = CutStream(data / "cuts.jsonl.gz").take(sorted(utts))
    return {utt: read_samples(item, rate, -1, True, True, False) / FULL for utt, item in cuts}


def embedded(model: SpeakerModel, sounds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{utterance: (E,)}; recordings without speech are said and left out."""
    found = {}
    for utt, wave in sounds.items():
        try:
            found[utt] = model.embed(wave, model.rate)
        except InputError as error:
            print(f"{utt}: {error}", file=sys.stderr)
    return found


def eer(model: SpeakerModel, trials: list[list[str]], enrolled: dict[str, np.ndarray], tests: dict) -> float:
    """In percent, over the trials whose test has speech."""
    scores: dict[bool, list] = {True: [], False: []}
    for name, vectors in enrolled.items():
        own = [(test, kind == "target") for model_name, test, kind in trials if model_name == name and test in tests]
        if own:
            found = model.score(vectors, np.stack([tests[test] for test, _ in own]))
            for score, (_, target) in zip(found, own):
                scores[target].append(score)
    return 100 * eer_kaldi(np.sort(scores[True]), np.sort(scores[False]))[0]


def main(bundle: str, directory: str, name: str, most: str = "0") -> None:
    model, enroll, test = (
        SpeakerModel.load(bundle),
        DataDir(Path(directory) / "enroll"),
        DataDir(Path(directory) / "test"),
    )
    trials = [line.split() for line in (Path(directory) / "trials" / name).read_text().splitlines()]
    if int(most) and int(most) < len(trials):
        trials = [trials[k] for k in np.random.default_rng(0).permutation(len(trials))[: int(most)]]
    of = {each: enroll.model2utts[each] for each in sorted({trial[0] for trial in trials})}
    clean = embedded(model, waves(enroll, {u for utts in of.values() for u in utts}, model.rate))
    models = {each: np.stack([clean[utt] for utt in utts]) for each, utts in of.items()}
    sounds = waves(test, {trial[1] for trial in trials}, model.rate)
    for kind, change in KINDS.items():
        changed = {utt: change(wave, model.rate) for utt, wave in sounds.items()}
        kept = sum(np.count_nonzero(wave) for wave in changed.values()) / sum(map(np.count_nonzero, sounds.values()))
        figure = eer(model, trials, models, embedded(model, changed))
        print(f"{kind:<26} {figure:6.2f} %   {1 - kept:4.0%} of the samples", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

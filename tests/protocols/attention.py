"""Which recordings attention helps and which it hurts: python tests/protocols/attention.py DATA LIST PICTURE EXP...

DATA: a data directory of run.sh; LIST: of its trials/; EXP: exp directories of the same lists, one a seed, each with
`statistics` and `attentive_statistics`. Prints whether the recordings are the same ones for every seed, and the gain by how
unequal the weights are; PICTURE (x.png) shows the three recordings that are helped most and the three that are hurt most.
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from pyasp.audio.cut_files import CutStream
from pyasp.audio.cuts import read_samples
from pyasp.data.datadir import DataDir
from pyasp.data.trials import TrialList, read_trials
from pyasp.evaluation.metrics import eer_kaldi, split
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.features.stored import iterate
from pyasp.kaldi import ScpReader
from pyasp.network.attention import frame_weights, spectrogram
from pyasp.network.checkpoint import load_network, options_from
from pyasp.report.figures import INK

PAIR = ("attentive_statistics", "statistics")


def shares(scores: np.ndarray, trials: TrialList) -> np.ndarray:
    """(recordings,) share of wrong decisions about each test recording at the EER's threshold, both kinds of trial
    weighted alike over the list; scores (trials,)."""
    _, threshold = eer_kaldi(*split(scores, trials.target))
    wrong = np.where(trials.target, scores < threshold, scores >= threshold)
    weight = np.where(trials.target, 1 / trials.target.sum(), 1 / (~trials.target).sum())
    size = len(trials.tests)
    return np.bincount(trials.test, wrong * weight, size) / np.bincount(trials.test, weight, size)


def gains(exps: list[Path], name: str, trials: TrialList) -> np.ndarray:
    """(seeds, recordings): share of wrong decisions with attention minus that without."""
    wrong = [[shares(np.load(exp / s / f"scores/{name}.f32.npy"), trials) for s in PAIR] for exp in exps]
    return np.array([attentive - plain for attentive, plain in wrong])


def weights(exp: Path, data: DataDir) -> dict[str, np.ndarray]:
    """{recording: weights over their mean (T,), NaN where unvoiced} of those long enough for the network."""
    system = exp / PAIR[0]
    net, options = load_network(system / "final.pt", torch.device("cpu"))
    voiced = ScpReader(data / "vad.scp")
    frontend = options_from(options, NetworkFrontendOptions, system)
    return {
        utt: frame_weights(net, feats, voiced[utt])
        for utt, feats in iterate(data, frontend, failed={})
        if len(feats) >= net.shortest
    }


def values(row: np.ndarray) -> np.ndarray:
    """The weights of the frames that have one, float64."""
    return row[np.isfinite(row)].astype(np.float64)


def flatness(row: np.ndarray) -> float:
    """Exponential of the entropy of the weights over their number: 1 for equal ones."""
    alpha = values(row) / values(row).sum()
    return float(np.exp(-(alpha * np.log(alpha)).sum()) / len(alpha))


def draw(data: DataDir, panels: dict[str, list[np.ndarray]], gain: dict[str, float], path: str) -> None:
    """Six spectrograms with the weights of every seed below."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(4, 3, height_ratios=[1.5, 1, 1.5, 1], sharey="row")
    cuts = dict(CutStream(data / "cuts.jsonl.gz").take(sorted(panels)))
    for k, (utt, rows) in enumerate(panels.items()):
        top, bottom = axes[k // 3 * 2 : k // 3 * 2 + 2, k % 3]
        rate = int(cuts[utt]["recording"]["sampling_rate"])
        frames = len(rows[0])
        image = spectrogram(read_samples(cuts[utt], rate), rate, frames)
        top.imshow(image, origin="lower", aspect="auto", extent=(0, frames / 100, 0, rate / 2000), cmap="magma")
        top.set(title=f"{utt}: {100 * gain[utt]:+.0f} points")
        for row in rows:
            bottom.plot(np.arange(frames) / 100, row, linewidth=1.1)
        bottom.axhline(1, color=INK, linewidth=0.6, linestyle=":")
        bottom.set(xlabel="seconds", xlim=(0, frames / 100))
    for row, label in enumerate(("kHz", "weight × frames") * 2):
        axes[row, 0].set_ylabel(label)
    figure.savefig(path, dpi=90)


def main(directory: str, name: str, picture: str, *exps: str) -> None:
    data, trials = DataDir(Path(directory) / "test"), read_trials(Path(directory) / "trials" / name)
    gain = gains([Path(exp) for exp in exps], name, trials)
    mean = gain.mean(axis=0)
    print(f"{(mean < 0).sum()} recordings helped, {(mean > 0).sum()} hurt, {(mean == 0).sum()} neither")
    attention = [weights(Path(exp), data) for exp in exps]
    for a, b in combinations(range(len(exps)), 2):
        alike = np.nanmean([np.corrcoef(values(attention[a][u]), values(attention[b][u]))[0, 1] for u in attention[0]])
        same = np.corrcoef(gain[a], gain[b])[0, 1]
        print(f"seeds {a + 1} and {b + 1}: gains correlate {same:+.3f}, weights {alike:+.3f}")
    seen = np.array([all(utt in rows for rows in attention) for utt in trials.tests])
    flat = np.array(
        [np.mean([flatness(rows[u]) for rows in attention]) if s else np.nan for u, s in zip(trials.tests, seen)]
    )
    generator = np.random.default_rng(0)
    for part in np.array_split(np.flatnonzero(seen)[np.argsort(flat[seen], kind="stable")], 4):
        draws = generator.choice(mean[part], (1000, len(part))).mean(axis=1)
        low, high = 100 * np.quantile(draws, [0.025, 0.975])
        print(
            f"flatness {flat[part[0]]:.3f} to {flat[part[-1]]:.3f}: {100 * mean[part].mean():+.2f} ({low:+.2f} to {high:+.2f})"
        )
    # shown: those whose least gain over the seeds is largest, and the other way round
    order = [np.argsort(gain.max(axis=0), kind="stable"), np.argsort(-gain.min(axis=0), kind="stable")]
    shown = [trials.tests[k] for best in order for k in best[seen[best]][:3]]
    index = {utt: k for k, utt in enumerate(trials.tests)}
    draw(data, {u: [rows[u] for rows in attention] for u in shown}, {u: float(mean[index[u]]) for u in shown}, picture)


if __name__ == "__main__":
    main(*sys.argv[1:])

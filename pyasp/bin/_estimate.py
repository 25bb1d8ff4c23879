"""About how long a run will take here: the work of its stages, by the size of the data and the settings.

Work is counted in the operations of square products that the machine does meanwhile (pyasp.core.costs.Work). The
constants are of the machine of tests/bench/README.md (90 GFLOP/s on a core): reading, decoding and mixing are counted
as what it could have multiplied in that time. A program's start is that of one that imports torch; what several small
ones take, and models written at each iteration, is counted as starts too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pyasp.audio.augment import AugmentOptions, speeds_of
from pyasp.bin._stale import system_conf
from pyasp.core.conf import read_conf
from pyasp.core.costs import Work
from pyasp.core.options import subset
from pyasp.data.datadir import DataDir
from pyasp.data.selection import SelectOptions, select_ubm
from pyasp.data.trials import trial_lists
from pyasp.features.frontend import FrontendOptions, output_dim
from pyasp.features.kinds import KINDS
from pyasp.gmm import train as gmm
from pyasp.ivector import train as ivector
from pyasp.network.model import ONNX, ArchitectureOptions, Network
from pyasp.training.compute import training_flop, training_work
from pyasp.training.options import NetworkOptions

SECOND = 90e9  # operations
STARTED = 1.5  # times what a program takes until it works: its end, its shell and its logs
READ = 0.0004 * SECOND  # a stored recording through the front end
COPY, COPIED_SECOND = 0.0012 * SECOND, 0.002 * SECOND  # an augmented copy mixed and analysed; a second of it
TRIAL = 10e-6 * SECOND  # scored, and its metrics
MIXTURES, NETWORKS = 1 / 3, 1 / 2  # share of the pace that UBM and extractor, and networks keep up


@dataclass(frozen=True)
class Size:
    """Of a set: recordings, voiced frames, seconds, speakers."""

    recordings: int
    frames: int
    seconds: float
    speakers: int

    @classmethod
    def of(cls, data: DataDir, kept: SelectOptions | None = None) -> Size:
        """Of a set that has its voice activity; kept: the rules by which recordings train."""
        data.require("utt2spk", "utt2num_voiced", "utt2dur")
        voiced = data.counts("utt2num_voiced")
        utts = {utt: spk for utt, spk in data.utt2spk.items() if utt in voiced}
        if kept:
            chosen = select_ubm(utts, voiced, {}, kept)[0]
            utts = {utt: utts[utt] for utt in chosen}
        durations = data.read("utt2dur")
        seconds = sum(float(durations.get(utt, 0)) for utt in utts)
        return cls(len(utts), sum(voiced[utt] for utt in utts), seconds, len(set(utts.values())))

    def times(self, factor: float) -> Size:
        """The set with copies, or a part of it."""
        return Size(int(self.recordings * factor), int(self.frames * factor), self.seconds * factor, self.speakers)


@dataclass(frozen=True)
class Plan:
    """A run from the voice activity of its recordings on: its sets and settings. copied: all of the training set but
    its clean recordings; trained: what networks and back end train on; others: recordings of the evaluation."""

    conf: Path
    copied: Size
    ubm: Size
    trained: Size
    others: Size
    trials: int

    @classmethod
    def of(cls, conf: str, data: str) -> Plan:
        """Of conf and data directories."""
        select = read_conf(Path(conf) / "select.conf", SelectOptions)
        augment = read_conf(Path(conf) / "augment.conf", AugmentOptions)
        train = DataDir(Path(data) / "train")
        copies, share = 1 + augment.copies, (1 - select.dev_fraction) * select.train_fraction
        copies *= 1 + len(speeds_of(augment))
        both = SelectOptions(min_voiced_ubm=select.min_voiced)  # the same rule with the other limit
        lists = [Path(data) / "trials" / name for name in trial_lists(Path(data) / "trials")]
        others = [Size.of(DataDir(Path(data) / name)) for name in ("test", "enroll")]
        return cls(
            Path(conf),
            Size.of(train).times(copies - 1),
            Size.of(train, select).times(share),
            Size.of(train, both).times(share * copies),
            max(others, key=lambda size: size.recordings),  # as a rule those of one are in the other
            sum(path.read_bytes().count(b"\n") for path in lists),
        )

    def dim(self, options: FrontendOptions) -> int:
        """Dimension of what a system reads."""
        kind = KINDS[options.feature_type]
        stored = kind.extractor(read_conf(self.conf / f"{options.feature_type}.conf", kind.options))
        return output_dim(stored.dim, options)

    def copies(self) -> Work:
        """Stages augment and select."""
        return Work(5, self.copied.recordings * COPY + self.copied.seconds * COPIED_SECOND)

    def mixtures(self) -> Work:
        """Stages ubm and extractor."""
        ubm, extractor = self._mixture()
        dim, passes = self.dim(extractor), 1 + ubm.num_iters_diag + ubm.num_iters_full + extractor.num_iters
        size = self.ubm.recordings, self.ubm.frames, dim
        work = gmm.operations(ubm, *size[1:]) + ivector.training_operations(extractor, ubm.num_gauss, *size)
        return Work(4, passes * self.ubm.recordings * READ + work / MIXTURES)

    def network(self, system: str) -> Work:
        """Stage networks of a system."""
        options = self._network(system)
        if options.encoder == ONNX:
            return Work(1)
        net, size = self._net(options), self.trained
        steps = [each.epochs * each.steps(size.frames, size.recordings) for each in options.phases()]
        work = sum(training_work(net, each, count) for each, count in zip(options.phases(), steps))
        return Work(1, size.recordings * READ + work / NETWORKS)

    def vectors(self, system: str) -> Work:
        """Stages embeddings, scores and report of a system."""
        recordings = self.trained.recordings + self.others.recordings
        frames = self.trained.frames + self.others.frames
        if system == "ivector":
            ubm, options = self._mixture()
            work = ivector.operations(options, ubm.num_gauss, recordings, frames, self.dim(options)) / MIXTURES
        else:
            network = self._network(system)
            work = 0 if network.encoder == ONNX else frames * training_flop(self._net(network), 300) / 3 / NETWORKS
        return Work(5, recordings * READ + work + self.trials * TRIAL)

    def _mixture(self) -> tuple[gmm.UbmOptions, ivector.IvectorOptions]:
        extractor = read_conf(self.conf / "ivector.conf", ivector.IvectorOptions)
        return read_conf(self.conf / "ubm.conf", gmm.UbmOptions), extractor

    def _network(self, system: str) -> NetworkOptions:
        return read_conf(self.conf / "tdnn.conf", NetworkOptions, system_conf(self.conf, system))

    def _net(self, options: NetworkOptions) -> Network:
        return Network(subset(options, ArchitectureOptions), self.dim(options), max(1, self.trained.speakers))


def parts(
    plan: Plan, data: Path, exp: Path, systems: list[str], stages: Collection[str], given: bool = False
) -> dict[str, Work]:
    """{name: work} of what these stages of a run have still to make; given: the i-vector models are others'."""
    networks = [each for each in systems if each != "ivector" and not (exp / each / "final.pt").is_file()]
    left = [each for each in systems if not (exp / each / "metrics.json").is_file()]
    found = {}
    if "select" in stages and not (data / "train_sel" / "utt2spk").is_file():
        found["augmented copies"] = plan.copies()
    if "extractor" in stages and "ivector" in systems and not given and not (exp / "ivector" / "final.ie").is_file():
        found["UBM and extractor"] = plan.mixtures()
    if "networks" in stages and networks:
        found["networks"] = sum((plan.network(each) for each in networks), Work())
    if "report" in stages and left:
        found["vectors, scores and report"] = sum((plan.vectors(each) for each in left), Work(2))
    return found

"""A trained system in one directory: everything that scoring needs, and nothing of the recipe's directories.

    bundle.json      kind (network, onnx or ivector), sampling rate, what it was trained and measured on, SHA-256 of
                     each file
    README.md        the same for people: the model card
    mfcc.conf vad.conf network.conf | ivector.conf backend.conf      resolved options, Kaldi's `--key=value` lines
    fbank.conf           the same, where the network reads filter banks, and so of any other kind of features but MFCC;
                     mfcc.conf is then the voice activity's
    network.ark      float32 weights of the network up to the embedding, a Kaldi archive (kind network); those of more
                     than two axes as matrices, their shapes in bundle.json
    network.onnx         a network of a file as it is (kind onnx)
    final.ubm final.ie                                               Kaldi's models (kind ivector)
    mean.vec transform.mat plda                                      the back end, Kaldi's
    calibration.json     scale and offset to natural-log likelihood ratios, where the system has been calibrated

No pickles. A directory of Kaldi's own i-vector files is read in place: see pyasp.bundle.kaldi.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyasp.core.errors import InputError
from pyasp.core.files import file_sha256
from pyasp.core.text import read_json, write_json
from pyasp.features.frontend import FEATURE_TYPES

MANIFEST, CARD, CALIBRATION = "bundle.json", "README.md", "calibration.json"
FORMAT = 1
BACKEND = ("mean.vec", "transform.mat", "plda")
FILES: dict[str, tuple[str, ...]] = {
    "network": ("network.conf", "network.ark"),
    "ivector": ("ivector.conf", "final.ubm", "final.ie"),
    "onnx": ("network.conf", "network.onnx"),
}
COMMON = ("mfcc.conf", "vad.conf", "backend.conf", *BACKEND)
FEATURES = tuple(f"{kind}.conf" for kind in FEATURE_TYPES)  # MFCC first, which voice activity needs
OPTIONAL = (CALIBRATION, *FEATURES[1:])
TRAINED = "training_recordings_by_rate"  # in bundle.json: {"16000": how many}
SHORTEST = 1.0  # voiced seconds below which a recording is called short, where no test set says better


@dataclass(frozen=True)
class Bundle:
    """Where each file of a trained system lies, and what is known about it.

    kind: one of FILES; files: {name of FILES, COMMON or OPTIONAL: path}; facts: bundle.json, or what stands in for it.
    """

    path: Path
    kind: str
    files: dict[str, Path]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Digest of the files that decide an embedding: enrolled speakers belong to one model."""
        named = (*FILES[self.kind], FEATURES[0], "vad.conf", *FEATURES[1:])
        known, there = self.facts.get("files", {}), [name for name in named if name in self.files]
        return " ".join(f"{known.get(name) or file_sha256(self.files[name])}"[:12] for name in there)

    @property
    def trained_rates(self) -> tuple[int, int]:
        """The lowest and the highest rate that a tenth or more of the training recordings had, in Hz; 0, 0 where that
        is not known."""
        counts = self.facts.get(TRAINED, {})
        usual = [int(rate) for rate, count in counts.items() if 10 * count >= sum(counts.values())]
        return min(usual, default=0), max(usual, default=0)

    @property
    def shortest(self) -> float:
        """Voiced seconds below which a recording is short for this model."""
        return float(self.facts.get("shortest_voiced_seconds", SHORTEST))


def read_bundle(path: str | Path) -> Bundle:
    """The bundle in a directory. Raises InputError when it is none, of a newer format, or lacks a file, and when a file
    is another one than it was made with: embeddings, or the scale of its scores, would be others without a word."""
    path, manifest = Path(path), Path(path) / MANIFEST
    if not manifest.is_file():
        raise InputError(path, f"no {MANIFEST}", "a bundle", "Make one: pyasp bundle EXP/SYSTEM MODEL")
    facts = read_json(manifest, "kind and format", "Make it again")
    kind, version = facts.get("kind"), facts.get("format")
    if version != FORMAT or kind not in tuple(FILES):
        expected, cure = f"format {FORMAT}, {' or '.join(FILES)}", "Use the pyasp that made it, or make it again"
        raise InputError(manifest, f"format {version}, kind {kind!r}", expected, cure)
    shortest, digests = facts.get("shortest_voiced_seconds", SHORTEST), facts.get("files", {})
    trained = facts.get(TRAINED, {})
    if not isinstance(trained, dict) or not all(f"{k}".isdecimal() and type(n) is int for k, n in trained.items()):
        found = f"{TRAINED} {trained!r}"
        raise InputError(manifest, found, "recordings by rate in Hz", "Make the bundle again")
    if not isinstance(shortest, (int, float)) or not isinstance(digests, dict):
        found = f"shortest_voiced_seconds {shortest!r}, files {type(digests).__name__}"
        raise InputError(manifest, found, "a number and an object", "Make the bundle again")
    names = (*FILES[kind], *COMMON)
    for name in (*names, CALIBRATION) if facts.get("calibrated") is True else names:
        if not (path / name).is_file():
            without = ", or without a calibration: pyasp bundle --calibration none" * (name == CALIBRATION)
            cure = f"Copy or make the bundle again{without}"
            raise InputError(path / name, "no such file", "a file of the bundle", cure)
    if other := _changed(path, digests):
        expected, cure = "the files that the bundle was made with", "Copy the bundle again, or make it again"
        raise InputError(manifest, f"another {' and '.join(other)}", expected, cure)
    names += tuple(name for name in OPTIONAL if (path / name).is_file())
    return Bundle(path, kind, {name: path / name for name in names}, facts)


def write_manifest(path: Path, kind: str, facts: dict[str, Any]) -> None:
    """Writes bundle.json over the files that lie in `path`."""
    digests = {file.name: file_sha256(file) for file in sorted(path.iterdir()) if file.name not in (MANIFEST, CARD)}
    write_json(path / MANIFEST, {"format": FORMAT, "kind": kind, **facts, "files": digests})


def _changed(path: Path, digests: dict[str, str]) -> list[str]:
    """Files of a bundle, but its calibration, which may come later or be another, that are not what the manifest
    says."""
    known = {name: digest for name, digest in digests.items() if name != CALIBRATION}
    there = {name for name in known if Path(name).name == name and (path / name).is_file()}
    return [name for name in known if name not in there or file_sha256(path / name) != known[name]]

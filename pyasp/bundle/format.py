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

from __future__ import annotations

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
FILES = {"network": ("network.conf", "network.ark"), "ivector": ("ivector.conf", "final.ubm", "final.ie")}
FILES["onnx"] = ("network.conf", "network.onnx")
COMMON = ("mfcc.conf", "vad.conf", "backend.conf", *BACKEND)
FEATURES = tuple(f"{kind}.conf" for kind in FEATURE_TYPES)  # MFCC first, which voice activity needs
OPTIONAL = (CALIBRATION, *FEATURES[1:])
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
        named = FILES[self.kind] + (FEATURES[0], "vad.conf", *FEATURES[1:])
        digests = self.facts.get("files", {})
        return " ".join(
            f"{digests.get(name) or file_sha256(self.files[name])}"[:12] for name in named if name in self.files
        )

    @property
    def shortest(self) -> float:
        """Voiced seconds below which a recording is short for this model."""
        return float(self.facts.get("shortest_voiced_seconds", SHORTEST))


def read_bundle(path: str | Path) -> Bundle:
    """The bundle in a directory. Raises InputError when it is none, of a newer format, or lacks a file."""
    path = Path(path)
    try:
        facts = read_json(path / MANIFEST, "kind and format", "Make it again")
        kind, version = facts["kind"], facts["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(path, f"no {MANIFEST}", "a bundle", "Make one: pyasp bundle EXP/SYSTEM MODEL") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path / MANIFEST, f"no usable manifest ({error})", "kind and format", "Make it again") from None
    if version != FORMAT or not isinstance(kind, str) or kind not in FILES:
        raise InputError(
            path / MANIFEST,
            f"format {version}, kind {kind!r}",
            f"format {FORMAT}, {' or '.join(FILES)}",
            "Use the version of pyasp that made the bundle, or make it again",
        )
    shortest, digests = facts.get("shortest_voiced_seconds", SHORTEST), facts.get("files", {})
    if not isinstance(shortest, (int, float)) or not isinstance(digests, dict):
        raise InputError(
            path / MANIFEST,
            f"shortest_voiced_seconds {shortest!r}, files {type(digests).__name__}",
            "a number and an object",
            "Make the bundle again",
        )
    names = (*FILES[kind], *COMMON)
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise InputError(path / missing[0], "no such file", "a file of the bundle", "Copy or make the bundle again")
    names += tuple(name for name in OPTIONAL if (path / name).is_file())
    return Bundle(path, kind, {name: path / name for name in names}, facts)


def write_manifest(path: Path, kind: str, facts: dict[str, Any]) -> None:
    """Writes bundle.json over the files that lie in `path`."""
    digests = {file.name: file_sha256(file) for file in sorted(path.iterdir()) if file.name not in (MANIFEST, CARD)}
    write_json(path / MANIFEST, {"format": FORMAT, "kind": kind, **facts, "files": digests})


def changed_files(bundle: Bundle) -> list[str]:
    """Files that are not what the manifest says they were."""
    return [
        name
        for name, digest in bundle.facts.get("files", {}).items()
        if Path(name).name != name or not (bundle.path / name).is_file() or file_sha256(bundle.path / name) != digest
    ]

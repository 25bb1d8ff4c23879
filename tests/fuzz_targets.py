"""What is fuzzed: every reader of a file that may come from elsewhere, with valid seeds. See tests/fuzzing.py."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import bundle_data
import numpy as np
import torch
from fuzz_seeds import (
    AAC,
    ARKS,
    CHUNKS,
    FLACS,
    FRAMES,
    RNG,
    SCP,
    WAVS,
    both,
    contents,
    diag,
    extractor,
    integers,
    plda,
    posteriors,
    put,
    scalars,
    selections,
    sphere_file,
)
from fuzzing import Target
from prep_trees import m4a

from local import folder_sources, sre12_tables, toolkit_sources, trial_lists, voxceleb_tree
from local.common import Utterance, _cut
from local.folder_sources import OwnData
from local.toolkit_sources import from_kaldi
from pyasp import kaldi
from pyasp.audio import recording
from pyasp.audio.cut_files import CutStream, audio_files, read_cuts
from pyasp.audio.cuts import CheckedBackend, read_samples, use_libsndfile
from pyasp.audio.headers import Header, read_header
from pyasp.backend.files import read_back_end, read_plda
from pyasp.backend.variants import VariantOptions
from pyasp.bundle import format, speaker_model
from pyasp.core.conf import read_conf
from pyasp.core.options import subset
from pyasp.core.records import ancestors, describe, is_current
from pyasp.data import checks, datadir, manifests, trials
from pyasp.data.scores import read_scored
from pyasp.evaluation import llr
from pyasp.features.mfcc import MfccOptions
from pyasp.gmm.files import read_diag, read_full
from pyasp.gmm.model import FullGmm
from pyasp.gmm.train import UbmOptions
from pyasp.ivector.files import read_extractor
from pyasp.kaldi import items
from pyasp.network import checkpoint
from pyasp.report import facts


def _everything(path: Path) -> None:
    """All ways through a script file."""
    reader = kaldi.ScpReader(path)
    for key in reader:
        reader[key], reader.shape(key), reader.rows(key, 0, 1)


def _audio(path: Path) -> None:
    """The header as a preparation reads it, the samples as scoring and as the recipe read them."""
    found = read_header(path)
    assert found.rate > 0 and found.samples > 0 and found.channels > 0
    samples = recording.read_sound(path, 0).samples
    assert np.isfinite(samples).all()
    backend = CheckedBackend()
    told = backend.info(path)
    read, rate = backend.read_audio(path)
    assert read.shape == (told.channels, told.frames) and rate == told.samplerate


# ---------------------------------------------------------------- plain text

CONF = (
    b"--sample-frequency=16000  # Hz\n--num-ceps=20\n--use-energy=true\n--dither=0\n\n# comment\n--window-type=povey\n"
)
UBM_CONF = b"--num-gauss=64\n--precision=float32\n--remove-low-count-gaussians=true\n"
BACKEND_CONF = b"--variant=snorm+cal\n--variant=lda\n--fuse=a+b\n--cohort-top=20\n"
TRIALS = b"m1 t1 target\nm1 t2 nontarget\nm2 t1 nontarget\nm2 t2 target\n"
SCORES = b"m1 t1 1.5\nm1 t2 -0.25\nm2 t1 0.125\nm2 t2 2\n"
CATEGORIES = b"gender\tphone\nm\tcell\nf\tcell\nm\tland\nm\tcell\n"
UTT2SPK = b"spk1-a spk1\nspk1-b spk1\nspk2-c spk2\n"
MODELS = b"m1 spk1-a spk1-b\nm2 spk2-c\n"
INFO = b"utt\tsession\tphone\nspk1-a\ts1\tcell\nspk2-c\ts2\tland\n"
TSV = b"utt\tspeaker\tpath\tgender\na\tspk1\ta.wav\tm\nb\tspk2\tb.wav\tf\n"
WAV_SCP = b"spk1-a a.wav\nspk1-b sph2pipe -f wav -p -c 2 b.sph |\nspk2-c flac -c -d -s c.flac |\n"


def _read_list(path: Path) -> None:
    """A list as the tools read it and as a preparation does."""
    found = trials.read_trials(path)
    assert found.target.any() and not found.target.all()
    for _ in trial_lists.read_lines(path, 3):
        pass


def _scored(path: Path) -> None:
    values, listed = read_scored(path.with_name("trials"), path)
    json.dumps(llr.summarise(values, listed.target)[0], allow_nan=False)


def _data_dir(path: Path) -> None:
    data = datadir.DataDir(path.parent)
    assert set(data.spk2utt) == set(data.utt2spk.values())


def _tables(path: Path) -> None:
    for row in datadir.read_rows(path, ("utt", "speaker", "path")):
        folder_sources._table_utterance(row, "/root")


def _kaldi_source(path: Path) -> None:
    found = OwnData(str(path.parent))
    from_kaldi(found, str(path.parent))
    assert all("/" not in utt.id and "\n" not in utt.id for utt in found.all())


SIDES = b"123456,tabc_sre12.sph,a,target,male,Y,N,Y,N,N\n"
KEY = b"speaker,segment,side,trial_type,x,c1,c2,c3,c4,c5\n123,data/tabcd.sph,a,target,x,Y,N,Y,N,N\n124,tabce,b,unknown_nontarget,x,N,N,Y,N,Y\n"
META = b"VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\nid10002\tA.R._Rahman\tm\tIndia\ttest\n"


def _key(path: Path) -> None:
    for _ in sre12_tables.read_key(path, lambda side: side.segment):
        pass


# ---------------------------------------------------------------- JSON

MADE = json.dumps(describe("train_ubm", {"num_gauss": 64, "update_flags": "mvw"}, [], 1), indent=1).encode()


def _record(path: Path) -> None:
    """What a resumed stage does with a record, and what `bundle` reads from it."""
    from pyasp.bundle import make

    is_current(path.with_name("x"), json.loads(MADE))
    for _, record in ancestors(path.with_name("x")):
        make.options_of(record, UbmOptions)


BUNDLE = {
    "format": 1,
    "kind": "ivector",
    "rate": 8000,
    "shortest_voiced_seconds": 0.5,
    "training_recordings_by_rate": {"8000": 3},
    "files": dict.fromkeys(("final.ubm", "final.ie"), hashlib.sha256(b"x").hexdigest()),
    "results": {"trials": {"eer": 5.0}},
}


def _bundle_folder(folder: Path) -> None:
    for name in (*format.FILES["ivector"], *format.FILES["network"], *format.COMMON):
        (folder / name).write_bytes(b"x")


def _bundle(path: Path) -> None:
    found = format.read_bundle(path.parent)
    found.shortest, found.identity, found.trained_rates
    inside = path.parent.resolve()
    assert all(Path(file).resolve().is_relative_to(inside) for file in found.files.values())


def _calibration(path: Path) -> None:
    from pyasp.bundle import make

    speaker_model.read_calibration(format.Bundle(path.parent, "ivector", {format.CALIBRATION: path}))
    make.affine_map(path)


CALIBRATION = json.dumps(
    {"scale": 1.25, "offset": -2.0, "lists": {"trials": [{"weights": {"ivector": 1.5}, "offset": -1.0, "prior": 0.5}]}}
).encode()


def _cuts() -> bytes:
    utterances = [Utterance("spk1-a", "spk1", "a.wav"), Utterance("spk2-c", "spk2", "a.wav", start=0.005, seconds=0.01)]
    lines = [json.dumps(_cut(utt, Header(16000, 400, 1, "WAV"))) for utt in utterances]
    return "".join(line + "\n" for line in lines).encode()


def _read_cuts(path: Path) -> None:
    """As stage check and stage features read them."""
    utts = [utt for utt, _ in read_cuts(path)]
    for utt, item in CutStream(path).take(utts):
        for name in audio_files(item):
            assert isinstance(name, str)
        read_samples(item, 16000)


def _check(path: Path) -> None:
    checker = checks.Checker(path.parent)
    checker.check()


RECORDING = {
    "id": "r1",
    "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
    "sampling_rate": 16000,
    "num_samples": 400,
    "duration": 0.025,
    "channel_ids": [0],
}
SUPERVISION = {
    "id": "r1-1",
    "recording_id": "r1",
    "start": 0.0,
    "duration": 0.025,
    "channel": 0,
    "speaker": "spk1",
    "gender": "m",
    "custom": {"kaldi/utt/text": "hello", "kaldi/info/session": "s1", "kaldi/model/m1": 0, "own": 1.5},
}


def _lines(*objects: dict) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in objects).encode()


def _supervisions(path: Path) -> None:
    toolkit_sources.from_lhotse(OwnData(), str(path.with_name("recordings.jsonl.gz")), str(path))
    manifests.to_kaldi(path.with_name("recordings.jsonl.gz"), path, path.parent / "written")


def _recordings(path: Path) -> None:
    toolkit_sources.from_lhotse(OwnData(), str(path), str(path.with_name("supervisions.jsonl.gz")))
    manifests.to_kaldi(path, path.with_name("supervisions.jsonl.gz"), path.parent / "written")


METRICS = json.dumps(
    {"trials_dir": "trials", "fingerprints": {}, "trials": {"l": {"eer": 5.0}}, "det": {}, "scores": {}}
).encode()
LIKELIHOOD = json.dumps({"0.dubm": {"frames": 5}, "1.dubm": {"loglike": -50.5}, "1.ubm": {"loglike": -49.5}}).encode()
JSONL = _lines({"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 2.25})


def _likelihoods(path: Path) -> None:
    facts.likelihoods(path.parent.parent)


def _curves(path: Path) -> None:
    facts.training_curves(path.parent.parent)
    checkpoint.truncate_records(path, 1)


def _dropped(path: Path) -> None:
    facts.dropped(path.parent.parent, path.parent.name)


# ---------------------------------------------------------------- torch


def _network() -> bytes:
    net, options = bundle_data.network()
    from pyasp.network.model import ArchitectureOptions

    state = checkpoint.network_state(
        net.in_dim,
        net.state_dict(),
        vars(subset(options, ArchitectureOptions)),
        [f"s{k}" for k in range(5)],
        {"epoch": 1, "valid_loss": 1.0, "valid_accuracy": 0.5},
    )
    return contents(lambda path: checkpoint.save(path, state), "x.pt")


def _load_network(path: Path) -> None:
    checkpoint.load_network(path, torch.device("cpu"))


# ---------------------------------------------------------------- all of them

PACKED = gzip.compress
AUDIO_BESIDE = put("a.wav", WAVS[0])


def _with(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: [step(folder) for step in steps] and None


TARGETS: dict[str, Target] = {
    "archive": Target(ARKS, lambda path: list(kaldi.read_ark(str(path))), "x.ark"),
    "archive, gzip": Target(
        ARKS, lambda path: list(kaldi.read_ark(str(path))), "x.ark.gz", wrap=lambda data: gzip.compress(data, 1)
    ),
    "script file": Target(
        [SCP], _everything, "x.scp", prepare=put("x.ark", ARKS[0]), tokens=(b"x.ark:7", b"[0:1]", b"[,]", b":")
    ),
    "archive through its script file": Target(
        ARKS[:2] + ARKS[3:],
        lambda path: _everything(path.with_name("x.scp")),
        "x.ark",
        prepare=put("x.scp", b"k x.ark:7\n"),
    ),
    "posteriors": Target(posteriors(), lambda path: list(kaldi.read_posteriors(str(path)))),
    "Gaussian selection": Target(selections(), lambda path: list(kaldi.read_gselect(str(path)))),
    "integer vectors": Target(integers(), lambda path: list(kaldi.read_int_vectors(str(path)))),
    "numbers": Target(scalars(), lambda path: list(kaldi.read_scalars(str(path)))),
    ".dubm": Target(both(diag()), read_diag, "x.dubm"),
    ".ubm": Target(both(FullGmm.from_diag(diag())), read_full, "x.ubm"),
    ".ie": Target(both(extractor()), read_extractor, "x.ie"),
    "plda": Target(both(plda()), read_plda, "plda"),
    "model as items": Target([*both(diag()), *both(extractor()), *both(plda())], items.read_items),
    "mean and transform": Target(
        [kaldi.serialise(RNG.normal(size=shape), binary) for shape in ((3, 3), (3, 4)) for binary in (True, False)],
        lambda path: read_back_end(path.parent, ("mean.vec", path.name, "plda")),
        "transform.mat",
        prepare=_with(put("mean.vec", kaldi.serialise(np.zeros(3))), put("plda", both(plda())[0])),
    ),
    "SPHERE header": Target(
        [sphere_file(1, "pcm"), sphere_file(2, "pcm")],
        read_header,
        "x.sph",
        tokens=(b"end_head", b"-i", b"sample_count", b"ulaw", b"pcm,embedded-shorten-v2.00"),
    ),
    "SPHERE audio": Target([sphere_file(1, "pcm"), sphere_file(2, "pcm")], _audio, "x.sph"),
    "wav": Target(WAVS, _audio, "x.wav", tokens=(b"fmt ", b"data", b"LIST", b"RIFF")),
    "flac": Target(FLACS, _audio, "x.flac"),
    "RF64, Wave64, AIFF, AU, CAF": Target(
        CHUNKS, _audio, "x.wav", tokens=(b"ds64", b"data", b"SSND", b"COMM", b".snd")
    ),
    "mp3, ogg": Target(
        FRAMES, _audio, "x.mp3", tokens=(b"ID3", b"TAG", b"APETAGEX", b"Xing", b"OggS", b"\xff\xf3\x88\xc4")
    ),
    "aac": Target([AAC], read_header, "x.aac"),
    "m4a header": Target(
        [contents(lambda path: m4a(path, 10), "x.m4a")],
        read_header,
        "x.m4a",
        tokens=(b"moov", b"trak", b"mdia", b"esds", b"stts", b"mp4a"),
    ),
    "conf": Target(
        [CONF], lambda path: read_conf(path, MfccOptions), "mfcc.conf", tokens=(b"--num-ceps=", b"--config=x")
    ),
    "conf with limits": Target(
        [UBM_CONF, BACKEND_CONF], lambda path: _two_confs(path), "x.conf", tokens=(b"--subsample=",)
    ),
    "trial list": Target([TRIALS], _read_list, "trials", tokens=(b"target", b"nontarget", b"1", b"0")),
    "scores": Target([SCORES], _scored, "scores", prepare=put("trials", TRIALS)),
    "columns of trials": Target([CATEGORIES], lambda path: trials.read_categories(path, 4), "trials.tsv"),
    "SRE12 key": Target([KEY], _key, "key.csv", tokens=(b"target", b"Y", b"N", b",")),
    "VoxCeleb metadata": Target([META], voxceleb_tree.read_metadata, "vox1_meta.csv"),
    "corpus table": Target([b"a,b,c\nd,e,f\n"], lambda path: list(sre12_tables.rows(path, 2)), "callstat.tbl"),
    "utt2spk": Target([UTT2SPK], _data_dir, "utt2spk"),
    "model2utts": Target(
        [MODELS], lambda path: (datadir.read_model2utts(path), datadir.DataDir(path.parent).model2utts), "model2utts"
    ),
    "utt2info.tsv": Target([INFO], lambda path: datadir.DataDir(path.parent).info, "utt2info.tsv"),
    "own tables": Target([TSV], _tables, "train.tsv"),
    "wav.scp": Target(
        [WAV_SCP], _kaldi_source, "wav.scp", prepare=put("utt2spk", UTT2SPK), tokens=(b"sph2pipe -p", b"cat")
    ),
    "segments": Target(
        [b"spk1-a a 0.5 1.5\nspk1-b b 0 2\nspk2-c c 1 -1\n"],
        _kaldi_source,
        "segments",
        prepare=_with(put("utt2spk", UTT2SPK), put("wav.scp", b"a a.wav\nb b.wav\nc c.wav\n")),
    ),
    "made.json": Target([MADE], _record, "x.made.json", prepare=put("x", b"")),
    "bundle.json": Target(
        [json.dumps(BUNDLE).encode()],
        _bundle,
        format.MANIFEST,
        prepare=_bundle_folder,
        tokens=(b"../../x", b"/etc/passwd", b"network"),
    ),
    "calibration.json": Target([CALIBRATION], _calibration, format.CALIBRATION),
    "cuts": Target(
        [_cuts()],
        _read_cuts,
        "cuts.jsonl.gz",
        prepare=_with(AUDIO_BESIDE, lambda folder: use_libsndfile()),
        wrap=lambda data: gzip.compress(data, 1),
        tokens=(b'"command"', b'"url"', b'"memory"', b'"touch ran"'),
    ),
    "cuts, stage check": Target(
        [_cuts()],
        _check,
        "cuts.jsonl.gz",
        wrap=lambda data: gzip.compress(data, 1),
        prepare=_with(AUDIO_BESIDE, put("utt2spk", b"spk1-a spk1\nspk2-c spk2\n")),
    ),
    "cuts, damaged gzip": Target(
        [gzip.compress(_cuts())],
        _check,
        "cuts.jsonl.gz",
        prepare=_with(AUDIO_BESIDE, put("utt2spk", b"spk1-a spk1\nspk2-c spk2\n")),
    ),
    "lhotse recordings": Target(
        [_lines(RECORDING)],
        _recordings,
        "recordings.jsonl.gz",
        wrap=lambda data: gzip.compress(data, 1),
        prepare=_with(AUDIO_BESIDE, put("supervisions.jsonl.gz", gzip.compress(_lines(SUPERVISION)))),
        tokens=(b'"command"', b'"touch ran"', b'"url"'),
    ),
    "lhotse supervisions": Target(
        [_lines(SUPERVISION)],
        _supervisions,
        "supervisions.jsonl.gz",
        wrap=lambda data: gzip.compress(data, 1),
        prepare=_with(AUDIO_BESIDE, put("recordings.jsonl.gz", gzip.compress(_lines(RECORDING)))),
        tokens=(b"kaldi/utt/../../escaped", b"kaldi/spk/x", b"kaldi/cut/", b"kaldi/reco/../escaped"),
    ),
    "likelihood.json": Target(
        [LIKELIHOOD], _likelihoods, "ubm/likelihood.json", prepare=lambda folder: (folder / "ubm").mkdir()
    ),
    "train.jsonl": Target([JSONL], _curves, "sys/train.jsonl", prepare=lambda folder: (folder / "sys").mkdir()),
    "dropped.tsv": Target(
        [b"utt\treason\na\ttoo short\n"],
        _dropped,
        "train/dropped.tsv",
        prepare=lambda folder: (folder / "train").mkdir(),
    ),
    "checkpoint": Target(
        [_network()], _load_network, "final.pt", tokens=(b"cos\nsystem\n", b"posix", b"c__builtin__\neval\n")
    ),
}


def _two_confs(path: Path) -> None:
    read_conf(path, UbmOptions if b"num-gauss" in path.read_bytes() else VariantOptions)

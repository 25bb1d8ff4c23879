"""Features against Kaldi: audio, MFCC, VAD, deltas, sliding CMN, voiced frames, the whole chain."""

import dataclasses

import golden_cases
import numpy as np
import pytest
import soundfile
from golden_cases import cases, compare, compare_tables, path, read_scp_lines, table

from pyasp import kaldi_compress
from pyasp.audio import read_samples, use_libsndfile
from pyasp.frontend import FrontendOptions, add_deltas, select_voiced, sliding_cmn
from pyasp.kaldi_source import Source
from pyasp.kaldi_stream import Reader
from pyasp.mfcc import Mfcc, MfccOptions, num_frames
from pyasp.vad import VadOptions, energy_vad


def options_of(case_or_step, cls):
    """An options object from the manifest's typed options; one that the class does not know is a failure."""
    names = {key.replace("-", "_"): value for key, value in case_or_step["options"].items()}
    unknown = set(names) - {field.name for field in dataclasses.fields(cls)}
    assert not unknown, f"unknown options {sorted(unknown)}"
    return cls(**names)


def cut_of(key, file):
    """A lhotse cut as JSON of a whole recording."""
    info = soundfile.info(file)
    channels = list(range(info.channels))
    source = {"type": "file", "channels": channels, "source": str(file)}
    recording = {"id": key, "sources": [source], "sampling_rate": info.samplerate, "num_samples": info.frames,
                 "duration": info.duration, "channel_ids": channels}
    kind, channel = ("MonoCut", 0) if info.channels == 1 else ("MultiCut", channels)
    return {"id": key, "start": 0, "duration": info.duration, "channel": channel, "recording": recording, "type": kind}


def samples_of(lists, channel=-1):
    """(key, samples) of the recordings in one list or several."""
    use_libsndfile()
    for name in [lists] if isinstance(lists, str) else lists:
        for key, file in read_scp_lines(name).items():
            info = soundfile.info(path(file))
            yield key, read_samples(cut_of(key, path(file)), info.samplerate, channel)


@pytest.mark.parametrize("case", cases("audio"))
def test_golden_audio(case):
    use_libsndfile()
    sphere = path(case["inputs"]["sphere"])
    reference, rate = soundfile.read(path(case["outputs"]["wav"]), dtype="int16", always_2d=True)
    sides = [read_samples(cut_of("x", sphere), rate, channel) for channel in range(reference.shape[1])]
    compare(case, np.stack(sides, axis=1), reference)


@pytest.mark.parametrize("case", cases("mfcc"))
def test_golden_mfcc(case):
    options = options_of(case, MfccOptions)
    extractor = Mfcc(options)
    channel = options.channel if options.channel >= 0 else -1
    result = {key: extractor.compute(samples, key) for key, samples in samples_of(case["inputs"]["wav"], channel)}
    compare_tables(case, result, table(case["outputs"]["feats"]))


@pytest.mark.parametrize("case", cases("mfcc-lengths"))
def test_golden_lengths(case):
    (name, output), = case["outputs"].items()
    reference = {key: float(value) for key, value in read_scp_lines(output).items()}
    steps = [step for step in case.get("before", []) if step["program"] == "compute-mfcc-feats"]
    options = options_of(steps[0] if steps else case, MfccOptions)
    lengths = {key: len(samples) for key, samples in samples_of(case["inputs"]["wav"])}
    frames = {key: num_frames(n, options) for key, n in lengths.items()}
    result = {"utt2dur": {key: n / options.sample_frequency for key, n in lengths.items()}, "num_frames": frames}[name]
    assert list(result) == list(reference)
    compare(case, list(result.values()), list(reference.values()))


@pytest.mark.parametrize("case", cases("vad"))
def test_golden_vad(case):
    options = options_of(case, VadOptions)
    if "feats" in case["inputs"]:
        feats = table(case["inputs"]["feats"])
    else:
        extractor = Mfcc(options_of(case["before"][0], MfccOptions))
        feats = {key: extractor.compute(samples, key) for key, samples in samples_of(case["inputs"]["wav"])}
    result = {key: energy_vad(matrix[:, 0], options).astype(float) for key, matrix in feats.items()}
    compare_tables(case, result, table(case["outputs"]["vad"]))


def apply(step, feats, case):
    """One program of a feature pipeline on a table of matrices."""
    programs = {
        "subset-feats": subset,
        "add-deltas": lambda t, s: each(t, lambda m: add_deltas(m, s["options"]["delta-window"], s["options"]["delta-order"])),
        "apply-cmvn-sliding": lambda t, s: each(t, lambda m: sliding_cmn(m, options_of(s, FrontendOptions))),
        "select-voiced-frames": lambda t, s: voiced(t, table(case["inputs"]["vad"])),
        "copy-feats": lambda t, s: t if not s["options"].get("compress") else each(t, compressed(s["options"]["compression-method"])),
        "compute-mfcc-feats": lambda t, s: each_recording(case, s),
    }
    return programs[step["program"]](feats, step)


def each(feats, function):
    return {key: function(matrix) for key, matrix in feats.items()}


def each_recording(case, step):
    extractor = Mfcc(options_of(step, MfccOptions))
    return {key: extractor.compute(samples, key) for key, samples in samples_of(case["inputs"]["wav"])}


def subset(feats, step):
    options = step["options"]
    if "n" in options:
        return dict(list(feats.items())[:options["n"]])
    return feats


def voiced(feats, vad):
    """As select-voiced-frames: a recording without a voiced frame gets no entry."""
    return {key: select_voiced(matrix, vad[key] > 0) for key, matrix in feats.items() if (vad[key] > 0).any()}


def compressed(method):
    """Compresses and reads back."""
    import io

    def there_and_back(matrix):
        buffer = io.BytesIO(b"")
        buffer.write(b"\0B")
        kaldi_compress.write(buffer, matrix, method)
        buffer.seek(0)
        return Reader(Source(buffer, "memory")).matrix()
    return there_and_back


@pytest.mark.parametrize("case", cases("deltas", "cmvn", "select-voiced", "chain"))
def test_golden_chain(case):
    feats = table(case["inputs"]["feats"]) if "feats" in case["inputs"] else {}
    wanted = case["inputs"].get("utterances")
    if wanted:
        keys = path(wanted).read_text().split()
        feats = {key: feats[key] for key in feats if key in keys}
    for step in [*case.get("before", []), case]:
        feats = apply(step, feats, case)
    compare_tables(case, feats, table(case["outputs"]["feats"]))

"""Audio, MFCC, VAD and the front end against real Kaldi: every case's steps are run as the manifest tells them."""

import functools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from golden_cases import KALDI_CMN, KALDI_DELTAS, cases, compare, compare_tables, path, read_scp_lines, table
from kaldi_steps import add_deltas, select_voiced, sliding_cmn
from lhotse import MonoCut, MultiCut, Recording

from pyasp.audio.cuts import duration_text, read_samples, use_libsndfile
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.features.mfcc import Mfcc, MfccOptions, num_frames
from pyasp.features.vad import VadOptions, energy_vad
from pyasp.kaldi import ArkWriter, read_ark


def named(options: dict) -> dict:
    return {key.replace("-", "_"): value for key, value in options.items()}


def item_of(utt: str, file: Path, channel: int = -1) -> dict:
    """A cut of a whole file: of one side when `channel` says which and the file has one, else of all."""
    use_libsndfile()
    recording = Recording.from_file(file)
    channels = recording.channel_ids
    cut = (
        MonoCut(utt, 0, recording.duration, channels[0], recording=recording)
        if len(channels) == 1
        else MultiCut(utt, 0, recording.duration, channels, recording=recording)
    )
    return cut.to_dict()


def wav_entries(role) -> dict[str, str]:
    lists = [role] if isinstance(role, str) else role
    return {utt: file for scp in lists for utt, file in read_scp_lines(scp).items()}


@functools.lru_cache(maxsize=2)
def _mfcc(entries: tuple, options: MfccOptions) -> dict:
    extractor = Mfcc(options)
    rate = int(options.sample_frequency)
    samples = {utt: read_samples(item_of(utt, path(file)), rate, options.channel) for utt, file in entries}
    least = options.min_duration * rate
    return {utt: extractor.compute(each, utt) for utt, each in samples.items() if len(each) >= least}


def run_mfcc(roles: dict, options: dict) -> dict:
    return _mfcc(tuple(wav_entries(roles["wav"]).items()), MfccOptions(**named(options)))


def run_subset(roles: dict, options: dict) -> dict:
    if "n" in options:
        return dict(list(roles["feats"].items())[: options["n"]])
    listed = path(roles["utterances"]).read_text().split()
    return {utt: roles["feats"][utt] for utt in roles["feats"] if utt in listed}


def run_deltas(roles: dict, options: dict) -> dict:
    chosen = named({**KALDI_DELTAS, **options})
    window, order, dim = chosen.pop("delta_window"), chosen.pop("delta_order"), chosen.pop("truncate", None)
    assert not chosen
    return {utt: add_deltas(feats[:, :dim], window, order) for utt, feats in roles["feats"].items()}


def run_cmn(roles: dict, options: dict) -> dict:
    chosen = FrontendOptions(**named({**KALDI_CMN, **options}))
    return {utt: sliding_cmn(feats, chosen) for utt, feats in roles["feats"].items()}


def run_select(roles: dict, options: dict) -> dict:
    assert not options
    vad = roles["vad"]
    return {utt: select_voiced(feats, vad[utt] > 0) for utt, feats in roles["feats"].items() if vad[utt].any()}


def run_vad(roles: dict, options: dict) -> dict:
    chosen = VadOptions(**named(options))
    decided = {utt: energy_vad(feats[:, 0], chosen) for utt, feats in roles["feats"].items()}
    return {utt: voiced for utt, voiced in decided.items() if voiced.any() or not chosen.omit_unvoiced_utts}


PROGRAMS = {
    "compute-mfcc-feats": run_mfcc,
    "subset-feats": run_subset,
    "compute-vad": run_vad,
    "add-deltas": run_deltas,
    "apply-cmvn-sliding": run_cmn,
    "select-voiced-frames": run_select,
}


def roles_of(case: dict) -> dict:
    """Inputs of a case: tables are loaded, `wav` and `utterances` stay names."""
    return {role: table(where) if role in ("feats", "vad") else where for role, where in case["inputs"].items()}


def before(case: dict) -> dict:
    """The roles of a case after its earlier steps."""
    roles = roles_of(case)
    for step in case.get("before", []):
        inputs = {name: roles[name] for name in step["inputs"]}
        roles[step["gives"]] = run_program(step, inputs)
    return roles


def run_program(step: dict, roles: dict) -> dict:
    """One program; those that read features leave out utterances without a frame."""
    if "feats" in roles:
        roles = {**roles, "feats": {utt: feats for utt, feats in roles["feats"].items() if len(feats)}}
    return PROGRAMS[step["program"]](roles, step["options"])


@pytest.mark.parametrize("case", cases("audio"))
def test_golden_sphere(case):
    item = item_of("a", path(case["inputs"]["sphere"]))
    reference, rate = soundfile.read(path(case["outputs"]["wav"]), dtype="int16", always_2d=True)
    result = [read_samples(item, rate, channel) for channel in range(reference.shape[1])]
    compare(case, np.stack(result, axis=1), reference)


@pytest.mark.parametrize("case", cases("mfcc", "vad", "deltas", "cmvn", "select-voiced"))
def test_golden_features(case):
    role = {"compute-vad": "vad"}.get(case["program"], "feats")
    result = run_program(case, before(case))
    compare_tables(case, result, table(case["outputs"][role]))


@pytest.mark.parametrize("case", [c for c in cases("mfcc") if "sphere" in c.values[0]["inputs"]])
def test_golden_mfcc_from_sphere(case):
    options = MfccOptions(**named(case["options"]))
    samples = read_samples(item_of("a", path(case["inputs"]["sphere"])), int(options.sample_frequency), options.channel)
    (reference,) = table(case["outputs"]["feats"]).values()
    compare(case, Mfcc(options).compute(samples), reference)


@pytest.mark.parametrize("case", cases("mfcc-lengths"))
def test_golden_lengths(case):
    options = MfccOptions(**named((case.get("before") or [case])[0]["options"]))
    lengths = {utt: soundfile.info(path(file)).frames for utt, file in wav_entries(case["inputs"]["wav"]).items()}
    measures = {
        "utt2dur": lambda n: float(duration_text(n, options.sample_frequency)),
        "num_frames": lambda n: num_frames(n, options),
    }
    ((role, where),) = case["outputs"].items()
    reference = {utt: float(value) for utt, value in read_scp_lines(where).items()}
    compare_tables(case, {utt: measures[role](n) for utt, n in lengths.items()}, reference)


@pytest.mark.parametrize("case", cases("chain"))
def test_golden_chain(case, tmp_path):
    roles, options = before(case), dict(case["options"])
    reference = table(case["outputs"]["feats"])
    if case["program"] == "copy-feats":
        method = options.pop("compression-method") if options.pop("compress") else 0
        assert not options
        with ArkWriter(tmp_path / "x.ark", compression_method=method) as writer:
            for utt, feats in roles["feats"].items():
                writer.write(utt, feats)
        result = dict(read_ark(tmp_path / "x.ark"))
    else:
        result = run_program(case, roles)
    compare_tables(case, result, reference)


@pytest.mark.parametrize("case", cases("select-voiced"))
def test_golden_one_function_is_the_chain(case):
    """`frontend` on the inputs of the whole chain equals Kaldi's programs one after the other."""
    earlier = [parameter.values[0] for parameter in cases("deltas", "cmvn")]
    made_by = {each["outputs"]["feats"]: each for each in earlier if not each.get("before")}
    cmn = made_by.get(case["inputs"]["feats"])
    deltas = made_by.get(cmn["inputs"]["feats"]) if cmn else None
    if not deltas:
        pytest.skip("the golden set holds no MFCC of this chain")
    options = FrontendOptions(**named({**KALDI_DELTAS, **KALDI_CMN, **deltas["options"], **cmn["options"]}))
    feats, vad = table(deltas["inputs"]["feats"]), table(case["inputs"]["vad"])
    result = {utt: frontend(feats[utt], vad[utt] > 0, options) for utt in feats if utt in vad and vad[utt].any()}
    compare_tables(case, result, table(case["outputs"]["feats"]))

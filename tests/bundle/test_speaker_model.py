"""SpeakerModel computes what the recipe's parts compute; threads; scales; Kaldi's directories; bad bundles."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import golden_cases
import golden_system
import numpy as np
import pytest
import torch
from bundle_data import CEPS, DIM, RATE, make_bundle, network, speech, write_backend, write_sound

from pyasp import SpeakerModel
from pyasp.audio.recording import Sound, read_sound
from pyasp.backend.files import read_back_end
from pyasp.backend.options import ScoreOptions
from pyasp.backend.scoring import plda_scorer
from pyasp.backend.transforms import length_normalise
from pyasp.bundle.format import read_bundle, write_manifest
from pyasp.bundle.kaldi import read_kaldi
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.features.mfcc import Mfcc, MfccOptions
from pyasp.features.vad import VadOptions, energy_vad
from pyasp.network.embed import Embedder, EmbedOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(scope="module")
def model(folder):
    return SpeakerModel.load(folder)


def by_hand(folder, wave):
    """The embedding of a wave by the recipe's own functions."""
    matrix = Mfcc(read_conf(folder / "mfcc.conf", MfccOptions)).compute(np.rint(wave * 32768).clip(-32768, 32767))
    voiced = energy_vad(matrix[:, 0], read_conf(folder / "vad.conf", VadOptions))
    frames = frontend(matrix, voiced, FrontendOptions(delta_order=0))
    embedder = Embedder(network()[0], EmbedOptions(), torch.device("cpu"))
    return next(iter(embedder.stream([("u", frames)])))[1]


def test_embedding_is_the_recipes(folder, model):
    wave = np.round(speech(seed=4) * 32768).astype(np.int16)
    np.testing.assert_allclose(model.embed(wave, RATE), by_hand(folder, wave / np.float32(32768)), rtol=1e-5, atol=1e-6)
    assert model.embed(wave, RATE).shape == (DIM,) == (model.dim,) and model.rate == RATE
    np.testing.assert_array_equal(model.embed(wave, RATE), model.embed(wave / np.float32(32768), RATE))


def test_score_is_the_back_ends(folder, model):
    rng = np.random.default_rng(5)
    enrol, tests = rng.standard_normal((3, DIM)).astype(np.float32), rng.standard_normal((4, DIM)).astype(np.float32)
    back_end = read_back_end(folder)
    average = length_normalise(back_end.process(enrol).mean(axis=0, keepdims=True))
    scorer = plda_scorer(average, np.array([3]), back_end.process(tests), back_end.plda, ScoreOptions())
    expected = scorer.pairs(np.zeros(4, int), np.arange(4))
    np.testing.assert_allclose(model.score(enrol, tests), expected, rtol=1e-10)
    one = model.score(enrol, tests[2])
    assert isinstance(one, float) and one == pytest.approx(expected[2])
    assert model.score(enrol[0], tests[0]) == pytest.approx(model.score(enrol[:1], tests[:1])[0])


def test_calibration_is_an_affine_map(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m/calibration.json").write_text('{"scale": 0.5, "offset": -2.0}')
    a, b = np.random.default_rng(1).standard_normal((2, DIM)).astype(np.float32)
    raw, calibrated = SpeakerModel.load(folder), SpeakerModel.load(tmp_path / "m")
    assert calibrated.calibrated and not raw.calibrated
    assert calibrated.score(a, b) == pytest.approx(0.5 * raw.score(a, b) - 2.0)
    (tmp_path / "m/calibration.json").write_text('{"scale": 0.5}')
    with pytest.raises(InputError, match="no usable calibration"):
        SpeakerModel.load(tmp_path / "m")


def test_a_calibration_that_is_gone_is_missed_where_the_bundle_was_made_with_one(folder, tmp_path):
    """Raw scores, and the threshold of calibrated ones, would take its place."""
    shutil.copytree(folder, tmp_path / "m")
    manifest, facts = tmp_path / "m/bundle.json", json.loads((folder / "bundle.json").read_text())
    manifest.write_text(json.dumps({**facts, "calibrated": True}))
    with pytest.raises(InputError, match="calibration.json: found no such file; .* --calibration none"):
        SpeakerModel.load(tmp_path / "m")
    (tmp_path / "m/calibration.json").write_text('{"scale": 0.5, "offset": -2.0}')
    assert SpeakerModel.load(tmp_path / "m").calibrated
    (tmp_path / "m/calibration.json").unlink()
    manifest.write_text(json.dumps({**facts, "calibrated": False}))
    assert not SpeakerModel.load(tmp_path / "m").calibrated


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_bundle_in_which_a_file_is_another_one_is_refused(folder, tmp_path, calibrated):
    """Embeddings, or the scale of the scores, would be others without a word."""
    shutil.copytree(folder, tmp_path / "m")
    if calibrated:
        (tmp_path / "m/calibration.json").write_text('{"scale": 0.5, "offset": -2.0}')
    assert SpeakerModel.load(tmp_path / "m").calibrated == calibrated
    shutil.copytree(tmp_path / "m", other := tmp_path / "other")
    write_backend(tmp_path / "m", rank=5)
    with pytest.raises(InputError, match="bundle.json: found another plda and transform.mat; expected the files"):
        SpeakerModel.load(tmp_path / "m")
    (other / "mfcc.conf").write_text((other / "mfcc.conf").read_text().replace("high-freq=3700", "high-freq=3000"))
    with pytest.raises(InputError, match="found another mfcc.conf; .* Copy the bundle again, or make it again"):
        SpeakerModel.load(other)


def test_other_rates_are_resampled(model):
    from scipy.signal import resample_poly

    wave = speech(seconds=1.5, seed=2)
    fast = resample_poly(wave, 2, 1)
    near, far = model.embed(wave, RATE), model.embed(speech(seconds=1.5, seed=9), RATE)
    found = model.embed(fast.astype(np.float32), 2 * RATE)
    assert np.linalg.norm(found - near) < 0.1 * np.linalg.norm(far - near)


def test_threads_give_what_one_gives(model):
    waves = [speech(seconds=0.6 + 0.1 * k, seed=k) for k in range(8)]
    alone = [model.embed(wave, RATE) for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda wave: model.embed(wave, RATE), waves * 2))
    for found, expected in zip(together, alone * 2):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "wave, message",
    [
        (np.zeros((100, 2), np.float32), r"one channel.*wave\[:, 0\]"),
        (np.zeros((1, 100), np.float32), r"shape \(1, 100\).*Choose a channel: wave\[0\]"),
        (np.zeros((2, 9, 9), np.float32), "Give the samples of one recording"),
        (np.zeros(0, np.float32), "one channel"),
        (np.zeros(100, np.int32), "int16, or floats"),
        (np.full(100, np.nan), "not finite"),
        (np.full(8000, 3000.0), "Divide by 32768"),
        (np.zeros(8000, np.float32), "no voiced frame"),
    ],
)
def test_waves_that_cannot_be_embedded(model, wave, message):
    with pytest.raises(InputError, match=message):
        model.embed(wave, RATE)


@pytest.mark.parametrize("rate", [16, 8, 0, -8000, 8000.5, 1e9, float("nan"), "16000", None])
def test_rates_that_no_recording_has(model, rate):
    with pytest.raises(InputError, match="rate: found a rate of .*samples a second.*Give it in Hz"):
        model.embed(speech(), rate)


def test_what_is_no_embedding_has_no_score(model):
    right = np.ones(model.dim)
    for wrong in (
        right * np.nan,
        np.full(model.dim, np.inf),
        np.full(model.dim, "1"),
        right[:5],
        [],
        [right, right[:5]],
    ):
        for pair in ((right, wrong), (wrong, right)):
            with pytest.raises(InputError, match="embeddings: found"):
                model.score(*pair)


def test_what_is_no_bundle_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("file", "nowhere"):
        with pytest.raises(InputError, match="no bundle.json; expected a bundle"):
            SpeakerModel.load(tmp_path / name)


def test_features_of_a_wave(folder, model):
    wave = np.round(speech(seed=4) * 32768).astype(np.int16)
    found = model.features(wave, RATE)
    assert found.frames.shape == (found.voiced.sum(), CEPS) and found.seconds == pytest.approx(found.voiced.sum() / 100)
    again = model.features(Sound("x", wave.astype(np.float32), RATE))
    np.testing.assert_array_equal(found.frames, again.frames)
    ((_, vector),) = model.embed_features([("x", found.frames)])
    np.testing.assert_array_equal(vector, model.embed(wave, RATE))


def test_loading_consumes_no_random_numbers_and_leaves_no_pickle(folder):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    SpeakerModel.load(folder)
    assert torch.equal(before, torch.get_rng_state())
    for path in folder.iterdir():
        head = path.read_bytes()[:2]
        assert head[:1] != pickle.PROTO and head != b"PK", path


def test_a_fresh_process_needs_the_bundle_alone_and_no_lhotse(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    wav = write_sound(tmp_path / "a.wav", speech())
    code = (
        "import sys; from pyasp.bin.verify import main; code = main(sys.argv[1:]); "
        "print(code, {'lhotse', 'matplotlib', 'pandas', 'scipy.signal'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--model", str(moved), wav, wav],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.endswith("0 set()\n") and "same speaker" in done.stdout, done.stdout + done.stderr


def break_manifest(path):
    (path / "bundle.json").write_text("{")


def new_format(path):
    (path / "bundle.json").write_text('{"format": 99, "kind": "network"}')


def lose_plda(path):
    (path / "plda").unlink()


def made_so(path):
    """The manifest says that these were the files."""
    facts = json.loads((path / "bundle.json").read_text())
    write_manifest(path, facts.pop("kind"), facts)


def other_network(path):
    text = (path / "network.conf").read_text()
    (path / "network.conf").write_text(text.replace("--frame-dim=16", "--frame-dim=12"))
    made_so(path)


def cut_weights(path):
    data = (path / "network.ark").read_bytes()
    (path / "network.ark").write_bytes(data[: len(data) // 2])


def other_back_end(path):
    write_backend(path, dim=DIM + 3)
    from pyasp import kaldi as kaldi_io

    kaldi_io.save(path / "mean.vec", np.zeros(DIM))
    made_so(path)


@pytest.mark.parametrize(
    "damage, message",
    [
        (break_manifest, "broken JSON"),
        (new_format, "format 99"),
        (lose_plda, "plda: found no such file"),
        (other_network, "Make the bundle again"),
        (cut_weights, "network.ark"),
        (other_back_end, "do not belong together"),
    ],
)
def test_damaged_bundles_are_told(folder, tmp_path, damage, message):
    path = shutil.copytree(folder, tmp_path / "m")
    damage(path)
    with pytest.raises(InputError, match=message):
        SpeakerModel.load(path)


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(InputError, match="no bundle.json"):
        read_bundle(tmp_path)


# ---------------------------------------------------------------- Kaldi's directories

SYSTEM = golden_system.find_system()


@pytest.fixture(scope="module")
def kaldi(tmp_path_factory):
    """Kaldi's own models in the places where its recipes have them, with the options of the features behind them."""
    if SYSTEM is None:
        pytest.skip("this golden set has no i-vectors from audio")
    top = tmp_path_factory.mktemp("kaldi")
    golden_system.write_directory(SYSTEM, top)
    return top


def test_golden_kaldi_directory_gives_kaldis_ivectors_from_audio(kaldi):
    """Kaldi's features were compressed to 8 bits on their way, ours were not: agreement to some percent."""
    model = SpeakerModel.load(kaldi)
    reference = golden_cases.table(SYSTEM["ivectors"]["outputs"]["ivectors"])
    assert model.bundle.kind == "ivector" and model.dim == len(next(iter(reference.values())))
    wavs = golden_cases.read_scp_lines(SYSTEM["feats"]["inputs"]["wav"])
    vectors = {}
    for utt in list(reference)[:3]:
        sound = read_sound(golden_cases.path(wavs[utt]))
        vectors[utt] = model.embed(sound.samples.astype(np.int16), sound.rate)
        assert np.linalg.norm(vectors[utt] - reference[utt]) < 0.05 * np.linalg.norm(reference[utt])
    first, second, third = vectors.values()
    assert model.score(first, second) == pytest.approx(model.score(reference[list(vectors)[0]], second), abs=1.0)
    assert np.isfinite(model.score([first, second], third))


def test_kaldi_files_that_lack_or_come_twice(kaldi, tmp_path):
    path = shutil.copytree(kaldi, tmp_path / "k")
    shutil.copytree(path / "ivectors_train", path / "ivectors_other")
    with pytest.raises(InputError, match="2 files mean.vec"):
        read_kaldi(path)
    assert read_kaldi(path, backend=path / "ivectors_other").files["plda"].parent.name == "ivectors_other"
    shutil.rmtree(path / "conf")
    with pytest.raises(InputError, match="no mfcc.conf"):
        read_kaldi(path, backend=path / "ivectors_other")
    assert json.dumps(read_kaldi(kaldi).facts)

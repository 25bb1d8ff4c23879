"""Training and extraction from the command line: artefacts, resuming to the same bits, job counts, failure paths."""

import json

import numpy as np
import pytest

from pyasp.bin import extract as verb
from pyasp.bin import train_ivector, train_ubm
from pyasp.data.datadir import DataDir
from pyasp.gmm.files import read_diag, read_full
from pyasp.ivector.files import read_extractor
from pyasp.kaldi import ArkWriter, load, read_scp

IVECTOR_CONF = [
    "--num-ceps=2",
    "--delta-order=1",
    "--cmn-window=0",
    "--ivector-dim=3",
    "--num-iters=2",
    "--gselect=3",
    "--gaussian-min-count=5",
]
UBM = [
    "--num-gauss=4",
    "--num-frames=2000",
    "--num-iters-init=4",
    "--num-iters-diag=2",
    "--num-iters-full=2",
    "--subsample=2",
    "--gselect-diag=3",
    "--gselect-full=3",
    "--min-occupancy-full=30",
    "--device=cpu",
]


def make_data(folder, recordings=12, silent=(), seed=0):
    rng = np.random.default_rng(seed)
    data = DataDir(folder)
    data.path.mkdir(parents=True)
    utts = [f"s{i % 4}-u{i:02d}" for i in range(recordings)]
    data.write_speakers({utt: utt[:2] for utt in utts})
    centres = rng.standard_normal((4, 5)) * 3
    with (
        ArkWriter(folder / "feats.ark", folder / "feats.scp") as feats,
        ArkWriter(folder / "vad.ark", folder / "vad.scp") as vad,
    ):
        for utt in sorted(utts):
            frames = int(rng.integers(120, 200))
            shift = rng.standard_normal(5)
            x = centres[rng.integers(4, size=frames)] + shift + rng.standard_normal((frames, 5))
            feats.write(utt, x.astype(np.float32))
            vad.write(utt, (rng.random(frames) > (2 if utt in silent else 0.2)).astype(np.float32))
    return data


@pytest.fixture
def place(tmp_path):
    make_data(tmp_path / "train")
    (tmp_path / "ivector.conf").write_text("\n".join(IVECTOR_CONF) + "\n")
    return tmp_path


def ubm(place, out="ubm", *more, data="train"):
    return train_ubm.main(
        [*UBM, f"--frontend-config={place / 'ivector.conf'}", *more, str(place / data), str(place / out)]
    )


def extractor(place, ubm_dir="ubm", out="ie", *more, data="train"):
    return train_ivector.main(
        [
            f"--config={place / 'ivector.conf'}",
            "--device=cpu",
            *more,
            str(place / data),
            str(place / ubm_dir),
            str(place / out),
        ]
    )


def extract(place, out, *more, data="train", ubm_dir="ubm", ie="ie"):
    return verb.main(
        [
            f"--config={place / 'ivector.conf'}",
            "--device=cpu",
            *more,
            str(place / data),
            str(place / ubm_dir),
            str(place / ie),
            str(place / out),
        ]
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith(".made.json")}


def test_every_iteration_is_kept_and_measured(place):
    assert ubm(place) == 0 and extractor(place) == 0
    models = ["0.dubm", "1.dubm", "2.dubm", "final.dubm", "0.ubm", "1.ubm", "2.ubm", "final.ubm"]
    assert sorted(contents(place / "ubm")) == sorted([*models, "likelihood.json", "options.conf"])
    assert (place / "ubm/final.ubm").read_bytes() == (place / "ubm/2.ubm").read_bytes()
    assert read_diag(place / "ubm/final.dubm").num_gauss == read_full(place / "ubm/final.ubm").num_gauss == 4
    history = json.loads((place / "ubm/likelihood.json").read_text())
    assert history["2.ubm"]["loglike"] > history["1.ubm"]["loglike"] > history["1.dubm"]["loglike"]
    assert history["2.dubm"]["floored"] == 0 and len(history["0.dubm"]["start"]) == 4
    assert read_extractor(place / "ie/final.ie").projections.shape == (4, 4, 3)
    objective = json.loads((place / "ie/likelihood.json").read_text())
    assert objective["2.ie"]["objective"] > objective["1.ie"]["objective"] and objective["2.ie"]["recordings"] == 12
    assert (place / "ie/2.ie.made.json").is_file() and "--ivector-dim=3" in (place / "ie/options.conf").read_text()


@pytest.mark.parametrize("killed_after", [1, 3, 6])
def test_killed_training_continues_to_the_same_bits(place, monkeypatch, killed_after):
    assert ubm(place) == 0 and extractor(place) == 0

    class Killed(BaseException):
        pass

    from pyasp.core.records import Iterations

    whole, calls = Iterations._note, []

    def note(self, name, record):
        calls.append(name)
        if len(calls) == killed_after:
            raise Killed
        whole(self, name, record)

    monkeypatch.setattr(Iterations, "_note", note)
    with pytest.raises(Killed):
        ubm(place, "again")
    monkeypatch.undo()
    assert ubm(place, "again") == 0
    assert contents(place / "again") == contents(place / "ubm")
    calls.clear()
    monkeypatch.setattr(Iterations, "_note", note)
    if killed_after <= 3:
        with pytest.raises(Killed):
            extractor(place, out="ie2")
    monkeypatch.undo()
    assert extractor(place, out="ie2") == 0
    assert contents(place / "ie2") == contents(place / "ie")


def test_finished_training_is_skipped_and_changes_are_refused(place, capsys):
    assert ubm(place) == 0
    before = (place / "ubm/final.ubm").stat().st_mtime_ns
    assert ubm(place) == 0 and (place / "ubm/final.ubm").stat().st_mtime_ns == before
    capsys.readouterr()
    assert ubm(place, "ubm", "--num-iters-init=5") == 1
    error = capsys.readouterr().err
    assert "--num-iters-init: 4 -> 5" in error and "--force" in error
    assert ubm(place, "ubm", "--num-iters-init=5", "--force=true") == 0
    assert (place / "ubm/final.ubm").stat().st_mtime_ns != before
    assert ubm(place, "ubm", "--seed=2", "--num-iters-init=5") == 1


def test_extraction_does_not_depend_on_the_number_of_jobs(place):
    assert ubm(place) == 0 and extractor(place) == 0
    assert extract(place, "one/ivector") == 0
    for job in (1, 2, 3):
        assert extract(place, "three/ivector", f"--job={job}", "--num-jobs=3") == 0
    found = {}
    for name in ("one", "three"):
        scps = sorted((place / name).glob("ivector.*.scp"))
        found[name] = {utt: load(where) for scp in scps for utt, where in read_scp(scp).items()}
    assert list(found["one"]) == list(found["three"]) and len(found["one"]) == 12
    for utt, vector in found["one"].items():
        assert vector.shape == (3,) and vector.dtype == np.float32 and np.array_equal(vector, found["three"][utt])
    assert np.std(np.stack(list(found["one"].values())), 0).max() > 0.5


def test_precision_changes_ivectors_by_round_off(place):
    assert ubm(place) == 0 and extractor(place) == 0
    assert extract(place, "a/ivector") == 0 and extract(place, "b/ivector", "--precision=float64") == 0
    vectors = [
        np.stack([load(where) for scp in sorted((place / name).glob("*.scp")) for where in read_scp(scp).values()])
        for name in "ab"
    ]
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-3 * np.abs(vectors[1]).max()


def test_recordings_without_speech_are_counted(tmp_path, capsys):
    (tmp_path / "ivector.conf").write_text("\n".join(IVECTOR_CONF) + "\n")
    make_data(tmp_path / "train", silent=["s0-u00"])
    assert ubm(tmp_path) == 1
    assert "used 11 of 12 recordings, 1 failed (first: s0-u00" in capsys.readouterr().err
    assert ubm(tmp_path, "ubm", "--allow-fail-fraction=0.1") == 0
    assert extractor(tmp_path, "ubm", "ie", "--allow-fail-fraction=0.1") == 0
    assert extract(tmp_path, "out/ivector") == 0
    failed = "".join(path.read_text() for path in (tmp_path / "out").glob("ivector.*.failed"))
    assert failed.startswith("s0-u00") and "no voiced frame" in failed
    make_data(tmp_path / "silence", 2, silent=["s0-u00", "s1-u01"])
    assert ubm(tmp_path, "nothing", "--allow-fail-fraction=1", data="silence") == 1
    assert "2 of 2 recordings that cannot be used" in capsys.readouterr().err


def test_models_and_features_must_fit(place, capsys):
    assert ubm(place) == 0 and extractor(place) == 0
    assert extract(place, "out/ivector", "--delta-order=0") == 1
    assert "2 dimensions after the front end; expected the model's 4" in capsys.readouterr().err
    assert ubm(place, "other", "--num-gauss=3") == 0
    assert extract(place, "out2/ivector", ubm_dir="other") == 1
    assert "an extractor of 4 Gaussians of 4 dimensions; expected the UBM's 3 of 4" in capsys.readouterr().err
    assert extractor(place, "nowhere", "ie3") == 1
    assert "nowhere/final.ubm" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, text",
    [
        ("--num-gauss=0", "--num-gauss"),
        ("--initial-gauss-proportion=2", "found 2; expected a number in (0, 1]"),
        ("--num-gauss=900", "frames for 450 Gaussians"),
    ],
)
def test_impossible_settings(place, capsys, option, text):
    with np.errstate(all="raise"):
        try:
            code = ubm(place, "ubm", option)
        except Exception as error:
            pytest.fail(f"not reported as an error: {error!r}")
    assert code == 1 and text in capsys.readouterr().err


def test_front_end_options_come_from_the_ivector_conf(place, capsys):
    assert train_ubm.main([*UBM, str(place / "train"), str(place / "ubm")]) == 1
    assert "--frontend-config" in capsys.readouterr().err

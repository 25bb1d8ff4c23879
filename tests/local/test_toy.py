"""Toy corpora: the synthesiser does what its equations say, sessions keep their levels, trees are seeded and whole."""

import csv
import dataclasses
import itertools
import operator
import wave

import numpy as np
import pytest
from prep_trees import check_data_dir, refused, trial_lines
from scipy.signal import argrelmax

from local import make_toy, prep_toy, toy_session, toy_speech, toy_trees
from local.make_toy import Options, ToyOptions
from local.toy_phones import VOWELS, VOWELS_MEN, VOWELS_WOMEN
from pyasp.core.errors import InputError

RATE = 16000
FRAMES = 200
NEUTRAL = toy_speech.Manner()


@pytest.fixture
def speaker():
    """A speaker without jitter, shimmer and breath, so that what the model says can be measured."""
    drawn = toy_speech.draw_speaker(toy_speech.stream(3, "someone"), "m")
    return dataclasses.replace(drawn, jitter=0.0, shimmer=0.0, breath=0.0, open_quotient=0.6, width=1.0)


def steady(pitch=120.0, formants=(700.0, 1200.0, 2500.0), voice=1.0, nasal=0.0):
    """Control tracks that never move."""
    column = np.full(FRAMES, 1.0)
    return toy_speech.Tracks(
        np.tile(formants, (FRAMES, 1)).astype(float),
        np.tile((60.0, 90.0, 150.0), (FRAMES, 1)),
        voice * column,
        0 * column,
        nasal * column,
        pitch * column,
        np.zeros((FRAMES, 6)),
    )


@pytest.mark.parametrize("pitch", [90.0, 137.0, 240.0])
def test_the_source_repeats_at_the_pitch_and_its_flow_closes(speaker, pitch):
    source = toy_speech.glottal(steady(pitch), speaker, NEUTRAL, RATE, np.random.default_rng(0))
    assert len(source) == FRAMES * round(toy_speech.HOP * RATE)
    spectrum = np.abs(np.fft.rfft(source * np.hanning(len(source)), 1 << 16))
    grid = np.fft.rfftfreq(1 << 16, 1 / RATE)
    first = grid[np.argmax(np.where(grid < 1.5 * pitch, spectrum, 0))]
    assert first == pytest.approx(pitch, rel=0.01)
    assert abs(source.mean()) < 0.01 * source.std()  # a derivative of a flow that returns to 0 in every cycle


def test_a_longer_open_phase_leaves_less_of_the_cycle_closed(speaker):
    shares = [
        np.mean(
            np.abs(
                toy_speech.glottal(
                    steady(100.0),
                    dataclasses.replace(speaker, open_quotient=quotient),
                    NEUTRAL,
                    RATE,
                    np.random.default_rng(0),
                )
            )
            < 0.02
        )
        for quotient in (0.45, 0.8)
    ]
    assert shares[0] > 0.4 > shares[1]


def test_the_tract_peaks_at_the_formants(speaker):
    formants = (650.0, 1700.0, 2600.0)
    response = np.abs(toy_speech.tract(steady(formants=formants), speaker, NEUTRAL, RATE, 4096)[0])
    grid = np.fft.rfftfreq(4096, 1 / RATE)
    peaks = grid[argrelmax(response * np.abs(1 + 1j * grid / speaker.tilt))[0]]
    for formant in formants:
        assert np.min(np.abs(peaks - formant)) < 25


def test_a_nasal_loses_energy_at_its_zero(speaker):
    grid = np.fft.rfftfreq(4096, 1 / RATE)
    oral, nasal = (np.abs(toy_speech.tract(steady(nasal=n), speaker, NEUTRAL, RATE, 4096)[0]) for n in (0.0, 1.0))
    ratio = nasal / oral
    assert ratio[np.argmin(np.abs(grid - 450))] < 0.6 and ratio[np.argmin(np.abs(grid - 270))] > 1.5


def test_frame_filtering_equals_one_convolution_for_a_steady_filter():
    signal = np.random.default_rng(1).standard_normal(128 * 40).astype(np.float32)
    response = np.exp(-np.arange(200) / 30).astype(np.float32)
    spectrum = toy_speech._frames(signal, 128, 768) * np.fft.rfft(response, 768)
    made = toy_speech._overlap_add(spectrum, 128, 768)[: len(signal)]
    wanted = np.convolve(signal, response)[: len(signal)]
    inner = slice(512, -512)
    assert np.max(np.abs(made[inner] - wanted[inner])) < 1e-3 * np.max(np.abs(wanted))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_speech_is_seeded_finite_and_as_long_as_asked(rate):
    speaker = toy_speech.draw_speaker(toy_speech.stream(1, "a"), "f")
    one, again, other = (
        toy_speech.speak(speaker, NEUTRAL, 1.23, rate, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert len(one) == round(1.23 * rate) and np.isfinite(one).all() and 0.05 < one.std() < 5
    assert np.array_equal(one, again) and not np.allclose(one[: len(other)], other)


def test_men_and_women_overlap_but_speakers_are_told_apart_by_their_traits():
    people = {sex: [toy_speech.draw_speaker(toy_speech.stream(9, sex, str(i)), sex) for i in range(60)] for sex in "mf"}
    pitch, formants = (
        {sex: np.array([value(person) for person in group]) for sex, group in people.items()}
        for value in (lambda person: person.pitch, lambda person: np.mean([person.formants[v] for v in VOWELS]))
    )
    for trait in (pitch, formants):
        assert trait["m"].mean() < trait["f"].mean() and trait["m"].std() > 0.03 * trait["m"].mean()
    assert pitch["m"].max() > pitch["f"].min()
    mean = np.mean([person.formants["aa"] for person in people["m"]], axis=0)
    assert mean == pytest.approx(VOWELS_MEN["aa"], rel=0.05)
    assert len({tuple(person.formants["iy"]) for person in people["f"]}) == 60
    assert all(VOWELS_WOMEN[v][1] > 0.8 * VOWELS_MEN[v][1] for v in VOWELS)


def test_a_channel_has_minimum_phase_and_the_magnitude_it_was_given():
    response = 6 * np.cos(np.linspace(0, 9, 513)) - 3
    impulse = toy_session.minimum_phase(response)
    assert 20 * np.log10(np.abs(np.fft.rfft(impulse))) == pytest.approx(response, abs=0.2)
    reverse = np.cumsum(impulse[::-1] ** 2)
    assert np.all(np.cumsum(impulse**2) >= reverse - 1e-9)  # no response of this magnitude has its energy earlier


@pytest.mark.parametrize("decay", [0.2, 0.5])
def test_a_room_dies_away_by_60_decibels_in_its_reverberation_time(decay):
    room = toy_session.draw_room(np.random.default_rng(2), RATE, decay)
    assert room[0] == 1 and 3 <= -10 * np.log10(np.sum(room[1:] ** 2)) <= 12
    left = 10 * np.log10(np.cumsum(room[::-1].astype(float) ** 2)[::-1])  # Schroeder's integral
    start, end = int(0.1 * decay * RATE), int(0.4 * decay * RATE)
    slope = (left[end] - left[start]) / ((end - start) / RATE)
    assert slope == pytest.approx(-60 / decay, rel=0.12)


@pytest.mark.parametrize("kind", sorted(toy_session.NOISES))
def test_noise_comes_at_its_level_below_the_speech(kind):
    rng = np.random.default_rng(3)
    speech = np.where(np.arange(2 * RATE) % RATE < RATE // 2, rng.standard_normal(2 * RATE), 0).astype(np.float32)
    noisy = toy_session.add_noise(speech, kind, 12.0, RATE, np.random.default_rng(4))
    power = np.mean(np.square((noisy - speech).astype(float)))
    assert 10 * np.log10(toy_session.active_power(speech, RATE) / power) == pytest.approx(12.0, abs=0.05)


def test_a_session_sets_the_level_and_never_clips_all():
    rng = np.random.default_rng(5)
    session = toy_session.draw_session(rng, RATE, toy_session.STUDIO)
    speech = toy_speech.speak(toy_speech.draw_speaker(rng, "m"), NEUTRAL, 2.0, RATE, rng)
    sent = toy_session.transmit(speech, session, RATE, rng)
    assert sent.dtype == np.int16 and len(sent) == len(speech)
    level = 10 * np.log10(toy_session.active_power(sent.astype(float), RATE)) - 20 * np.log10(32768)
    assert level == pytest.approx(session.level, abs=0.1)
    assert np.mean(np.abs(sent.astype(int)) >= 32767) < 1e-3


def test_sessions_of_a_speaker_differ_and_his_traits_do_not():
    first, second = (toy_trees._speech_of(1, "id10001", "m", name, toy_session.STUDIO, RATE) for name in ("one", "two"))
    assert first[0].pitch == second[0].pitch and np.array_equal(first[0].upper, second[0].upper)
    assert (
        first[1] != second[1] and not np.allclose(first[2].channel, second[2].channel) and first[2].snr != second[2].snr
    )


SMALL = {"speakers": 2, "eval_speakers": 3, "sessions": 2, "utterances": 2, "size": "tiny", "nj": 1}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A small toy corpus."""
    return make_toy.make("toy", ToyOptions(root=str(tmp_path_factory.mktemp("toy") / "corpus"), **SMALL))


def test_the_tree_is_voxcelebs(tree):
    files = sorted(path.relative_to(tree).parts for path in tree.rglob("*.wav"))
    assert len(files) == (2 + 3) * 2 * 2
    assert {parts[:2] for parts in files} == {("dev", "wav"), ("test", "wav")}
    assert all(
        parts[2].startswith("id") and len(parts[3]) == 11 and parts[4] in ("00001.wav", "00002.wav") for parts in files
    )
    assert not {parts[2] for parts in files if parts[0] == "dev"} & {parts[2] for parts in files if parts[0] == "test"}
    with wave.open(str(tree.joinpath(*files[0]))) as stream:
        assert stream.getparams()[:3] == (1, 2, 16000) and 1.5 * 16000 <= stream.getnframes() <= 2.5 * 16000


def test_the_metadata_is_separated_by_tabs(tree):
    with open(tree / "vox1_meta.csv", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream, delimiter="\t")
    assert header == ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    assert [row[4] for row in rows] == ["dev"] * 2 + ["test"] * 3 and {row[2] for row in rows} == {"m", "f"}


def test_trials_cross_sessions_and_hold_both_classes(tree):
    lines = [line.split() for line in (tree / "veri_test.txt").read_text().splitlines()]
    pairs = [(label, *(tuple(name.split("/")) for name in names)) for label, *names in lines]
    assert len({frozenset((a, b)) for _, a, b in pairs}) == len(pairs)
    targets = [(a, b) for label, a, b in pairs if label == "1"]
    assert 0 < len(targets) <= len(pairs) and all(a[0] == b[0] and a[1] != b[1] for a, b in targets)
    assert all(a[0] != b[0] for label, a, b in pairs if label == "0")
    assert all((tree / "test" / "wav").joinpath(*name).is_file() for _, *names in pairs for name in names)


def test_the_order_of_the_work_changes_no_byte(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(
        toy_trees, "parallel", lambda work, jobs, nj, *rest: [work(job, *rest) for job in jobs[::-1]][::-1]
    )
    again = make_toy.make("toy", ToyOptions(root=str(tmp_path / "again"), **SMALL))
    names = [path.relative_to(tree) for path in tree.rglob("*") if path.suffix in (".wav", ".csv", ".txt")]
    assert len(names) == 22 and all((again / name).read_bytes() == (tree / name).read_bytes() for name in names)


def test_processes_return_their_results_in_order(monkeypatch):
    monkeypatch.setattr(toy_trees, "FEW_JOBS", 0)
    assert toy_trees.parallel(operator.sub, list(range(7)), 2, 10) == [number - 10 for number in range(7)]


def test_another_seed_makes_another_corpus():
    names = [set(toy_trees.session_names(seed, "id10001", 3)) for seed in (1, 2)]
    voices = [toy_speech.draw_speaker(toy_speech.stream(seed, "id10001"), "m").pitch for seed in (1, 2)]
    assert not names[0] & names[1] and voices[0] != voices[1]


def test_a_finished_corpus_is_kept_and_a_changed_one_needs_force(tree, capsys):
    options = ToyOptions(root=str(tree), **SMALL)
    before = (tree / "veri_test.txt").stat().st_mtime_ns
    make_toy.make("toy", options)
    assert (tree / "veri_test.txt").stat().st_mtime_ns == before and "up to date" in capsys.readouterr().err
    with pytest.raises(InputError, match="seed: 1 -> 2.*--force"):
        make_toy.make("toy", dataclasses.replace(options, seed=2))
    with pytest.raises(InputError, match="--utterances: 2 -> 1|utterances: 2 -> 1"):
        make_toy.make("toy", dataclasses.replace(options, utterances=1))


def test_a_half_made_corpus_is_made_again(tmp_path, monkeypatch):
    options = ToyOptions(
        root=str(tmp_path / "corpus"), speakers=1, eval_speakers=2, sessions=2, utterances=1, size="tiny", nj=1
    )
    calls = itertools.count()
    whole = toy_trees.synthesise

    def killed(job, seconds):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return whole(job, seconds)

    monkeypatch.setattr(toy_trees, "synthesise", killed)
    with pytest.raises(KeyboardInterrupt):
        make_toy.make("toy", options)
    assert not (tmp_path / "corpus" / "make_toy.json").exists()
    monkeypatch.setattr(toy_trees, "synthesise", whole)
    root = make_toy.make("toy", options)
    assert len(list(root.rglob("*.wav"))) == 6 and (root / "make_toy.json").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"root": ""}, "no --root"),
        ({"eval_speakers": 1}, "too small"),
        ({"sessions": 1}, "too small"),
        ({"speakers": -1}, "too small"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, change, message):
    options = {"root": str(tmp_path), **SMALL, **change}
    with pytest.raises(InputError, match=message):
        make_toy.make("toy", ToyOptions(**options))


def test_the_command_knows_its_options(capsys):
    assert make_toy.main(["--help"]) == 0 and "--eval-speakers" in capsys.readouterr().out
    assert make_toy.main(["--colour=red"]) == 1 and "--eval-speakers" in capsys.readouterr().err
    assert {field.name for field in dataclasses.fields(Options)} >= {"corpus", "seed", "nj", "force"}


def test_the_toy_corpus_goes_the_same_way(tmp_path, capsys):
    sizes = ["--size=tiny", "--speakers=2", "--eval-speakers=2", "--sessions=2", "--utterances=1", "--nj=1"]
    assert prep_toy.main(["--data", str(tmp_path), *sizes]) == 0
    check_data_dir(tmp_path / "train", 4, 2)
    assert (tmp_path / "corpus/vox1_meta.csv").is_file() and trial_lines(tmp_path, "veri_test")
    assert prep_toy.main(["--data", str(tmp_path), *sizes]) == 0
    assert capsys.readouterr().err.count("up to date") == 2
    assert prep_toy.main(["--data", str(tmp_path), "--tables=x"]) == 1
    refused(capsys, "unknown option --tables")

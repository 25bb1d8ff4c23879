"""Augmentation: rooms, levels over the speech, alignment, codecs, draws that depend on the id alone."""

import json
import os

import lhotse
import numpy as np
import pytest
import soundfile
from coded import alike, real
from lhotse.serialization import deserialize_item
from scipy.signal import correlate

from pyasp.audio.augment import Augmenter, AugmentOptions, check, generate_noises, generate_responses, json_line
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.bin import augment as augment_tool
from pyasp.bin import vad as vad_verb
from pyasp.bin.make_mfcc import main as make_mfcc
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.data.shards import merge
from pyasp.kaldi import ArkWriter, ScpReader
from pyasp.report import results as report

RATE = 8000


@pytest.fixture(autouse=True)
def reader():
    use_libsndfile()


def cut_of(path, samples, rate=RATE):
    """A cut of a wav file of these samples, called by the file's name."""
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return lhotse.Recording.from_file(path).to_cut().with_id(path.stem)


@pytest.fixture
def speech(tmp_path):
    """A cut of 2 s: half a second of faint hiss, a second of modulated noise, half a second of hiss."""
    rng = np.random.default_rng(0)
    loud = (1 + np.sin(np.arange(2 * RATE) / 400)) * ((np.arange(2 * RATE) // (RATE // 2) % 3) > 0)
    return cut_of(tmp_path / "s1-u1.wav", 0.1 * rng.normal(size=2 * RATE) * (loud + 0.001))


VOICED = np.repeat([0, 1, 1, 0], 50).astype(np.float32)  # frames of 10 ms


@pytest.fixture
def vad(tmp_path):
    """The entry of vad.scp for the cut of `speech`."""
    with ArkWriter(tmp_path / "vad.ark", tmp_path / "vad.scp") as writer:
        writer.write("s1-u1", VOICED)
    return (tmp_path / "vad.scp").read_text().split(maxsplit=1)[1].strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Generated noises and responses."""
    settings = AugmentOptions(generated_noises=5, generated_responses=3, noise_seconds=1.5)
    made = tmp_path_factory.mktemp("sources"), settings, RATE, 1
    return generate_noises(*made), generate_responses(*made)


@pytest.fixture
def augmenter(made):
    def build(noises=None, responses=None, **options):
        settings = AugmentOptions(**options)
        return Augmenter(settings, noises or made[0], responses or made[1], seed=1)

    return build


def stored(cut):
    """The cut as it comes back from cuts.jsonl.gz."""
    return deserialize_item(json.loads(json.dumps(cut.to_dict())))


def level(clean, noisy, frames=VOICED):
    """Signal-to-noise ratio in dB over the voiced samples."""
    voiced = np.repeat(frames > 0, RATE // 100)
    return 10 * np.log10(np.sum(clean[voiced] ** 2) / np.sum((noisy - clean)[voiced] ** 2))


@pytest.mark.parametrize("snr", [8.0, 15.0, 20.0])
def test_noise_is_added_at_the_wanted_level_over_the_speech(speech, vad, augmenter, snr):
    copy, kind = augmenter(kinds="noise", snrs=str(snr)).copy(speech, 1, vad)
    clean, noisy = speech.load_audio()[0], stored(copy).load_audio()[0]
    assert (kind, copy.id) == ("noise", "s1-u1-noise1") and len(noisy) == len(clean)
    assert level(clean, noisy) == pytest.approx(snr, abs=0.01)
    whole = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
    assert whole < snr - 2  # half of the recording is pause: what lhotse's own mix would have set


def test_levels_hold_after_reading_on_the_int16_scale(speech, vad, augmenter):
    item = stored(augmenter(kinds="noise", snrs="8").copy(speech, 1, vad)[0]).to_dict()
    assert level(read_samples(speech.to_dict(), RATE), read_samples(item, RATE)) == pytest.approx(8, abs=0.1)


def test_without_voice_activity_the_whole_recording_counts(speech, tmp_path, augmenter):
    clean = speech.load_audio()[0]
    with ArkWriter(tmp_path / "none.ark", tmp_path / "none.scp") as writer:
        writer.write("s1-u1", np.zeros(200, np.float32))
    for entry in ("", (tmp_path / "none.scp").read_text().split()[1]):
        noisy = augmenter(kinds="noise", snrs="10").copy(speech, 1, entry)[0].load_audio()[0]
        assert level(clean, noisy, np.ones(200)) == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("seconds, rate", [(0.3, RATE), (1.99, RATE), (7.0, 2 * RATE), (2.0, RATE)])
def test_noises_of_any_length_and_rate_fill_the_recording(tmp_path, speech, vad, augmenter, seconds, rate):
    noise = np.random.default_rng(1).normal(size=round(seconds * rate)) * 0.1
    soundfile.write(tmp_path / "n.wav", noise, rate)
    copy, _ = augmenter([tmp_path / "n.wav"], kinds="noise", snrs="8").copy(speech, 1, vad)
    added = stored(copy).load_audio()[0] - speech.load_audio()[0]
    assert level(speech.load_audio()[0], speech.load_audio()[0] + added) == pytest.approx(8, abs=0.01)
    assert (added[:400] ** 2).mean() / (added[-400:] ** 2).mean() == pytest.approx(1, abs=0.5)


def test_a_noise_that_is_silent_over_the_speech_is_moved_and_a_silent_one_named(tmp_path, speech, vad, augmenter):
    noise = np.random.default_rng(1).normal(size=2 * RATE) * 0.1 * np.repeat([1, 0, 0, 0], RATE // 2)
    soundfile.write(tmp_path / "n.wav", noise, RATE)
    copy, _ = augmenter([tmp_path / "n.wav"], kinds="noise", snrs="15").copy(speech, 1, vad)
    assert level(speech.load_audio()[0], copy.load_audio()[0]) == pytest.approx(15, abs=0.01)
    soundfile.write(tmp_path / "z.wav", np.zeros(RATE), RATE)
    with pytest.raises(InputError, match="z.wav: found silence.*Take it out"):
        read_samples(augmenter([tmp_path / "z.wav"], kinds="noise").copy(speech, 1, vad)[0].to_dict(), RATE)


def test_a_side_of_a_call_gets_its_noise_at_its_own_level(tmp_path, speech, vad, augmenter):
    clean = speech.load_audio()[0]
    soundfile.write(tmp_path / "call.wav", np.stack([np.ones(len(clean)) * 0.5, clean], axis=1), RATE, subtype="FLOAT")
    side = lhotse.MonoCut(
        "call-b", 0, len(clean) / RATE, 1, recording=lhotse.Recording.from_file(tmp_path / "call.wav")
    )
    noisy = stored(augmenter(kinds="noise", snrs="8").copy(side, 1, vad)[0]).load_audio()
    assert noisy.shape == (1, len(clean)) and level(clean, noisy[0]) == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize("delay", [0, 37, 1600])
def test_reverberated_speech_stays_aligned(tmp_path, speech, augmenter, delay):
    """Recorded responses start before the sound arrives."""
    response = np.zeros(4000)
    response[[delay, delay + 500, delay + 1300]] = 0.9, 0.4, 0.2
    soundfile.write(tmp_path / "r.wav", response, RATE)
    copy, _ = augmenter(responses=[tmp_path / "r.wav"], kinds="reverb").copy(speech, 1)
    clean, wet = speech.load_audio()[0], stored(copy).load_audio()[0]
    assert len(wet) == len(clean) and not np.allclose(wet, clean, atol=1e-3)
    assert np.argmax(correlate(wet, clean)) - (len(clean) - 1) == 0


def test_generated_rooms_keep_speech_aligned(speech, augmenter):
    for number in range(1, 5):
        clean, wet = speech.load_audio()[0], augmenter(kinds="reverb").copy(speech, number)[0].load_audio()[0]
        assert np.argmax(correlate(wet, clean)) - (len(clean) - 1) == 0


@pytest.mark.parametrize("name, least", [("gsm", 0.9), ("g711", 0.999)])
def test_stand_ins_code_and_stay_aligned(tmp_path, augmenter, name, least):
    clean = cut_of(tmp_path / "s1-u1.wav", real()[:7777])
    copy, kind = augmenter(kinds="codec", codec=name).copy(clean, 1)
    coded = stored(copy).load_audio()[0]
    lag, likeness = alike(real()[:7777], coded)
    assert (kind, copy.id, len(coded), lag) == ("codec", "s1-u1-codec1", 7777, 0) and least < likeness < 1


def test_wide_band_speech_goes_through_a_narrow_codec(tmp_path, augmenter):
    clean = np.repeat(real(0.5), 2) + 0.05 * np.sin(np.arange(8000) * 2 * np.pi * 6000 / 16000)
    copy, _ = augmenter(kinds="codec", codec="g711").copy(cut_of(tmp_path / "s1-u1.wav", clean, 16000), 1)
    spectrum = np.abs(np.fft.rfft(copy.load_audio()[0]))
    assert copy.num_samples == 8000 and spectrum[3000] < 0.01 * np.abs(np.fft.rfft(clean))[3000]


def test_draws_depend_on_seed_and_id_alone(speech, augmenter):
    first = augmenter().copy(speech, 1)[0].to_dict()
    other = augmenter()
    other.copy(speech.with_id("another"), 1)
    assert other.copy(speech, 1)[0].to_dict() == first


def test_unknown_kind_is_named(augmenter):
    with pytest.raises(InputError, match="found 'echo'; expected noise or reverb or codec"):
        augmenter(kinds="noise,echo")
    with pytest.raises(InputError, match="--amr-rates: found '8'; expected kbit/s of AMR-NB: 4.75"):
        augmenter(kinds="codec", codec="gsm", amr_rates="8")
    with pytest.raises(InputError, match="--snrs: found 'loud'"):
        augmenter(snrs="loud")


@pytest.mark.parametrize("kind", ["noise", "reverb", "codec"])
@pytest.mark.parametrize("side", [False, True], ids=["mono", "a side of a call"])
def test_a_copy_is_stored_as_lhotse_would_store_it(tmp_path, augmenter, kind, side):
    clean = cut_of(tmp_path / "s1-u1.wav", np.ones((RATE, 2)) * 0.1 if side else np.ones(RATE) * 0.1)
    if side:
        clean = lhotse.MonoCut("s1-u1", 0.25, 0.5, 1, recording=clean.recording)
    clean.supervisions = [lhotse.SupervisionSegment("s1-u1", "s1-u1", 0, clean.duration, speaker="s1", gender="f")]
    for _ in range(2):  # the second time the clean cut has a transform of its own
        copy, _ = augmenter(kinds=kind, codec="gsm").copy(clean, 1, "vad.ark:17")
        line = json_line(copy, json.loads(json.dumps(clean.to_dict())))
        assert json.loads(line) == json.loads(json.dumps(copy.to_dict())) and line.startswith('{"id": "s1-u1-')
        clean = stored(copy).with_id("s1-u1")


def test_groups_of_copies_are_put_in_order_as_they_come():
    names = ["a", "a-b", "a-b0", "a-c", "aa", "b"]
    groups = [
        [augment_tool.Entry(utt, name, name, "", "") for utt in (name, f"{name}-noise1", f"{name}-b2")]
        for name in names
    ]
    ids = [entry[0] for entry in augment_tool.in_order(iter(groups), "cuts")]
    assert ids == sorted((entry[0] for group in groups for entry in group), key=str.encode) and len(ids) == 18
    with pytest.raises(InputError, match="cuts: a: found 'a' after 'a-b'; expected unique ids in C-locale order"):
        list(augment_tool.in_order([groups[1], groups[0]], "cuts"))


def test_the_tool_counts_copies_and_says_what_they_are(tmp_path, speech, vad, capsys):
    clean = DataDir(tmp_path / "train")
    clean.path.mkdir()
    clean.write_speakers({"s1-u1": "s1"})
    clean.write("vad.scp", {"s1-u1": vad})
    lhotse.CutSet.from_cuts([speech]).to_file(clean / "cuts.jsonl.gz")
    options = ["--copies=4", "--kinds=noise,codec", "--codec=gsm", "--generated-noises=2", "--generated-responses=1"]
    assert augment_tool.main([*options, str(clean.path), str(tmp_path / "aug")]) == 0
    told = (tmp_path / "aug/augment.txt").read_text()
    assert (
        told.startswith("1 clean, ")
        and "2 noises from a generator" in told
        and "codec: GSM 06.10 as a stand-in" in told
    )
    copies = list(lhotse.CutSet.from_file(tmp_path / "aug/cuts.jsonl.gz"))
    assert len(copies) == 5 and {cut.id.split("-")[-1].rstrip("1234") for cut in copies} == {"u", "noise", "codec"}
    assert not list((tmp_path / "aug").glob("*.wav"))


class Given:
    """Copies of eight recordings with noises and responses of folders."""

    def __init__(self, place, speech, vad, capsys):
        self.place, self.capsys, self.rng = place, capsys, np.random.default_rng(5)
        self.clean, self.aug = DataDir(place / "train"), DataDir(place / "aug")
        self.clean.path.mkdir()
        utts = [f"s1-u{number}" for number in range(8)]
        self.clean.write_speakers(dict.fromkeys(utts, "s1"))
        self.clean.write("vad.scp", dict.fromkeys(utts, vad))
        lhotse.CutSet.from_cuts([speech.with_id(utt) for utt in utts]).to_file(self.clean / "cuts.jsonl.gz")
        self.noises = [place / f"sounds/noise/{number}.wav" for number in range(2)]
        self.responses = [place / f"rooms/{number}.wav" for number in range(2)]
        for path in (*self.noises, *self.responses):
            self.fill(path)

    def fill(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * self.rng.normal(size=RATE), RATE)

    def make(self, *options):
        """(exit code, what was said)."""
        self.capsys.readouterr()
        words = [f"--musan={self.place}/sounds", f"--rirs={self.place}/rooms", "--kinds=noise,reverb", *options]
        code = augment_tool.main([*words, str(self.clean.path), str(self.aug.path)])
        return code, self.capsys.readouterr().err

    def features(self):
        """({utterance: features}, what was said)."""
        aug = self.aug
        for job in ("1", "2"):
            words = ["--sample-frequency=8000", "--dither=0", f"--job={job}", "--num-jobs=2", "--force=true"]
            assert make_mfcc([*words, str(aug.path), str(aug.path / "mfcc")]) == 0
        merge(aug, str(aug.path / "mfcc"), "", {}, str(aug / "feats.scp"), True)
        return dict(ScpReader(aug / "feats.scp")), self.capsys.readouterr().err


@pytest.fixture
def given(tmp_path, speech, vad, capsys):
    return Given(tmp_path, speech, vad, capsys)


def test_files_that_are_replaced_in_given_folders_are_told_and_computed_again(given):
    """Nothing in the cuts tells a noise from another of its length; its size and time do. Other copies stay."""
    cuts = given.aug / "cuts.jsonl.gz"
    assert given.make()[0] == 0 and given.make() == (0, f"{cuts}: up to date\n")
    assert not (given.aug / "sources").exists()  # nothing is generated in place of what is given
    before, _ = given.features()
    for path in (given.noises[0], given.responses[1]):
        used = {cut.id for cut in lhotse.CutSet.from_file(cuts) if str(path) in json.dumps(cut.to_dict())}
        time = path.stat().st_mtime_ns
        given.fill(path)
        os.utime(path, ns=(time, time + 1))
        code, told = given.make()
        name = path.relative_to(given.place)
        refused = f"found an out-of-date artefact (1 file replaced: {name}); expected"
        assert code == 1 and refused in told and "--force" in told
        assert given.make("--force=true")[0] == 0 and given.make()[0] == 0
        now, told = given.features()
        assert {utt for utt in now if not np.array_equal(now[utt], before[utt])} == used and 0 < len(used) < 8
        assert f"{len(now) - len(used)} of them as they were" in told
        before = now


def test_files_that_come_and_go_in_given_folders_are_told(given):
    assert given.make()[0] == 0
    given.fill(given.noises[0].with_name("9.wav"))
    given.noises[1].unlink()
    code, told = given.make()
    assert code == 1 and "1 file more: 9.wav; 1 file fewer: 1.wav" in told.replace("sounds/noise/", "")
    assert given.make("--force=true")[0] == 0 and given.make()[0] == 0
    (given.aug / "sources.files.gz").unlink()  # of a set that an older release made
    assert given.make()[0] == 0
    assert given.make("--copies=0", "--force=true")[0] == 0 and not (given.aug / "sources.files.gz").exists()


def test_the_report_says_what_the_copies_are():
    figures = {"eer": 1.0, "min_dcf": {"0.01": 0.1}, "n_target": 1, "n_nontarget": 1}
    results = report.merge("x", {"ivector": {"trials": {"list": figures}}})
    told = "2 clean, 1 codec; codec: G.711 mu-law as a stand-in for AMR-NB"
    assert f"## Training copies\n\n{told}." in report.markdown({**results, "training_copies": told}, {}, ())
    assert "Training copies" not in report.markdown(results, {}, ())


@pytest.fixture
def faster(tmp_path, speech, vad):
    """The augmented set of the one recording, with a copy, and both at 1.25 times the speed."""
    clean = DataDir(tmp_path / "train")
    clean.path.mkdir()
    clean.write_speakers({"s1-u1": "s1"})
    for name, value in {"vad.scp": vad, "utt2num_voiced": "100", "utt2num_frames": "200"}.items():
        clean.write(name, {"s1-u1": value})
    clean.write("spk2gender", {"s1": "f"})
    lhotse.CutSet.from_cuts([speech]).to_file(clean / "cuts.jsonl.gz")
    options = ["--copies=1", "--kinds=noise", "--speeds=1.25", "--generated-noises=2", "--generated-responses=1"]
    assert augment_tool.main([*options, str(clean.path), str(tmp_path / "aug")]) == 0
    return clean, DataDir(tmp_path / "aug")


def test_another_speed_makes_another_speaker_with_copies_of_its_own(faster, speech):
    _, aug = faster
    assert aug.utt2spk == {"s1-u1": "s1", "s1-u1-noise1": "s1", "s1~1.25-u1": "s1~1.25", "s1~1.25-u1-noise2": "s1~1.25"}
    assert aug.read("utt2clean")["s1~1.25-u1-noise2"] == aug.read("utt2clean")["s1~1.25-u1"] == "s1~1.25-u1"
    assert aug.read("utt2speed") == {utt: "1.25 s1-u1" for utt in ("s1~1.25-u1", "s1~1.25-u1-noise2")}
    assert aug.read("spk2gender") == {"s1": "f", "s1~1.25": "f"}
    cuts = {cut.id: cut for cut in lhotse.CutSet.from_file(aug / "cuts.jsonl.gz")}
    samples = read_samples(cuts["s1~1.25-u1"].to_dict(), RATE)
    assert list(cuts) == list(aug.utt2spk) and len(samples) == round(2 * RATE / 1.25)
    frequency = [np.abs(np.fft.rfft(x * np.hanning(len(x)), 1 << 16)) for x in (speech.load_audio()[0], samples)]
    assert np.argmax(frequency[1]) / np.argmax(frequency[0]) == pytest.approx(1.25, rel=0.01)


def test_voice_activity_follows_the_speed(faster):
    clean, aug = faster
    aug.write("utt2num_frames", {utt: "160" if "~" in utt else "200" for utt in aug.utt2spk})
    assert vad_verb.main(["copy", str(clean.path), str(aug.path)]) == 0
    decisions = ScpReader(aug / "vad.scp")
    assert np.array_equal(decisions["s1-u1-noise1"], VOICED)
    assert np.array_equal(decisions["s1~1.25-u1-noise2"], np.repeat([0, 1, 1, 0], 40))
    assert aug.read("utt2num_voiced") == {utt: "80" if "~" in utt else "100" for utt in aug.utt2spk}
    aug.write("utt2num_frames", {utt: "200" for utt in aug.utt2spk})
    assert vad_verb.main(["copy", "--force", "true", str(clean.path), str(aug.path)]) == 1


@pytest.mark.parametrize("speeds", ["1", "0.9,0.90", "fast", "3", "-1", "nan", "0.9;1.1"])
def test_speeds_that_cannot_be_are_refused(speeds):
    with pytest.raises(InputError, match="--speeds: found .*; expected distinct speeds from 0.5 to 2.0 but 1"):
        check(AugmentOptions(speeds=speeds))

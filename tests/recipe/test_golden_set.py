"""The golden set itself: nothing altered, nothing that no case names, and its plain lists mean what its README says."""

import hashlib
import re

import pytest
import soundfile
from golden_cases import MANIFEST, ROOT, cases, path, read_scp_lines
from kaldi_statistics import read_ivector_stats

ABOUT = {"README.md", "SHA256SUMS", "manifest.json"}


def words(value) -> list[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [word for part in parts for word in words(part)]


def files() -> set[str]:
    return {str(each.relative_to(ROOT)) for each in ROOT.rglob("*") if each.is_file()}


def test_golden_set_is_unaltered():
    if not path("SHA256SUMS").exists():
        pytest.skip("the golden set has no SHA256SUMS")
    sums = [line.split(maxsplit=1) for line in path("SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in sums} | {"SHA256SUMS"} == files()
    altered = [name for digest, name in sums if hashlib.sha256(path(name).read_bytes()).hexdigest() != digest]
    assert not altered


def test_golden_manifest_names_every_file():
    named = set(words(MANIFEST))
    in_lists = {
        words_of_line[0]
        for name in named
        if name.endswith(".scp") and path(name).is_file()
        for line in read_scp_lines(name).values()
        if (words_of_line := re.split(r"[:\[]", line))
    }
    assert files() - ABOUT <= named | in_lists


LISTS = sorted(
    name
    for group in MANIFEST["aux"]
    for name in group["files"]
    if name.startswith("lists/") and name.endswith(".scp") and "feats" not in name
)


@pytest.mark.parametrize("name", LISTS)
def test_golden_lists_of_audio_can_be_read(name):
    rates = set()
    for utt, where in read_scp_lines(name).items():
        samples, rate = soundfile.read(path(where), dtype="int16", always_2d=True)
        assert len(samples) > 0, utt
        rates.add(rate)
    assert len(rates) == 1


def maps(suffix: str) -> list[str]:
    return sorted(name for name in files() if name.endswith(suffix) and name[: -len(suffix)] + "utt2spk" in files())


@pytest.mark.parametrize("name", maps("spk2utt"))
def test_golden_maps_are_inverse_to_each_other(name):
    utt2spk = read_scp_lines(name[: -len("spk2utt")] + "utt2spk")
    members = {speaker: rest.split() for speaker, rest in read_scp_lines(name).items()}
    assert {utt: speaker for speaker, utts in members.items() for utt in utts} == utt2spk


def test_golden_logged_objective_is_that_of_the_statistics():
    """The first `Overall auxf/frame` of the log is the objective of the first accumulators (six digits printed)."""
    logs = [name for group in MANIFEST["aux"] for name in group["files"] if name.endswith("objective_log.txt")]
    first = next(parameter.values[0] for parameter in cases("extractor-acc"))
    stats = read_ivector_stats(path(first["outputs"]["accumulators"]))
    for name in logs:
        number, frames = re.search(
            r"auxf/frame on training data was (\S+) per frame over (\d+) frames", path(name).read_text()
        ).groups()
        assert float(stats.count.sum()) == pytest.approx(float(frames), rel=1e-5)
        assert stats.objective / float(stats.count.sum()) == pytest.approx(float(number), rel=1e-5)

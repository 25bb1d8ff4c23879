"""AMR-NB through the programs that can encode it, and what is said where none can."""

import numpy as np
import pytest
from coded import alike, real
from prep_trees import program

from pyasp.audio import augment, codec
from pyasp.audio.augment import AugmentOptions
from pyasp.bin import check
from pyasp.core.errors import InputError

RATE = 8000


@pytest.fixture
def no_encoder(monkeypatch, tmp_path):
    codec.amr_program.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    yield
    codec.amr_program.cache_clear()


def test_amr_without_an_encoder_is_refused_before_any_work(no_encoder, capsys):
    assert check.main(["augment", "--kinds=noise,codec"]) == 1
    said = capsys.readouterr().err
    assert all(
        text in said
        for text in (
            "no program that encodes AMR-NB",
            "apt install ffmpeg libavcodec-extra",
            "sox libsox-fmt-all",
            "--codec=gsm or --codec=g711",
        )
    )
    assert (
        check.main(["augment", "--kinds=noise,reverb"]) == 0
        and check.main(["augment", "--kinds=codec", "--copies=0"]) == 0
    )
    assert check.main(["augment", "--kinds=codec", "--codec=gsm"]) == 0
    assert "GSM 06.10 as a stand-in for AMR-NB" in capsys.readouterr().err


def test_an_encoder_that_only_says_it_can_is_passed_over(no_encoder, tmp_path, monkeypatch):
    program(tmp_path / "bin", monkeypatch, "ffmpeg", "echo Unknown encoder libopencore_amrnb >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(InputError, match="no program that encodes AMR-NB"):
        augment.check(AugmentOptions(kinds="codec"))


@pytest.mark.parametrize("name", codec.ENCODERS)
@pytest.mark.parametrize("kbits", ["6.7", "4.75"])
def test_amr_where_an_encoder_is_installed(monkeypatch, name, kbits):
    monkeypatch.setattr(codec, "ENCODERS", {name: codec.ENCODERS[name]})
    codec.amr_program.cache_clear()
    if codec.amr_program() is None:
        pytest.skip(f"{name} cannot encode AMR-NB")
    coded = codec.round_trip(real(), "amr", kbits)
    lag, likeness = alike(real(), coded)
    assert len(coded) == RATE and abs(lag) <= 1 and likeness > 0.6
    assert codec.named("amr", ["6.7", "4.75"]) == f"AMR-NB at 6.7 or 4.75 kbit/s through {name}"
    codec.amr_program.cache_clear()


def test_the_bit_rate_decides_the_length_of_the_coded_file(no_encoder, tmp_path, monkeypatch):
    """A stand-in for ffmpeg notes what it is asked for, and gives the file back a look-ahead later."""
    script = (
        f'echo "$*" >> {tmp_path}/asked; for last; do :; done; while [ "$1" != -i ]; do shift; done; cp "$2" "$last"'
    )
    program(tmp_path / "bin", monkeypatch, "ffmpeg", script)
    coded = codec.round_trip(real(), "amr", "6.7")
    np.testing.assert_allclose(coded[:-40], real()[40:], atol=1e-4)
    assert "-c:a libopencore_amrnb -b:a 6700" in (tmp_path / "asked").read_text()

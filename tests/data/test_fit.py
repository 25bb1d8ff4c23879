"""What `auto` in conf files stands for: the rules at their limits, the files, and that the user's own values stay."""

from pathlib import Path

import pytest

from pyasp.bin.fit import main
from pyasp.core.conf import conf_values, read_conf
from pyasp.core.errors import InputError
from pyasp.data.datadir import write_table
from pyasp.data.fit import RULES, Facts, fitted
from pyasp.data.selection import SelectOptions
from pyasp.gmm.train import UbmOptions
from pyasp.ivector.train import IvectorOptions
from pyasp.training.options import NetworkOptions

FOLDER = Path(__file__).parents[2] / "conf" / "folder"


def words(speakers, recordings, frames=70):
    """Facts of so many speakers with so many recordings of `frames` voiced frames."""
    utts = {f"s{k}-{i}": f"s{k}" for k in range(speakers) for i in range(recordings)}
    return Facts.of(utts, dict.fromkeys(utts, frames))


@pytest.mark.parametrize(
    "speakers, recordings, frames, gauss, dim",
    [
        (10, 5, 85, 4, 20),  # 4 250 frames: at least four Gaussians
        (20, 5, 81, 4, 20),
        (50, 5, 74, 8, 50),
        (48, 8, 79, 16, 50),  # 30 336 frames: the nearest, not the largest below
        (100, 5, 73, 16, 50),
        (300, 5, 74, 32, 100),
        (100, 20, 57, 32, 100),  # 114 000 frames: as many as 300 x 5 have
        (1000, 10, 800, 2048, 200),
        (7000, 20, 800, 2048, 400),
    ],
)
def test_gaussians_and_dimension_grow_with_the_data(speakers, recordings, frames, gauss, dim):
    facts = words(speakers, recordings, frames)
    assert (RULES["num-gauss"](facts), RULES["ivector-dim"](facts)) == (gauss, dim)


@pytest.mark.parametrize("frames, least, chunk", [(20, 10, 60), (74, 18, 74), (280, 70, 280), (3000, 100, 300)])
def test_words_of_a_second_count(frames, least, chunk):
    facts = words(10, 3, frames)
    assert RULES["min-voiced"](facts) == RULES["min-voiced-ubm"](facts) == facts.least == least
    assert RULES["max-chunk"](facts) == chunk >= 2 * RULES["min-chunk"](facts)


def test_recordings_that_are_too_short_are_not_counted():
    facts = Facts.of({"a-1": "a", "a-2": "a", "b-1": "b", "c-1": "c"}, {"a-1": 400, "a-2": 400, "b-1": 99, "c-1": 0})
    assert (facts.speakers, facts.recordings, facts.frames, facts.least) == (1, 2, 800, 100)


def test_networks_take_about_as_many_steps_whatever_there_is():
    assert RULES["epochs"](words(10, 2, 50)) == 60 and RULES["epochs"](words(3000, 20, 800)) == 5
    few, many = words(80, 10, 200), words(160, 10, 200)
    assert RULES["epochs"](few) == pytest.approx(2 * RULES["epochs"](many), abs=1)


def test_a_value_of_the_users_stays_and_so_does_auto_of_others():
    text = "# sizes\n--num-gauss=48  # mine\n--ivector-dim = auto  # fitted\n--device=auto\n"
    result, chosen = fitted(text, words(100, 5))
    assert result == "# sizes\n--num-gauss=48  # mine\n--ivector-dim = 50  # fitted\n--device=auto\n"
    assert chosen == {"ivector-dim": 50}


def folder_of(path, facts):
    utts = {f"s{k}-{i}": f"s{k}" for k in range(facts[0]) for i in range(facts[1])}
    path.mkdir()
    write_table(path / "utt2spk", utts)
    write_table(path / "utt2num_voiced", dict.fromkeys(utts, str(facts[2])))
    return str(path)


@pytest.mark.parametrize("size", [(10, 2, 50), (80, 10, 90), (300, 20, 400), (6000, 3, 700)])
def test_the_folder_conf_is_complete_and_valid_at_every_size(tmp_path, capsys, size):
    assert main([str(FOLDER), folder_of(tmp_path / "train", size), str(tmp_path / "conf")]) == 0
    said = capsys.readouterr().err
    assert f"fitted to {size[0]} speakers, {size[0] * size[1]} recordings" in said and "--num-gauss=" in said
    ubm = read_conf(tmp_path / "conf" / "ubm.conf", UbmOptions)
    assert f"--num-gauss={ubm.num_gauss} " in said
    read_conf(tmp_path / "conf" / "ivector.conf", IvectorOptions)
    read_conf(tmp_path / "conf" / "tdnn.conf", NetworkOptions)
    read_conf(tmp_path / "conf" / "select.conf", SelectOptions)
    assert sorted(path.name for path in (tmp_path / "conf").iterdir()) == sorted(p.name for p in FOLDER.glob("*.conf"))


def test_the_same_again_writes_nothing_and_other_data_decide_anew(tmp_path):
    out = tmp_path / "conf"
    assert main([str(FOLDER), folder_of(tmp_path / "a", (10, 5, 80)), str(out)]) == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main([str(FOLDER), str(tmp_path / "a"), str(out)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main([str(FOLDER), folder_of(tmp_path / "b", (300, 5, 80)), str(out)]) == 0
    assert read_conf(out / "ubm.conf", UbmOptions).num_gauss == 64


def test_an_edit_of_what_was_fitted_is_said_before_it_is_undone(tmp_path, capsys):
    words = [str(FOLDER), folder_of(tmp_path / "a", (10, 5, 80)), str(tmp_path / "conf")]
    assert main(words) == 0
    ubm = tmp_path / "conf/ubm.conf"
    before = ubm.read_text()
    assert before.startswith(f"# Made of {FOLDER}/ubm.conf: edit that file")
    ubm.write_text(before.replace("--num-gauss=", "--num-gauss=1"))
    capsys.readouterr()
    assert main(words) == 0 and ubm.read_text() == before
    assert f"{ubm}: written anew, it had --num-gauss=1" in capsys.readouterr().err


def test_what_is_missing_is_told(tmp_path, capsys):
    assert main([str(FOLDER), folder_of(tmp_path / "mute", (2, 2, 0)), str(tmp_path / "conf")]) == 1
    assert "no voiced frame" in capsys.readouterr().err
    with pytest.raises(InputError, match="auto.*pyasp fit CONF_DIR DATA/train NEW_CONF_DIR"):
        conf_values(FOLDER / "ubm.conf", UbmOptions)

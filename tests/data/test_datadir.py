"""Tables of data directories: C-locale order, duplicates, missing files."""

import pytest

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, invert, read_table, write_table


def test_tables_are_written_in_byte_order_and_read_back(tmp_path):
    table = {"b": "2 3", "a-1": "x", "a_1": "y", "B": "z", "ä": "u"}
    write_table(tmp_path / "t", table)
    lines = (tmp_path / "t").read_bytes().splitlines()
    assert lines == sorted(lines, key=lambda line: line.split(b" ")[0])
    assert read_table(tmp_path / "t") == table


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a 1\na 2\n", "line 2: found key 'a' a second time"),
        (b"a 1\n\nb 2\n", "line 2: found an empty line"),
        (b"\xff 1\n", "not UTF-8"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t")


def test_a_missing_file_names_the_stage_that_makes_it(tmp_path):
    with pytest.raises(InputError, match="feats.scp: found no such file.*stage features"):
        DataDir(tmp_path).require("feats.scp")
    with pytest.raises(InputError, match="Run stage prepare"):
        DataDir(tmp_path).utt2spk


def test_speakers_models_and_info(tmp_path):
    data = DataDir(tmp_path)
    data.write_speakers({"s2-a": "s2", "s1-b": "s1", "s1-a": "s1"})
    assert (
        read_table(tmp_path / "spk2utt")
        == {"s1": "s1-a s1-b", "s2": "s2-a"}
        == {spk: " ".join(utts) for spk, utts in invert(data.utt2spk).items()}
    )
    data.write("model2utts", {"m": "s1-a s1-b"})
    assert data.model2utts == {"m": ["s1-a", "s1-b"]}
    (tmp_path / "utt2info.tsv").write_text("utt\tphone\tnote\ns1-a\tcell\t\n")
    assert data.info == {"s1-a": {"phone": "cell", "note": ""}}

"""Recordings named on a command line: folders with links, keys of two recordings, and tables as they come."""

import codecs
import os

import pytest

from pyasp.bundle.listing import list_sounds
from pyasp.core.errors import InputError


def touch(root, *names):
    """Files with their name in them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_a_folder_with_links_gives_each_recording_once(tmp_path, capsys):
    touch(tmp_path / "f", "s00/u0.wav", "s01/u0.wav", "s01/._0.wav", "s01/notes.docx")
    touch(tmp_path / "disk", "u0.wav")
    for link, target in {"s00/all": "..", "s02": "s01", "s03": "../disk"}.items():
        (tmp_path / "f" / link).symlink_to(target)
    assert list(list_sounds([str(tmp_path / "f")])) == ["s00-u0", "s01-u0", "s03-u0"]
    said = capsys.readouterr().err
    assert "1 .docx (first: s01/notes.docx)" in said and "1 hidden .wav" in said
    assert "2 second names of folders left out: " in said and "s02 is s01" in said


@pytest.mark.parametrize("second", ["s00-u0.wav", "s00/u0.flac"])
def test_no_recording_is_lost_to_another_of_the_same_key(tmp_path, second):
    touch(tmp_path, "s00/u0.wav", second)
    with pytest.raises(
        InputError, match=r"1 keys of several recordings \(s00-u0 is .*u0.* and .*u0.*Name them in a .tsv"
    ):
        list_sounds([str(tmp_path)])


def test_the_same_file_named_twice_is_one_recording(tmp_path):
    touch(tmp_path, "u0.wav")
    assert len(list_sounds([str(tmp_path / "u0.wav"), f"{tmp_path}/./u0.wav", str(tmp_path)])) == 1


def test_a_name_that_is_not_utf8_is_refused_and_shown(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xfc.wav")
    with open(path, "wb"):
        pass
    with pytest.raises(InputError, match=r"names of files or folders that are not UTF-8 \(.*\\udcfc.wav\)"):
        list_sounds([os.fsdecode(path)])


GOOD = {
    "plain": b"utt\tpath\na\ta.wav\nb\tb.wav\n",
    "blank lines": b"utt\tpath\n\na\ta.wav\n  \t \nb\tb.wav\n\n",
    "byte-order mark and CRLF": codecs.BOM_UTF8 + b"utt\tpath\r\na\ta.wav\r\nb\tb.wav\r\n",
    "blanks around cells, further columns": b" utt \tx\tpath\na \t1\t a.wav\nb\t2\tb.wav",
}


@pytest.mark.parametrize("how", GOOD)
def test_tables_as_they_come(tmp_path, how):
    (tmp_path / "list.tsv").write_bytes(GOOD[how])
    assert list_sounds([str(tmp_path / "list.tsv")]) == {key: (f"{tmp_path}/{key}.wav", None) for key in "ab"}


def test_commands_that_only_decode_a_file_stand_for_it(tmp_path):
    """As the recipe's own wav.scp has them: nothing is run."""
    lines = (
        "a flac -c -d -s x.flac |",
        "b sph2pipe -f wav -p -c 2 y.sph |",
        "c sox z.wav -t wav - remix 1 |",
        "d w.wav",
    )
    (tmp_path / "wav.scp").write_text("".join(f"{line}\n" for line in lines))
    places = {"a": ("x.flac", None), "b": ("y.sph", 1), "c": ("z.wav", 0), "d": ("w.wav", None)}
    assert list_sounds([str(tmp_path / "wav.scp")]) == places
    (tmp_path / "wav.scp").write_text("u touch ran |\n")
    with pytest.raises(InputError, match="wav.scp: u: found the command 'touch ran |'; .* Run it, and name the file"):
        list_sounds([str(tmp_path / "wav.scp")])


BAD = {
    "ragged": (b"utt\tpath\na\ta.wav\nb\n", r"list.tsv: line 3: found 1 fields; expected 2"),
    "empty": (b"", "found columns"),
    "header alone": (b"utt\tpath\n", "no audio file"),
    "key twice": (b"utt\tpath\na\ta.wav\na\tb.wav\n", "line 3: found utt 'a' again, as in line 2"),
    "no path": (b"utt\tpath\na\t\n", "line 2: found no path"),
    "column twice": (b"utt\tpath\tpath\na\ta\tb\n", "each name once"),
    "blank in a key": (b"utt\tpath\na b\ta.wav\n", "recording id 'a b'"),
    "Latin-1": (
        "utt\tpath\na\ta.wav\né\tb.wav\n".encode("latin-1"),
        r"line 3: found bytes that are not UTF-8 \(b'\\xe9",
    ),
    "UTF-16": ("utt\tpath\na\ta.wav\n".encode("utf-16"), "line 1: found UTF-16: .*iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without mark": ("utt\tpath\na\ta.wav\n".encode("utf-16-le"), "found UTF-16: .*iconv"),
}


@pytest.mark.parametrize("how", BAD)
def test_tables_that_cannot_be_read_are_told_by_name_and_line(tmp_path, how):
    content, message = BAD[how]
    (tmp_path / "list.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list_sounds([str(tmp_path / "list.tsv")])

"""The one walk over trees of recordings: links, circles, second names, what is passed over, names that are no text."""

import os

import pytest

from pyasp.audio import folders
from pyasp.audio.folders import (
    Listing,
    RealPaths,
    audio_below,
    copies_of,
    find_audio,
    musan_noises,
    replaced_of,
    some,
    walk,
)
from pyasp.core.errors import InputError
from pyasp.core.files import file_sha256


def touch(root, *names):
    """Files with a byte each below a root."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def link(root, name, target):
    """A symbolic link."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(target)


@pytest.fixture
def tree(tmp_path):
    """Three recordings of two speakers."""
    touch(tmp_path / "t", "ann/s1/0.wav", "ann/s1/1.wav", "bob/0.wav")
    return tmp_path / "t"


def names(tree):
    """The recordings of a walk, below its root."""
    return [tree.below(path) for path in tree.files]


WHOLE = ["ann/s1/0.wav", "ann/s1/1.wav", "bob/0.wav"]


@pytest.mark.parametrize(
    "links, folders",
    [
        ({"ann/all": ".."}, {"ann/all": "."}),
        ({"ann/all": "..", "bob/all": ".."}, {"ann/all": ".", "bob/all": "."}),
        ({"ann/latest": "s1"}, {"ann/latest": "ann/s1"}),
        ({"aaron": "bob"}, {"aaron": "bob"}),
        ({"ann/here": "."}, {"ann/here": "ann"}),
        ({"x": "ann/y", "ann/y": "../bob/z", "bob/z": "../ann"}, {"ann/y": "ann", "bob/z": "ann", "x": "ann"}),
    ],
    ids=["circle", "two circles", "session", "speaker", "itself", "chain"],
)
def test_links_give_no_recording_twice_and_no_circle(tree, capsys, links, folders):
    for name, target in links.items():
        link(tree, name, target)
    found = walk(tree)
    assert names(found) == WHOLE
    assert {found.below(name): found.below(target) for name, target in found.folders.items()} == folders
    found.say()
    assert f"{len(folders)} second names of folders left out: " in capsys.readouterr().err


def test_a_link_out_of_the_tree_is_followed_once(tree, tmp_path):
    touch(tmp_path / "disk", "cid/0.wav", "cid/deep/1.wav")
    link(tree, "cid", tmp_path / "disk/cid")
    link(tree, "dan/more", tmp_path / "disk")
    link(tmp_path / "disk", "cid/deep/back", tree)
    found = walk(tree)
    assert names(found) == [*WHOLE, "cid/0.wav", "cid/deep/1.wav"]
    assert {found.below(name) for name in found.folders} == {"cid/deep/back", "dan/more/cid"}


def test_a_recording_keeps_the_name_of_the_place_where_it_lies(tree, tmp_path, capsys):
    link(tree, "ann/a.wav", "s1/0.wav")
    os.link(tree / "bob/0.wav", tree / "bob/1.wav")
    touch(tmp_path, "away.wav")
    link(tree, "bob/away.wav", tmp_path / "away.wav")
    found = walk(tree)
    assert names(found) == [*WHOLE, "bob/away.wav"]
    found.say()
    said = capsys.readouterr().err
    assert "2 second names of recordings left out: bob/1.wav is bob/0.wav, ann/a.wav is ann/s1/0.wav" in said


def test_what_is_passed_over_is_counted_by_suffix_and_named(tree, capsys):
    touch(tree, "ann/1.webm", "ann/2.webm", "ann/README", "ann/s1/._0.wav", "ann/s1/0.lab", ".git/x.wav", ".profile")
    link(tree, "bob/gone.wav", "nothing.wav")
    assert audio_below(tree) == [str(tree / name) for name in WHOLE]
    said = capsys.readouterr().err
    for text in (
        "2 .webm (first: ann/1.webm)",
        "1 .lab (first: ann/s1/0.lab)",
        "1 files without a suffix (first: ann/README)",
        "1 hidden .wav (first: ann/s1/._0.wav)",
        "1 links to nothing (first: bob/gone.wav)",
    ):
        assert text in said


def test_hidden_folders_and_what_is_no_file_are_counted_too(tree, capsys):
    touch(tree, ".old/x.wav")
    os.mkfifo(tree / "bob/live.wav")
    assert audio_below(tree) == [str(tree / name) for name in WHOLE]
    told = "1 hidden folders (first: .old), 1 pipes, sockets or devices (first: bob/live.wav)"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"bob/\xfc.wav", b"\xe9ve/0.wav"])
def test_names_that_are_not_utf8_are_refused_and_shown(tree, name):
    path = os.path.join(os.fsencode(tree), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass
    with pytest.raises(InputError, match=r"1 names of files or folders that are not UTF-8 \(.*\\udc.*convmv"):
        walk(tree)


def test_names_with_line_breaks_are_refused_and_shown(tree):
    """Before any table is written: the entry would be two lines."""
    touch(tree, "bob/a\nb.wav")
    with pytest.raises(InputError, match=r"1 names .* with line breaks \(bob/a\\nb.wav\); .*Rename them, without"):
        walk(tree)


def test_names_steer_no_terminal():
    assert some(["a\x1b[31mb", "\x9b2Jc", "d\te", "zoë\n"]) == r"a\x1b[31mb, \x9b2Jc, d\te, zoë\n"


def test_names_of_both_kinds_are_told_apart(tree):
    """convmv mends no line break."""
    touch(tree, "bob/a\nb.wav")
    with open(os.path.join(os.fsencode(tree), b"bob/\xfc.wav"), "wb"):
        pass
    told = r"1 names [^(]* not UTF-8 \(bob/\\udcfc.wav\) and 1 names [^(]* line breaks \(bob/a\\nb.wav\); .*convmv.*without line"
    with pytest.raises(InputError, match=told):
        walk(tree)


def test_other_files_may_have_any_name(tree, capsys):
    with open(os.path.join(os.fsencode(tree), b"\xfc.\xfc"), "wb"):
        pass
    walk(tree).say()
    assert r"passed over 1 .\udcfc (first: \udcfc.\udcfc)" in capsys.readouterr().err


def test_noise_and_music_that_are_one_folder_are_taken_once(tmp_path):
    touch(tmp_path, "noise/b.wav", "noise/a.wav")
    link(tmp_path, "music", "noise")
    assert [path.name for path in musan_noises(tmp_path)] == ["a.wav", "b.wav"]
    with pytest.raises(InputError, match="no audio file"):
        find_audio(tmp_path / "nowhere")


def test_real_paths_of_files_and_folders_behind_links(tree):
    link(tree, "robert", "bob")
    link(tree, "robert.wav", "bob/0.wav")
    real = RealPaths()
    places = [str(tree / name) for name in ("bob/0.wav", "robert/0.wav", "robert.wav")]
    assert {real.of(path) for path in places} == {os.path.realpath(tree / "bob/0.wav")}
    assert real.of(str(tree / "gone/0.wav")) == os.path.realpath(tree) + "/gone/0.wav"
    assert real.of("no\0file/0.wav") == "no\0file/0.wav"


def test_what_was_replaced_of_one_file_beside_a_command_is_named(tmp_path):
    """Neither has a folder in common with the other; what was not there when it was listed was not replaced."""
    (tmp_path / "a.wav").write_text("a")
    listing = Listing(tmp_path, "x.files.gz")
    listing.write([str(tmp_path / "a.wav"), "cat b.wav |", str(tmp_path / "c.wav")])
    assert replaced_of(tmp_path) == []
    (tmp_path / "a.wav").write_text("other")
    (tmp_path / "c.wav").write_text("c")
    assert replaced_of(tmp_path) == ["1 file replaced: a.wav"]
    (tmp_path / "a.wav").unlink()
    assert replaced_of(tmp_path) == []


def test_copies_are_known_by_their_bytes(tmp_path, monkeypatch):
    """Sizes first, then a few bytes in the middle, then all: files of sizes of their own are not opened."""
    middle = bytearray(range(256)) * 64
    contents = {"a": middle, "b": b"x" + middle[1:], "c": middle, "d": middle[:-1] + b"y", "short": b"", "none": b""}
    contents |= {"e": middle + b"e", "f": middle + b"f", "alone": b"alone", "first": b"x" + middle[1:]}
    names = [str(tmp_path / name) for name in contents]
    for name, content in zip(names, contents.values()):
        with open(name, "wb") as stream:
            stream.write(content)
    read: list[str] = []
    monkeypatch.setattr(folders, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    found = copies_of([*names, str(tmp_path / "not there"), "flac -c -d x.flac |"])
    below = {os.path.basename(path): os.path.basename(other) for path, other in found.items()}
    assert below == {"c": "a", "first": "b", "none": "short"}
    assert not any(os.path.basename(path) == "alone" for path in read)
    real = RealPaths()
    real.take_for(found)
    assert real.of(names[2]) == real.of(names[0]) != real.of(names[1])

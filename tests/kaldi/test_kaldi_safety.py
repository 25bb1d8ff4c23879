"""Nothing found in a table runs, and damage is named by file, key and byte without costing memory."""

import gzip
import os
import pickle
import struct
import tracemalloc

import kaldiio
import numpy as np
import pytest
from test_kaldi_io import RNG, TABLE, assert_same, in_tmp, write  # noqa: F401 (in_tmp is a fixture)

from pyasp.core.errors import InputError
from pyasp.core.records import describe, write_made
from pyasp.kaldi import ScpReader, load, read_ark, read_scp, save, serialise

# nothing runs


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize(
    "name, script, tool, stage",
    [
        ("final.ubm", "final.ubm", "train_ubm", "ubm"),
        ("final.ie", "final.ie", "train_ivector", "extractor"),
        ("embedding.1.ark", "embedding.1.scp", "extract_ivector", "embeddings"),
        ("vad.1.ark", "vad.1.scp", "copy_vad", "augment"),
        ("plda", "plda", "train_backend", "scores"),
        ("scores", "scores", "score", "scores"),
    ],
)
def test_a_damaged_file_of_the_recipe_is_to_be_deleted(tmp_path, name, script, tool, stage):
    """A stage that finds it there takes it for complete; files of others are to be made again."""
    damaged = tmp_path / name
    save(damaged, np.ones((4, 5), np.float32))
    damaged.write_bytes(damaged.read_bytes()[:-8])
    with pytest.raises(InputError, match="Make the file again") as caught:
        load(damaged)
    assert caught.value.rerun is None
    (tmp_path / script).touch()
    write_made(tmp_path / script, describe(tool, {}, []))
    with pytest.raises(InputError, match=f"Delete {tmp_path / script}: .* Then run stage {stage} again") as caught:
        load(damaged)
    assert caught.value.rerun == (stage, False)


def test_the_bomb_goes_off_in_a_naive_reader(tmp_path):
    (tmp_path / "x.ark").write_bytes(b"k PKL" + pickle.dumps(Bomb(tmp_path / "ran")))
    kaldiio.load_mat(f"{tmp_path / 'x.ark'}:2")
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("flag", [b"PKL", b"NPY", b"AUDIO"])
def test_pickles_arrays_and_audio_are_refused(in_tmp, flag):
    data = b"k " + flag + pickle.dumps(Bomb(in_tmp / "ran"))
    (in_tmp / "x.ark").write_bytes(data)
    (in_tmp / "x.ark.gz").write_bytes(gzip.compress(data))
    (in_tmp / "x.scp").write_text("k x.ark:2\n")
    reader = ScpReader("x.scp")
    attempts = [
        lambda: list(read_ark("x.ark")),
        lambda: list(read_ark("ark:x.ark.gz")),
        lambda: load("x.ark:2"),
        lambda: list(read_ark("scp:x.scp")),
        lambda: reader["k"],
        lambda: reader.rows("k", 0, 1),
        lambda: reader.shape("k"),
    ]
    for attempt in attempts:
        with pytest.raises(InputError, match=flag.decode()):
            attempt()
    assert not (in_tmp / "ran").exists()


@pytest.mark.parametrize("value", ["touch ran; cat x.ark |", "| touch ran", "touch ran |[0:1]", "touch ran|"])
def test_commands_are_refused_and_not_run(in_tmp, value):
    write("x.ark")
    (in_tmp / "x.scp").write_text(f"a x.ark:4\nk {value}\n")
    attempts = [
        lambda: read_scp("x.scp"),
        lambda: ScpReader("x.scp"),
        lambda: list(read_ark("scp:x.scp")),
        lambda: load(value),
        lambda: list(read_ark(f"ark:{value}")),
        lambda: list(read_ark(value)),
    ]
    for attempt in attempts:
        with pytest.raises(InputError):
            attempt()
    if not value.startswith("|"):
        with pytest.raises(InputError, match=r"x\.scp: line 2: found the command .*--allow-commands"):
            read_scp("x.scp")
    for target in ("| touch ran", "touch ran |"):
        with pytest.raises(InputError):
            save(target, np.zeros(3))
        with pytest.raises(InputError):
            write(target)
    assert not (in_tmp / "ran").exists()


def test_admitted_commands_run_and_their_failure_is_told(in_tmp):
    write("x.ark")
    (in_tmp / "x.scp").write_text("k tail -c +5 x.ark | head -c 99 |\nr tail -c +5 x.ark |[1:2]\nbad false |\n")
    reader = ScpReader("x.scp", allow_commands=True)
    np.testing.assert_array_equal(reader["k"], TABLE["a-1"])
    np.testing.assert_array_equal(reader.rows("k", 2, 4), TABLE["a-1"][2:4])
    np.testing.assert_array_equal(reader["r"], TABLE["a-1"][1:3])
    with pytest.raises(InputError, match=r"false \|: found exit code 1"):
        reader["bad"]
    assert_same(dict(read_ark("ark:cat x.ark |", allow_commands=True)), TABLE)
    with pytest.raises(InputError, match="exit code 3"):
        list(read_ark("ark:cat x.ark; exit 3 |", allow_commands=True))


# damage


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text, method", [(True, 0), (False, 0), (False, 2), (False, 3)])
def test_every_truncation_is_told(in_tmp, packed, text, method):
    """Whatever byte a file is cut at: an InputError naming file and key, or the entries before the cut."""
    table = {"one": TABLE["a-1"], "two": TABLE["b_2"].astype(np.float32)}
    write("x.ark", table, text=text, compression_method=method)
    whole, expected = (in_tmp / "x.ark").read_bytes(), dict(read_ark("x.ark"))
    ends = {0: [], len(whole): ["one", "two"], whole.index(b"two"): ["one"]}
    if text:  # the line break after a text object may be missing
        ends |= {len(whole) - 1: ["one", "two"], whole.index(b"two") - 1: ["one"]}
    for cut in range(len(whole) + 1):
        (in_tmp / "cut").write_bytes(gzip.compress(whole[:cut]) if packed else whole[:cut])
        if cut in ends:
            assert_same(dict(read_ark("ark:cut")), {key: expected[key] for key in ends[cut]})
            continue
        with pytest.raises(InputError, match=r"^cut: (key (one|two), )?byte \d+: found"):
            list(read_ark("ark:cut"))


def test_a_broken_gzip_is_told(in_tmp):
    data = gzip.compress(serialise(RNG.normal(size=(50, 50))))
    for broken in (data[: len(data) // 2], data[:40] + b"\xff\xff\xff" + data[43:]):
        (in_tmp / "x.mat").write_bytes(broken)
        with pytest.raises(InputError, match="x.mat"):
            load("x.mat")


LIES = {
    "rows": b"k \0BFM \4\xff\xff\xff\x7f\4\x10\0\0\0",
    "both": b"k \0BDM \4\xff\xff\xff\x7f\4\xff\xff\xff\x7f",
    "vector": b"k \0BFV \4\xff\xff\xff\x7f",
    "negative": b"k \0BFM \4\xff\xff\xff\xff\4\x10\0\0\0",
    "minus both": b"k \0BFM \4\xff\xff\xff\xff\4\xff\xff\xff\xff",
    "compressed": b"k \0BCM " + struct.pack("<ffii", 0, 1, 2**31 - 1, 2**31 - 1),
    "compressed negative": b"k \0BCM2 " + struct.pack("<ffii", 0, 1, -4, -4),
    "compressed nan": b"k \0BCM3 " + struct.pack("<ffii", np.nan, 1, 1, 1),
    "size byte": b"k \0BFV \5\1\0\0\0",
    "unknown": b"k \0BXM \4\1\0\0\0",
    "no token": b"k \0B" + b"x" * 500,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("packed", [False, True])
def test_lying_headers_cost_nothing(in_tmp, lie, packed):
    data = LIES[lie] + b"\0" * 100
    (in_tmp / "x.ark").write_bytes(gzip.compress(data) if packed else data)
    (in_tmp / "x.scp").write_text("k x.ark:2\n")
    reader = ScpReader("x.scp")
    tracemalloc.start()
    for attempt in (lambda: list(read_ark("x.ark")), lambda: reader["k"], lambda: reader.rows("k", 0, 1)):
        with pytest.raises(InputError, match=r"x\.ark: key k, byte \d+: found"):
            attempt()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.parametrize(
    "content, message",
    [
        (b"k  [\n 1 2\n 3 ]\n", "rows of 1 and 2 numbers"),
        (b"k  [ 1 x ]\n", "found 'x'; expected a number"),
        (b"k  1 2 ]\n", r"expected \["),
        (b"k  [ 1 2 \n", r"expected \] after"),
        (b"justakey\n", "no key"),
    ],
)
def test_broken_text(in_tmp, content, message):
    (in_tmp / "x.ark").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_ark("x.ark"))

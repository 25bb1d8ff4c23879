"""Kaldi's own files: read, compared, and written again byte for byte (binary and text), in every format of the set."""

import gzip
import io
import re

import golden_cases
import kaldiio
import numpy as np
import pytest
from golden_cases import MANIFEST, ROOT, cases, compare, compare_tables, path, table

from pyasp.inspect.kind import kind_of
from pyasp.inspect.show import as_text, describe
from pyasp.kaldi import (
    ArkWriter,
    ScpReader,
    compress,
    load,
    read_ark,
    read_gselect,
    read_int_vectors,
    read_posteriors,
    read_scalars,
    save,
    write_gselect,
    write_int_vectors,
    write_posteriors,
    write_scalars,
)
from pyasp.kaldi.items import copy_model, read_items

FILES = sorted(
    {name for case in MANIFEST["cases"] for name in case["outputs"].values() if isinstance(name, str)}
    | {name for group in MANIFEST["aux"] for name in group["files"]}
)
KINDS: dict[str, list[str]] = {}
for _name in FILES:
    if not _name.startswith("audio/"):
        KINDS.setdefault(kind_of(path(_name)), []).append(_name)
NUMBERS = {"posteriors": (read_posteriors, write_posteriors), "gselect": (read_gselect, write_gselect)}
SCALAR_STAGES = {"mfcc-lengths", "diag-ubm-like", "full-ubm-like", "cluster"}  # `key number` in text


def raw(name):
    """Bytes of a file, unpacked."""
    data = path(name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def is_binary(name):
    return b"\0B" in raw(name)[:10000]


def is_compressed(name):
    return re.match(rb"[^ ]+ \0BCM", raw(name)) is not None


@pytest.fixture
def in_golden(monkeypatch):
    """Paths inside the script files are relative to the golden folder."""
    monkeypatch.chdir(ROOT)


def test_golden_set_covers_the_formats():
    assert {"archive", "array", "model", "scp", "posteriors", "gselect"} <= set(KINDS)


@pytest.mark.parametrize("name", [name for names in KINDS.values() for name in names])
def test_golden_every_file_can_be_shown(in_golden, name):
    lines = list(describe(name))
    assert lines and name in lines[0]


@pytest.mark.parametrize("name", KINDS["archive"])
def test_golden_archives_are_copied_byte_for_byte(tmp_path, name):
    if is_compressed(name):  # the bytes of compressed matrices are compared in compress-encode
        with ArkWriter(tmp_path / "copy", text=True) as writer:
            for key, array in read_ark(path(name)):
                writer.write(key, array)
        assert (tmp_path / "copy").read_text() == "".join(as_text(path(name)))
        return
    with ArkWriter(tmp_path / "copy", text=not is_binary(name)) as writer:
        for key, array in read_ark(f"ark:{path(name)}"):
            writer.write(key, array)
    assert (tmp_path / "copy").read_bytes() == raw(name)


@pytest.mark.parametrize("name", [name for name in KINDS["archive"] if is_binary(name)])
def test_golden_archives_agree_with_kaldiio(name):
    ours, theirs = dict(read_ark(path(name))), dict(kaldiio.load_ark(io.BytesIO(raw(name))))
    assert list(ours) == list(theirs)
    for key, array in ours.items():
        scale = np.ptp(array) if array.size else 0.0
        np.testing.assert_allclose(array, theirs[key], rtol=0, atol=1e-6 * scale if is_compressed(name) else 0)


@pytest.mark.parametrize("name", KINDS["array"])
def test_golden_vectors_and_matrices_are_copied_byte_for_byte(tmp_path, name):
    save(tmp_path / "copy", load(path(name)), binary=is_binary(name))
    assert (tmp_path / "copy").read_bytes() == raw(name)


@pytest.mark.parametrize("name", KINDS["model"])
def test_golden_models_are_copied_byte_for_byte(tmp_path, name):
    copy_model(path(name), tmp_path / "copy", is_binary(name))
    assert (tmp_path / "copy").read_bytes() == raw(name)


@pytest.mark.parametrize("kind, name", [(kind, name) for kind in NUMBERS for name in KINDS[kind]])
def test_golden_posteriors_and_selections_are_copied_byte_for_byte(tmp_path, kind, name):
    read, write = NUMBERS[kind]
    write(tmp_path / "copy", read(path(name)), is_binary(name))
    assert (tmp_path / "copy").read_bytes() == raw(name)


@pytest.mark.parametrize("case", cases("posteriors", "gselect"))
def test_golden_binary_tables_print_as_kaldi_prints_them(case, tmp_path):
    role = {"posteriors": "posteriors", "gselect": "gselect"}[case["stage"]]
    read, write = NUMBERS[role]
    name = case["outputs"][role]
    write(tmp_path / "text", read(path(name)), binary=False)
    write(tmp_path / "binary", read(tmp_path / "text"), binary=True)
    write(tmp_path / "again", read(tmp_path / "binary"), binary=False)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "text").read_bytes()
    if "text" in case["outputs"]:
        assert (tmp_path / "text").read_bytes() == raw(case["outputs"]["text"])


@pytest.mark.parametrize(
    "stage, name",
    [
        (case["stage"], name)
        for case in MANIFEST["cases"]
        if case["stage"] in SCALAR_STAGES
        for name in case["outputs"].values()
        if name in KINDS.get("table", [])
    ],
)
def test_golden_tables_of_numbers_are_copied_byte_for_byte(stage, name, tmp_path):
    read, write = (read_int_vectors, write_int_vectors) if stage == "cluster" else (read_scalars, write_scalars)
    write(tmp_path / "copy", read(path(name)), binary=False)
    assert (tmp_path / "copy").read_bytes() == raw(name)
    write(tmp_path / "binary", read(path(name)), binary=True)
    write(tmp_path / "copy", read(tmp_path / "binary"), binary=False)
    assert (tmp_path / "copy").read_bytes() == raw(name)


def plain_items(name):
    """Every stored number of a model, vector or matrix, as named arrays in order."""
    if name in KINDS["array"]:
        return [("array", load(path(name)))]
    return [(item.name, np.asarray(item.value)) for item in read_items(path(name))[1] if item.kind != "token"]


@pytest.mark.parametrize("case", cases("model-formats"))
def test_golden_model_formats(case, tmp_path):
    binary = case["outputs"].get("binary", case["inputs"]["model"])
    text = case["outputs"]["text"]
    pairs = list(zip(plain_items(binary), plain_items(text), strict=True))
    for (name, stored), (other, printed) in pairs:
        assert name == other
        compare(case, printed, stored, what=name)
    assert "".join(as_text(path(binary))) == raw(text).decode()
    if binary in KINDS["model"]:  # text has no types, yet the binary file made from it has the same layout
        copy_model(path(text), tmp_path / "binary", binary=True)
        assert len((tmp_path / "binary").read_bytes()) == len(raw(binary))
        copy_model(tmp_path / "binary", tmp_path / "text", binary=False)
        assert (tmp_path / "text").read_bytes() == raw(text)


@pytest.mark.parametrize("case", cases("ranges"))
def test_golden_ranges(case, in_golden):
    reader, reference = ScpReader(case["inputs"]["feats"]), table(case["outputs"]["feats"])
    compare_tables(case, dict(reader), reference)
    compare_tables(case, {key: reader.rows(key, 0, len(array)) for key, array in reference.items()}, reference)
    for key, array in reference.items():
        assert reader.shape(key) == array.shape
        np.testing.assert_array_equal(
            reader.rows(key, len(array) // 3, len(array) // 2), array[len(array) // 3 : len(array) // 2]
        )


@pytest.mark.parametrize("case", cases("compress-encode"))
def test_golden_compress_encode(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scp, ark = case["outputs"]["feats"], case["outputs"]["archive"]
    with ArkWriter(ark, scp, compression_method=case["options"]["compression-method"]) as writer:
        for key, matrix in read_ark(path(case["inputs"]["feats"])):
            writer.write(key, matrix)
    assert (tmp_path / scp).read_bytes() == raw(scp)
    golden_cases.limits_of(case)
    compare_codes(case, (tmp_path / ark).read_bytes(), raw(ark), ScpReader(tmp_path / scp).entries)


def compare_codes(case, result, reference, entries):
    """Everything but the codes is equal; the codes differ by as much, in as many bytes, as the case allows."""
    limits, different = case["tolerance"], 0
    assert len(result) == len(reference)
    for value in entries.values():
        start = int(value.rsplit(":", 1)[1])
        head = reference.index(b" ", start) + 1 + compress.HEADER.size
        size = 2 if reference[start + 2 : start + 6] == b"CM2 " else 1
        header = compress.Compressed(
            reference[start + 2 :].split(b" ", 1)[0].decode(),
            *compress.HEADER.unpack(reference[head - compress.HEADER.size : head]),
        )
        assert result[start:head] == reference[start:head]
        end, middle = head + header.body_bytes, head + header.percentile_bytes
        for part, dtype in ((slice(head, middle), "<u2"), (slice(middle, end), f"<u{size}")):
            codes = [np.frombuffer(data[part], dtype).astype(int) for data in (result, reference)]
            difference = np.abs(codes[0] - codes[1])
            assert difference.max(initial=0) <= limits["max_code_diff"]
            different += int((difference > 0).sum())
    assert different <= limits.get("max_code_fraction", 0) * len(reference)
    assert result == reference or not limits["exact"]


@pytest.mark.parametrize("case", cases("compress-decode"))
def test_golden_compress_decode(case, in_golden):
    name = case["inputs"]["feats"]
    reader, reference = ScpReader(name), table(case["outputs"]["feats"])
    compare_tables(case, dict(reader), reference)
    compare_tables(case, {key: reader.rows(key, 0, len(reader[key])) for key in reader}, reference)


@pytest.mark.parametrize(
    "case", [case for case in MANIFEST["cases"] if "archive" in case["outputs"]], ids=lambda case: case["id"]
)
def test_golden_script_files_point_into_their_archives(case, in_golden):
    scp = next(name for name in case["outputs"].values() if name.endswith(".scp"))
    reader, archive = ScpReader(scp), dict(read_ark(case["outputs"]["archive"]))
    assert list(reader) == list(archive)
    for key, array in archive.items():
        np.testing.assert_array_equal(reader[key], array)
        assert reader.shape(key) == array.shape
        half = len(array) // 2
        np.testing.assert_array_equal(reader.rows(key, half, len(array)), array[half:])

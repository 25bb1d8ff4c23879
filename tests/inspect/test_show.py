"""show: every kind of file in words, entries by key, Kaldi's text form; nothing runs, nothing large is read unasked."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pyasp.bin.show import main
from pyasp.core.errors import InputError
from pyasp.inspect.show import array_of, as_text, describe
from pyasp.kaldi import ArkWriter, save, write_gselect, write_int_vectors, write_posteriors, write_scalars

ROOT = Path(__file__).resolve().parents[2]
MATRIX = np.float32([[1, 2, np.nan], [4, -5, 6]])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ArkWriter("feats.ark", "feats.scp") as writer:
        writer.write("u1", MATRIX)
        writer.write("u2", np.zeros((40, 3), np.float32))
    return tmp_path


def shown(*arguments):
    return "\n".join(describe(*arguments))


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pyasp.bin.show", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_archive(folder):
    text = shown("feats.ark")
    assert "u1  float32 matrix  2 x 3  -5 .. 6, mean 1.6, 1 NaN and 0 infinite" in text
    assert "2 entries (2 FM with 3 columns), 42 frames (rows of matrices) (0.00 h at 10 ms), 0 elements" in text
    assert "0 elements of vectors, 1 NaN" in text
    assert "[1] 4 -5 6" in shown("feats.ark", "u1") and "u2" not in shown("feats.ark", "u1")
    with pytest.raises(InputError, match="no entry 'u3'"):
        shown("feats.ark", "u3")
    for method, name in ((2, "CM, 8 bit by column"), (3, "CM2, 16 bit"), (5, "CM3, 8 bit")):
        with ArkWriter("c.ark", compression_method=method) as writer:
            writer.write("u2", np.zeros((40, 3), np.float32))
        assert f"u2  compressed matrix ({name})  40 x 3" in shown("c.ark")


def test_script_file_reads_data_only_for_a_key(folder):
    os.remove("feats.ark")
    text = shown("feats.scp")
    assert "script file, 2 entries, data not read" in text and "feats.ark (2 entries)" in text
    with pytest.raises(InputError, match="feats.ark"):
        shown("feats.scp", "u1")
    with ArkWriter("feats.ark") as writer:
        writer.write("u1", MATRIX)
    assert "float32 2 x 3" in shown("feats.scp", "u1")


def test_commands_run_only_when_admitted_and_asked_for(folder):
    Path("wav.scp").write_text("u1 touch ran; tail -c +4 feats.ark |\n")
    assert "1 entries are commands; they were not run" in shown("wav.scp")
    for arguments in (("wav.scp", "u1"), ("wav.scp", "u1", "--text", "true"), ("wav.scp", "--text", "true")):
        result = run(*arguments)
        assert result.returncode == 1 and "--allow-commands" in result.stderr
    assert not Path("ran").exists()
    assert "2 x 3" in run("--allow-commands=true", "wav.scp", "u1").stdout and Path("ran").exists()


def test_text_form(folder):
    expected = "u1  [\n  1 2 nan \n  4 -5 6 ]\n"
    for file in ("feats.ark", "feats.scp"):
        assert "".join(as_text(file)).startswith(expected) and "".join(as_text(file, "u1")) == expected
    save("x.mat", MATRIX)
    assert "".join(as_text("x.mat")) == expected[3:]
    assert "float32 matrix 2 x 3" in shown("x.mat")
    result = run("--text", "true", "feats.ark", "u1")
    assert result.stdout == expected and result.returncode == 0


def test_model(folder):
    Path("final.dubm").write_text(
        "<DiagGMM> \n<GCONSTS>  [ -1 -2 ]\n<WEIGHTS>  [ 0.25 0.75 ]\n"
        "<MEANS_INVVARS>  [\n  1 2 3 \n  4 5 6 ]\n"
        "<INV_VARS>  [\n  1 1 1 \n  2 2 2 ]\n</DiagGMM> \n"
    )
    text = shown("final.dubm")
    assert "diagonal-covariance GMM of 2 Gaussians in 3 dimensions, text" in text
    assert "<WEIGHTS> float32 2  0.25 .. 0.75, mean 0.5" in text
    assert "[1] 4 5 6" in shown("final.dubm", "MEANS_INVVARS")
    assert "".join(as_text("final.dubm")) == Path("final.dubm").read_text()
    assert "".join(as_text("final.dubm", "<WEIGHTS>")) == "<WEIGHTS>  [ 0.25 0.75 ]\n"
    with pytest.raises(InputError, match="no entry 'M'"):
        shown("final.dubm", "M")


@pytest.mark.parametrize("binary", [True, False])
def test_tables_of_numbers(folder, binary):
    frames = [(np.int32([3, 1]), np.float32([0.75, 0.25])), (np.int32([7]), np.float32([1]))]
    write_posteriors("post", [("u1", frames), ("u2", frames)], binary)
    write_gselect("gsel", [("u1", [np.int32([3, 1]), np.int32([7, 2])])], binary)
    assert "u1  2 frames, 3 pairs, Gaussians 1 .. 7" in shown("post") and "2 entries" in shown("post")
    assert "u1  2 frames, Gaussians a frame 2 .. 2" in shown("gsel")
    assert "".join(as_text("post", "u1")) == "u1 [ 3 0.75 1 0.25 ] [ 7 1 ] \n"
    assert "".join(as_text("gsel")) == "u1 3 1 ; 7 2 ; \n"
    with pytest.raises(InputError, match="no entry"):
        shown("post", "u9")
    write_int_vectors("ali", [("u1", np.int32([4, 5, 6]))], True)
    write_scalars("num", [("u1", 2.5)], True)
    assert "u1  3 integers  4 .. 6" in shown("ali") and "u1  2.5" in shown("num")


def test_text_tables(folder):
    Path("list").write_text("m1 t1 target\nm1 t2 nontarget\nm2 t1 nontarget\n")
    assert "trial list, 3 trials, 1 target, 2 nontarget, 2 models, 2 test recordings" in shown("list")
    Path("scores").write_text("m1 t1 1.5\nm1 t2 nan\nm2 t1 -3\n")
    assert "scores, 3 trials, -3 .. 1.5, mean -0.75, 1 NaN" in shown("scores")
    assert shown("scores", "m2") == "m2 t1 -3"
    Path("utt2dur").write_text("b 2\na 1.5\n")
    assert "(seconds), 2 lines, 2 fields" in shown("utt2dur") and "NOT sorted" in shown("utt2dur")
    assert "sum 3.5" in shown("utt2dur")
    Path("x.tsv").write_text("utt\tsex\nu1\tm\nu2\tf\nu3\tf\n")
    assert "sex: 2 different values: f (2), m (1)" in shown("x.tsv")
    Path("x.tsv").write_text("utt\tsex\nu1\n")
    with pytest.raises(InputError, match="x.tsv: line 2: found 'u1'"):
        shown("x.tsv")
    Path("list").write_text("m1 t1 target\nm1 t2 maybe\n")
    with pytest.raises(InputError, match="list: line 2: found 'm1 t2 maybe'"):
        shown("list")
    Path("mfcc.conf").write_text("--num-ceps=20  # why\n")
    assert "--num-ceps=20" in shown("mfcc.conf")


def test_json(folder):
    Path("results.json").write_text(json.dumps({"systems": {"a.b": {"eer": 3.5}}, "list": [1, {"x": None}]}))
    assert "systems  dict of 1 keys: a.b" in shown("results.json")
    assert shown("results.json", "systems.a.b.eer") == "3.5" and shown("results.json", "list.1.x") == "null"
    with pytest.raises(InputError, match="no entry"):
        shown("results.json", "systems.c")
    with gzip.open("cuts.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": f"c{i}", "start": i, "recording": {}}) + "\n" for i in range(3))
    assert "start in 3" in shown("cuts.jsonl.gz") and "recording in 3" in shown("cuts.jsonl.gz")
    assert "JSON lines, 3 objects" in shown("cuts.jsonl.gz") and '"start": 2' in shown("cuts.jsonl.gz", "c2")
    Path("bad.json").write_text('{"a": ')
    with pytest.raises(InputError, match="broken JSON"):
        shown("bad.json")


def test_data_directory(folder):
    Path("utt2spk").write_text("u1 s1\nu2 s1\n")
    text = shown(".")
    assert ".: data directory" in text and "utt2spk: speaker of each utterance, 2 lines" in text
    assert shown(".", "u2").splitlines() == ["feats.scp: u2 feats.ark:45", "utt2spk: u2 s1"]
    with pytest.raises(InputError, match="no entry"):
        shown(".", "u3")


def test_numpy_and_audio(folder):
    np.save("s.f32.npy", np.float32([1, 3]))
    assert "NumPy array, float32 2  1 .. 3, mean 2" in shown("s.f32.npy")
    np.savez("s.npz", a=np.float32([1, 3]), names=np.array(["u"]))
    assert "NumPy arrays, 2 entries" in shown("s.npz") and "1 .. 3, mean 2" in shown("s.npz", "a")
    Path("t.npz").write_bytes(Path("s.npz").read_bytes()[:90])
    for arguments in (("t.npz",), ("s.npz", "b")):
        with pytest.raises(InputError, match=arguments[0]):
            shown(*arguments)
    np.save("o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="o.npy"):
        shown("o.npy")
    import soundfile

    soundfile.write("a.wav", np.zeros(800), 8000, "PCM_16")
    assert "1 channels, 8000 Hz, 800 samples, 0.100 s" in shown("a.wav")


class Bomb:
    """Unpickling it makes a file."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def test_checkpoint_and_nothing_is_unpickled(folder):
    torch = pytest.importorskip("torch")
    torch.save({"model": {"w": torch.ones(2, 3), "h": torch.ones(2, dtype=torch.bfloat16)}, "epoch": 4}, "final.pt")
    text = shown("final.pt")
    assert "torch checkpoint, 3 entries, 8 numbers in arrays" in text
    assert "model.w  float32  2 x 3  1 .. 1, mean 1" in text and "epoch  4" in text
    assert "model.w" in shown("final.pt", "model") and "epoch" not in shown("final.pt", "model")
    with pytest.raises(InputError, match="no entry"):
        shown("final.pt", "optimiser")
    torch.save({"x": Bomb()}, "bomb.pt")
    with zipfile.ZipFile("zip.pt", "w") as archive:
        archive.writestr("zip/data.pkl", pickle.dumps(Bomb()))
    Path("raw.pt").write_bytes(pickle.dumps({"x": Bomb()}))
    Path("x.ark").write_bytes(b"k PKL" + pickle.dumps(Bomb()))
    for file in ("bomb.pt", "zip.pt", "raw.pt", "x.ark"):
        with pytest.raises(InputError, match=file):
            shown(file)
    assert not Path("ran").exists()


def test_torch_is_imported_for_checkpoints_only(folder):
    code = "import sys; from pyasp.bin.show import main; main(['feats.ark']); print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.stdout.endswith("False\n"), result.stderr


@pytest.mark.parametrize("text", ["true", "false"])
def test_a_closed_pipe_is_no_error(folder, text):
    Path("big.scp").write_text("".join(f"utt-{i:07d} feats.ark:3\n" for i in range(20000)))
    command = f"{sys.executable} -m pyasp.bin.show --text {text} big.scp | head -n 2; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.stderr == "" and len(result.stdout.splitlines()) == 3 and result.stdout.endswith("\n0\n")


def test_errors_are_told(folder, capsys):
    Path("empty").write_bytes(b"")
    Path("junk").write_bytes(b"\x01\x02\0\xff" * 20)
    for arguments, message in (
        (["gone"], "gone: found it cannot be opened"),
        (["empty"], "an empty file"),
        (["junk"], "unknown binary data"),
        (["feats.ark", "u9"], "no entry 'u9'"),
    ):
        assert main(arguments) == 1 and message in capsys.readouterr().err
    save("x.vec", np.zeros(3))
    assert main(["x.vec", "k"]) == 1 and "one object" in capsys.readouterr().err
    np.save("s.npy", np.zeros(3))
    assert main(["--text=true", "s.npy"]) == 1 and "text form" in capsys.readouterr().err


def as_json(*arguments):
    done = run("--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_json_has_the_facts_of_file_and_entries(folder):
    found = as_json("feats.ark")
    assert (found["kind"], found["count"], found["frames"], found["bad"]) == ("archive", 2, 42, 1)
    first, second = found["entries"]
    assert first["key"] == "u1" and first["shape"] == [2, 3] and first["nan"] == 1 and first["max"] == 6
    assert as_json("feats.ark", "u1")["values"] == [[1, 2, None], [4, -5, 6]]
    assert as_json("feats.scp")["entries"][1]["location"].startswith("feats.ark:")
    Path("list").write_text("m1 t1 target\nm1 t2 nontarget\n")
    assert as_json("list")["target"] == 1
    Path("mfcc.conf").write_text("--num-ceps=20  # why\n")
    assert as_json("mfcc.conf")["entries"] == [{"key": "num-ceps", "value": "20"}]


@pytest.mark.parametrize("file", ["feats.ark", "feats.scp"])
def test_npy_and_frames(folder, file):
    def npy(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "pyasp.bin.show", "--npy", *arguments],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        return np.load(io.BytesIO(done.stdout))

    np.testing.assert_array_equal(npy(file, "u1"), MATRIX)
    np.testing.assert_array_equal(npy("--frames", "1:2", file, "u1"), MATRIX[1:])
    assert run("--frames=0:3", file, "u2").stdout.splitlines()[1:4] == [f"[{i}]  0  0  0" for i in range(3)]


def test_vectors_come_as_rows_of_one_npy(folder):
    with ArkWriter("e.ark", "e.scp") as writer:
        for key in "ab":
            writer.write(key, np.float32([1, 2, ord(key)]))
    np.testing.assert_array_equal(array_of("e.scp"), [[1, 2, 97], [1, 2, 98]])
    with pytest.raises(InputError, match="Give the KEY"):
        array_of("feats.ark")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--frames", "5:2", "feats.ark", "u1"], "FIRST:END within 0:2"),
        (["--frames", "0:3", "feats.ark", "u1"], "0:2"),
        (["--frames", "x", "feats.ark", "u1"], "0:2"),
        (["--text", "--json", "feats.ark"], "several forms"),
        (["--npy", "feats.ark", "u9"], "no entry 'u9'"),
        (["--npy", "names"], "one that holds arrays"),
    ],
)
def test_bad_slices_and_forms(folder, capsys, arguments, message):
    Path("names").write_text("a b\n")
    assert main(arguments) == 1 and message in capsys.readouterr().err


def test_directories_are_known_by_what_lies_in_them(folder):
    Path("utt2spk").write_text("u1 s1\nu2 s2\n")
    Path("utt2dur").write_text("u1 1800\nu2 1800\n")
    assert "2 recordings of 2 speakers, 1.00 h" in shown(".")
    entry = {"eer": 3.5, "min_dcf": {"0.01": 0.5}, "n_target": 10, "n_nontarget": 90}
    for name, file, content in (
        ("e", "results.json", {"systems": {"ivector": {"trials": {"list": entry}}}}),
        ("s", "metrics.json", {"trials": {"list": entry}}),
        ("b", "bundle.json", {"kind": "network", "rate": 8000, "results": {"list": entry}}),
    ):
        Path(name).mkdir()
        (Path(name) / file).write_text(json.dumps(content))
        assert "3.50" in shown(name) and "0.500" in shown(name)
    assert "e: experiment" in shown("e") and "s: system" in shown("s") and "b: bundle" in shown("b")

"""Tables, ids and lists as people write them: read as they are meant, or one clear error; nothing is run or lost."""

import codecs
import gzip
import json

import pytest
import recipe
from prep_trees import check_data_dir, make_tree, put, refused, tables, wav

from local import prep_folder
from pyasp.audio.cut_files import read_cuts, write_cuts
from pyasp.bin import check, make_mfcc, score, train_ubm, vad
from pyasp.core.errors import InputError
from pyasp.core.text import open_text, read_lines
from pyasp.data.datadir import DataDir, read_model2utts, read_reasons, read_rows, read_table, write_table
from pyasp.data.trials import read_categories, read_trials

TABLES = ("train.tsv", "test.tsv", "enroll.tsv", "trials")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("own"))


@pytest.fixture
def own(tree, tmp_path):
    """Tables over the tree: spk0 to spk2 train, spk3 to spk5 are tried."""

    def row(speaker, session, take, *more):
        return "\t".join((f"{speaker}-{session}-{take}", speaker, f"{speaker}/{session}/{take}.wav", session, *more))

    directory = tmp_path / "tables"
    head = "utt\tspeaker\tpath\tsession"
    put(directory / "train.tsv", head, *(row(f"spk{k}", "s0", take) for k in range(3) for take in range(2)))
    put(directory / "test.tsv", head, *(row(f"spk{k}", "s1", take) for k in (3, 4, 5) for take in range(2)))
    put(directory / "enroll.tsv", f"{head}\tmodel", *(row(f"spk{k}", "s0", 0, f"m{k}") for k in (3, 4, 5)))
    put(directory / "trials", "m3 spk3-s1-0 target", "m3 spk4-s1-1 nontarget", "m4 spk4-s1-0 target")
    return directory


def prepare(own, tree, data, *options):
    return prep_folder.main(["--tables", str(own), "--root", str(tree), "--data", str(data), *map(str, options)])


def everything(data):
    return {name: tables(data / name) for name in ("train", "enroll", "test", "trials")}


# ---------------------------------------------------------------- how tables are written


def _crlf(content):
    return content.replace(b"\n", b"\r\n")


WRITTEN = {
    "with a byte-order mark": lambda content: codecs.BOM_UTF8 + content,
    "with CRLF": _crlf,
    "with both": lambda content: codecs.BOM_UTF8 + _crlf(content),
    "without the last line's end": lambda content: content[:-1],
}


@pytest.mark.parametrize("how", WRITTEN)
def test_own_tables_give_the_same_data(own, tree, tmp_path, how):
    assert prepare(own, tree, tmp_path / "plain") == 0
    for name in TABLES:
        (own / name).write_bytes(WRITTEN[how]((own / name).read_bytes()))
    assert prepare(own, tree, tmp_path / "other") == 0
    assert everything(tmp_path / "other") == everything(tmp_path / "plain")


KALDI = {
    "with tabs": lambda content: content.replace(b" ", b"\t"),
    "with several blanks": lambda content: content.replace(b" ", b" \t  "),
    "unsorted": lambda content: b"".join(reversed(content.splitlines(keepends=True))),
    **WRITTEN,
}


@pytest.mark.parametrize("how", KALDI)
def test_kaldi_directories_give_the_same_data(own, tree, tmp_path, how):
    assert prepare(own, tree, tmp_path / "first") == 0
    for name in ("train", "test", "enroll"):
        (tmp_path / "first" / name / "cuts.jsonl.gz").unlink()  # Kaldi's files alone
    source = ["--kaldi-data", str(tmp_path / "first"), "--trials", str(tmp_path / "first/trials/trials")]
    assert prep_folder.main([*source, "--data", str(tmp_path / "plain")]) == 0
    for name in ("utt2spk", "wav.scp", "spk2gender", "model2utts"):
        for path in (tmp_path / "first").rglob(name):
            path.write_bytes(KALDI[how](path.read_bytes()))
    assert prep_folder.main([*source, "--data", str(tmp_path / "other")]) == 0
    assert everything(tmp_path / "other") == everything(tmp_path / "plain")


@pytest.mark.parametrize("how", WRITTEN)
def test_the_tools_own_readers_do_not_mind(tmp_path, how):
    files = {
        "trials": b"m t target\nm u nontarget\n",
        "model2utts": b"m a b\nn c\n",
        "x.tsv": b"sex\tphone\nm\tcell\nf\tland\n",
        "utt2info.tsv": b"utt\tsession\na\ts1\nb\ts2\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(WRITTEN[how](content))
    assert read_trials(tmp_path / "trials", ["m"], ["t", "u"]).target.tolist() == [True, False]
    assert read_model2utts(tmp_path / "model2utts") == DataDir(tmp_path).model2utts == {"m": ["a", "b"], "n": ["c"]}
    assert [names for names, _ in read_categories(tmp_path / "x.tsv", 2).values()] == [["f", "m"], ["cell", "land"]]
    assert DataDir(tmp_path).info == {"a": {"session": "s1"}, "b": {"session": "s2"}}


def test_a_line_separator_of_unicode_ends_no_line(tmp_path):
    (tmp_path / "utt2info.tsv").write_text("utt\troom\na\tone\u2028two\x85three\x0cfour\n", encoding="utf-8")
    assert DataDir(tmp_path).info == {"a": {"room": "one\u2028two\x85three\x0cfour"}}


@pytest.mark.parametrize(
    "table, message", [({"a b": "x"}, "'a b'"), ({"": "x"}, "''"), ({"a": "x\nb y"}, "x.nb y"), ({"a\tb": ""}, "a.tb")]
)
def test_what_would_not_come_back_is_not_written(tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        write_table(tmp_path / "table", table)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- ids

REFUSED = [
    "two words",
    "a/b",
    "../up",
    "..",
    ".",
    "a\\b",
    "$(touch ran) x",
    "a;b",
    "a&b",
    "a|b",
    "a<b",
    "a>b",
    "a'b",
    'a"b',
    "a\u00a0b",
    "a\u2028b",
    "a\x00b",
    "a\x7fb",
    "a\ufeffb",
]
TAKEN = [
    "-n",
    "--help",
    "$HOME",
    "`id`",
    "*",
    "?",
    "~",
    "#x",
    "(x)",
    "{a,b}",
    "!1",
    "Łukasz",
    "李雷",
    "é",
    "e\u0301",
    "a=b",
    "a:1",
    "[0:1]",
    "%s",
]


def rename(own, name):
    """spk0 of train.tsv gets another speaker and utterance name."""
    path = own / "train.tsv"
    path.write_text(
        path.read_text(encoding="utf-8").replace("spk0-", f"{name}-").replace("\tspk0\t", f"\t{name}\t"),
        encoding="utf-8",
    )


@pytest.mark.parametrize("name", REFUSED)
def test_ids_that_no_table_can_hold_are_refused(own, tree, tmp_path, capsys, name):
    rename(own, name)
    assert prepare(own, tree, tmp_path / "data") == 1
    refused(capsys, "id '" if "'" not in name else 'id "', "without spaces, slashes, quotes", "Rename")


@pytest.fixture(scope="module")
def odd(tree, tmp_path_factory):
    """All odd names as training speakers, through stages prepare to features."""
    root = tmp_path_factory.mktemp("odd")
    head = "utt\tspeaker\tpath"
    put(
        root / "train.tsv",
        head,
        *(f"{name}-1\t{name}\tspk0/s0/0.wav" for name in TAKEN[:1]),
        *(f"{name}-1\t{name}\t{wav(root / 'audio' / f'{k}.wav', k + 1)}" for k, name in enumerate(TAKEN[1:])),
    )
    put(root / "test.tsv", head, "spk3-1\tspk3\tspk3/s0/0.wav", "spk4-1\tspk4\tspk4/s0/0.wav")
    put(root / "enroll.tsv", f"{head}\tmodel", "spk3-2\tspk3\tspk3/s0/1.wav\t-m", "spk4-2\tspk4\tspk4/s0/1.wav\t$M")
    put(root / "trials", "-m spk3-1 target", "-m spk4-1 nontarget", "$M spk4-1 target")
    assert prepare(root, tree, root / "data") == 0 and check.main(["data", str(root / "data")]) == 0
    train = root / "data" / "train"
    (train / "mfcc").mkdir()
    assert make_mfcc.main(["--sample-frequency=16000", "--dither=0", str(train), str(train / "mfcc/x")]) == 0
    return DataDir(train)


@pytest.mark.parametrize("name", TAKEN)
def test_odd_ids_pass_through_as_they_are(odd, name):
    assert odd.utt2spk[f"{name}-1"] == name
    found = {utt: count for path in odd.path.glob("mfcc/x.*.utt2num_frames") for utt, count in read_table(path).items()}
    assert found[f"{name}-1"] == "8"


def test_odd_directories_are_sorted_and_whole(odd):
    check_data_dir(odd.path, len(TAKEN), len(TAKEN))
    assert not read_reasons(odd / "dropped.tsv") and not list(odd.path.parent.parent.rglob("ran"))


# ---------------------------------------------------------------- what contradicts itself


def _append(path, line):
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


CONTRADICTIONS = {
    "one recording of two speakers": (
        lambda d: _append(d / "train.tsv", "spk9-x\tspk9\tspk0/s0/0.wav\ts0"),
        ("spk0/s0/0.wav of the speakers spk0 and spk9", "one speaker a recording"),
    ),
    "a test recording in training, as another": (
        lambda d: _append(d / "train.tsv", "spk9-x\tspk9\tspk3/s1/0.wav\ts0"),
        ("spk9 and spk3",),
    ),
    "an id twice": (lambda d: _append(d / "train.tsv", "spk0-s0-0\tspk0\tspk0/s1/0.wav\ts1"), ("spk0-s0-0 twice",)),
    "not UTF-8": (
        lambda d: (d / "test.tsv").write_bytes((d / "test.tsv").read_bytes() + b"\xff\xfe"),
        ("not UTF-8", "test.tsv"),
    ),
    "empty": (lambda d: (d / "train.tsv").write_bytes(b""), ("train.tsv", "a column utt")),
    "trials not UTF-8": (lambda d: (d / "trials").write_bytes(b"m3 \xff target\n"), ("not UTF-8", "trials")),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_stop_the_preparation(own, tree, tmp_path, capsys, case):
    spoil, texts = CONTRADICTIONS[case]
    spoil(own)
    assert prepare(own, tree, tmp_path / "data") == 1
    refused(capsys, *texts)


@pytest.mark.parametrize(
    "names, text",
    [
        (("x/list", "y/list"), "two lists called list"),
        (("list.tsv",), "a list called list.tsv"),
        ((".list",), "a list called .list"),
        (("list.json",), "list.json"),
        (("a list",), "a list"),
    ],
)
def test_no_list_is_lost_by_its_name(own, tree, tmp_path, capsys, names, text):
    for name in names:
        put(tmp_path / name, *(own / "trials").read_text().splitlines())
    given = [word for name in names for word in ("--trials", tmp_path / name)]
    assert prepare(own, tree, tmp_path / "data", *given) == 1
    refused(capsys, text)


KALDI_FAULTS = {
    "utt2spk": [
        ("spk0-s0-0 spk0\n", "", None),
        ("spk0-s0-1 ", "spk0-s0-0 ", "a second time"),
        ("spk0-s0-0 spk0", "", "an empty line"),
    ],
    "wav.scp": [("spk0-s0-0 ", "other ", "no path in wav.scp")],
}


@pytest.mark.parametrize(
    "name, old, new, message", [(name, *case) for name, cases in KALDI_FAULTS.items() for case in cases]
)
def test_kaldi_tables_that_disagree(own, tree, tmp_path, capsys, name, old, new, message):
    assert prepare(own, tree, tmp_path / "first") == 0
    path = tmp_path / "first" / "train" / name
    path.write_text(path.read_text().replace(old, new))
    capsys.readouterr()
    code = prep_folder.main(
        [
            "--kaldi-data",
            str(tmp_path / "first"),
            "--trials",
            str(tmp_path / "first/trials/trials"),
            "--data",
            str(tmp_path / "data"),
        ]
    )
    assert code == (message is not None)
    if message:
        refused(capsys, message)


def test_segments_that_no_recording_has(own, tree, tmp_path, capsys):
    assert prepare(own, tree, tmp_path / "first") == 0
    train = tmp_path / "first" / "train"
    lines = [f"{utt} {utt} 0 0.05" for utt in DataDir(train).utt2spk]
    for wrong, message in (
        ("0.05 0.01", "start < end"),
        ("x 1", "start < end"),
        ("nan 1", "start < end"),
        ("0", "or no segment, of"),
    ):
        put(train / "segments", f"{lines[0].split()[0]} {lines[0].split()[0]} {wrong}", *lines[1:])
        capsys.readouterr()
        assert prep_folder.main(["--kaldi-data", str(tmp_path / "first"), "--data", str(tmp_path / "data")]) == 1
        refused(capsys, message)


# ---------------------------------------------------------------- nothing runs, nothing is written elsewhere

COMMAND = "touch {ran} |"


@pytest.fixture
def prepared(own, tree, tmp_path):
    assert prepare(own, tree, tmp_path / "data") == 0
    return tmp_path / "data"


def _table_of_commands(path, keys, ran):
    write_table(path, {key: COMMAND.format(ran=ran) for key in keys})


def test_no_tool_runs_a_command_that_a_table_holds(prepared, tmp_path, capsys):
    ran, train = tmp_path / "ran", DataDir(prepared / "train")
    for name in ("feats.scp", "vad.scp"):
        _table_of_commands(train / name, train.utt2spk, ran)
    (train / "vad").mkdir()
    write_table(train / "utt2num_voiced", {utt: "10" for utt in train.utt2spk})
    for name in ("enroll.scp", "test.scp"):
        _table_of_commands(tmp_path / name, ["spk3-s0-0", "spk3-s1-0", "spk4-s1-1"], ran)
    for name in ("mean.vec", "transform.mat", "plda"):
        (tmp_path / name).write_bytes(b"x")
    calls = {
        "vad": (vad, ["compute", train.path, train / "vad/x"]),
        "train_ubm": (
            train_ubm,
            [
                "--num-gauss=2",
                f"--frontend-config={recipe.ROOT / recipe.CONF / 'ivector.conf'}",
                train.path,
                tmp_path / "ubm",
            ],
        ),
        "score": (
            score,
            [
                "list",
                tmp_path / "enroll.scp",
                prepared / "enroll/model2utts",
                tmp_path / "test.scp",
                tmp_path,
                prepared / "trials/trials",
                tmp_path / "scores",
            ],
        ),
    }
    for name, (tool, words) in calls.items():
        capsys.readouterr()
        assert tool.main([str(word) for word in words]) == 1, name
        refused(capsys, "the command", "--allow-commands") if name != "score" else None
    assert not ran.exists()


def test_audio_comes_from_a_command_with_permission_alone(prepared, tmp_path):
    train, ran = DataDir(prepared / "train"), tmp_path / "ran"
    lines = []
    for utt, line in read_cuts(train / "cuts.jsonl.gz"):
        cut = json.loads(line)
        source = cut["recording"]["sources"][0]
        source.update(type="command", source=f"touch {ran}; cat {source['source']}")
        lines.append(json.dumps(cut))
    write_cuts(train / "cuts.jsonl.gz", lines)
    (train / "mfcc").mkdir()
    assert make_mfcc.main(["--sample-frequency=16000", str(train.path), str(train / "mfcc/no")]) == 0
    failed = {utt: reason for path in train.path.glob("mfcc/no.*.failed") for utt, reason in read_table(path).items()}
    assert set(failed) == set(train.utt2spk) and all("--allow-commands" in reason for reason in failed.values())
    assert not ran.exists()
    assert (
        make_mfcc.main(["--sample-frequency=16000", "--allow-commands=true", str(train.path), str(train / "mfcc/yes")])
        == 0
    )
    assert ran.exists() and not any(path.read_text() for path in train.path.glob("mfcc/yes.*.failed"))


def test_a_packed_table_is_told_as_such(tmp_path):
    (tmp_path / "trials").write_bytes(gzip.compress(b"a b target\n"))
    with pytest.raises(InputError, match="trials: found a packed file .gzip.; expected .* suffix .gz, or unpack"):
        read_lines(tmp_path / "trials")


def test_a_cut_packed_table_whose_bytes_are_no_text_either_is_told(tmp_path):
    (tmp_path / "trials.gz").write_bytes(gzip.compress(b"\xff" * 50000)[:-8])  # one line, without its end
    with (
        pytest.raises(InputError, match="trials.gz: found no whole gzip file"),
        open_text(tmp_path / "trials.gz") as lines,
    ):
        next(lines)


def test_column_names_in_capitals_are_told(tmp_path):
    (tmp_path / "t.tsv").write_text("Utt\tSpeaker\na\tb\n")
    with pytest.raises(InputError, match="a column utt .* Write it in small letters"):
        list(read_rows(tmp_path / "t.tsv", ("utt", "speaker")))


@pytest.mark.parametrize("mark, name", [(",", "commas"), (";", "semicolons"), (" ", "blanks")])
def test_what_stands_between_the_fields_is_said(own, tree, tmp_path, capsys, mark, name):
    (own / "train.tsv").write_text((own / "train.tsv").read_text().replace("\t", mark))
    assert prepare(own, tree, tmp_path / "data") == 1
    refused(capsys, f"train.tsv: found {name} between 'utt{mark}speaker{mark}path", f"Put tabs in place of the {name}")
    (own / "train.tsv").write_text((own / "train.tsv").read_text().replace(mark, "\t"))
    if mark != " ":
        put(own / "trials", f"m3{mark}spk3-s1-0{mark}target")
        assert prepare(own, tree, tmp_path / "data") == 1
        refused(
            capsys, f"trials: line 1: found {name} between the fields", f"Put blanks or tabs in place of the {name}"
        )

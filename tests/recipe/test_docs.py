"""The commands of README.md, of the tutorial and at the end of each verb's help, run as a reader would type them.

A fence opened with `sh` or `python` is run, in the order of the page, in a copy of the tree and in one shell; one opened with `bash` needs what
is not here (corpora, the reader's own files). A fence opened with `output` behind it shows lines that the command prints:
each must be among them, numbers aside.
"""

import importlib
import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from recipe import ROOT

from pyasp.__main__ import verb_lines

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
NOT_OURS = {".venv", ".git", "data", "exp"}
PAGES = [path for path in sorted(ROOT.rglob("*.md")) if not NOT_OURS & set(path.relative_to(ROOT).parts)]
NUMBER = re.compile(r"\d[\d .,]*")


def masked(line: str) -> str:
    """A line without its numbers and the blanks of its columns."""
    return " ".join(NUMBER.sub("N ", line).split())


def commands(page: Path) -> list[tuple[str, str]]:
    """(commands, output shown behind them) of a page."""
    found: list[tuple[str, str]] = []
    for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "sh":
            found.append((text, ""))
        elif kind == "python":
            found.append((f".venv/bin/python - <<'END'\n{text}END\n", ""))
        elif kind == "output":
            found[-1] = (found[-1][0], text)
    return found


def examples(verb: str) -> list[str]:
    """The lines of the examples that end the help of a verb and of its actions."""
    main = importlib.import_module(f"pyasp.bin.{verb}").main
    told = [inspect.cleandoc(each.__doc__) for each in getattr(main, "actions", {"": main}).values()]
    return [line.strip() for text in told for line in text.partition("Example, after ./run.sh:\n")[2].splitlines()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A clone, with the environment of this one."""
    where = tmp_path_factory.mktemp("docs") / "asp"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0")[:-1]:
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, where / name)
    (where / ".venv").symlink_to((ROOT / ".venv").resolve())
    return where


def test_every_test_that_a_page_names_is_there():
    known = {
        (path.name, name)
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    for page in (ROOT / "tests").rglob("*.md"):
        file, named = "", []
        for path, name in re.findall(r"`(?:[\w/]*?(test_\w+\.py))?::(test_\w+)`", page.read_text()):
            file = path or file  # `::test_b` is of the file named before
            named.append((file, name))
        assert not [each for each in named if each not in known], page


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_file_of_tests_that_a_page_names_is_there(page):
    """A bare name may be in any folder; a path is seen from the root, from tests/ or from the page."""
    names = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for named in re.findall(r"(?:[\w/]+/)?test_\w+\.py\b", page.read_text()):
        there = [(folder / named).exists() for folder in (ROOT, ROOT / "tests", page.parent)]
        assert any(there) or named in names, named


def outside_fences(text: str) -> list[str]:
    """The lines of a page that are no commands or outputs."""
    parts = re.split(r"^```.*$", text, flags=re.M)
    return "".join(parts[::2]).splitlines()


def anchors(page: Path) -> set[str]:
    """What links may lead to within a page: its headings as GitHub calls them, and named places."""
    text = page.read_text(encoding="utf-8")
    heads = (re.sub(r"[^\w -]", "", line.lstrip("# ").lower()) for line in outside_fences(text) if line.startswith("#"))
    return {head.replace(" ", "-") for head in heads} | set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_tables_links_and_verbs_of_a_page(page):
    """Rows as wide as the table's head; links that lead somewhere; verbs that are there."""
    text = page.read_text(encoding="utf-8")
    lines, wide = outside_fences(text), 0
    for line in lines:
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.lstrip().startswith("|") else 0
        assert not cells or not wide or cells == wide, f"{cells - 1} cells under {wide - 1}: {line}"
        wide = cells
    plain = re.sub(r"`[^`]*`", "", "\n".join(lines))
    for link in re.findall(r"\]\(([^)\s]+)\)", plain):
        name, _, place = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert re.match(r"https?:", link) or target.exists() and (not place or place in anchors(target)), link
    verbs = set(re.findall(r"\bpyasp\.bin\.([a-z]\w*)", text)) | set(re.findall(r"(?<!from )\bpyasp ([a-z]\w*)", text))
    assert [verb for verb in verbs - {"completion"} if not (ROOT / f"pyasp/bin/{verb}.py").is_file()] == []


def test_the_totals_of_what_a_run_costs_are_those_of_its_stages():
    """The README repeats two of them, rounded."""
    text = (ROOT / "conf/README.md").read_text(encoding="utf-8").partition("## What a run costs")[2]
    rows = {cells[0]: cells[1:] for line in text.splitlines() if len(cells := line.strip("| ").split(" | ")) > 2}

    def hours(row: str, column: int) -> float:
        return float(rows[row][column].removeprefix("below ").replace(" ", ""))

    for column, total in ((1, 0), (3, 1)):
        shared = sum(hours(row, column) for row in ("`features`", "`augment`"))
        own = ("`ubm`", "`extractor`", "`embeddings`, i-vectors")
        networks = sum(hours(row, column) for row in ("`networks`, each", "`embeddings`, a network"))
        alone = shared + sum(hours(row, column) for row in own)
        assert hours("the i-vector system alone, core hours", total) == pytest.approx(alone, rel=0.01)
        assert hours("all five systems, core hours", total) == pytest.approx(alone + 4 * networks, rel=0.01)
    told = re.search(r"at (\d+) core hours for the i-vector and (\d+) a network", (ROOT / "README.md").read_text())
    assert told is not None
    assert float(told[1]) == hours("the i-vector system alone, core hours", 0)
    assert float(told[2]) == pytest.approx(hours("`networks`, each", 1), rel=0.01)


@pytest.mark.docs
@pytest.mark.parametrize("page", ["README.md", "local/tutorial.md"])
def test_every_command_of_the_page_works(copy, page):
    blocks = commands(ROOT / page)
    script = "".join(f"echo '@@@ {number}'\n{text}" for number, (text, _) in enumerate(blocks))
    done = subprocess.run(
        ["bash", "-ec", script], cwd=copy, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-3000:]
    printed = re.split(r"^@@@ \d+\n", done.stdout, flags=re.M)[1:]
    for (text, shown), told in zip(blocks, printed, strict=True):
        lines = {masked(line) for line in told.splitlines()}
        missing = [line for line in shown.splitlines() if line.strip() and masked(line) not in lines]
        assert not missing, f"{text}\nnot printed: {missing}\n{told[-3000:]}"


@pytest.mark.docs
def test_every_example_of_the_help_works_after_the_toy_run(copy):
    lines = [line for verb in verb_lines() for line in examples(verb)]
    script = "./run.sh\n. ./path.sh\nset -x\n" + "\n".join(lines)
    done = subprocess.run(["bash", "-ec", script], cwd=copy, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_fences_are_told_apart(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\na\n```\n\n```output\nEER 7.12 %\n```\n```bash\nnot run\n```\n```python\nb\n```\n")
    assert commands(page) == [("a\n", "EER 7.12 %\n"), (".venv/bin/python - <<'END'\nb\nEND\n", "")]
    assert masked("x   EER 7.12 % (4 000 trials)") == masked("x EER 11 % (250 trials)")

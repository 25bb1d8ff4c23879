"""report.html: self-contained, the same digits as everywhere, complete for a run of any size; two runs side by side."""

import io
import json
import re
import shutil
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import browser
import numpy as np
import pytest
from report_cells import cost_cell, eer_cell

from pyasp.backend import model
from pyasp.backend.files import write_back_end, write_scoring
from pyasp.backend.options import BackendOptions
from pyasp.bin import evaluate as evaluate_tool
from pyasp.bin import report as report_tool
from pyasp.bin import score
from pyasp.core import costs
from pyasp.core.records import describe, write_made
from pyasp.core.text import as_markdown, as_text
from pyasp.data.datadir import DataDir
from pyasp.data.scores import array_path, note_left_out
from pyasp.evaluation.llr import trials_text, unsure
from pyasp.network.attention import BINS, frame_weights, spectrogram
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.report import document, facts, figures, findings
from pyasp.report import results as report
from pyasp.report import tables as report_tables

SPEAKERS, EACH = 10, 4


class Page(HTMLParser):
    """Tables as lists of rows of cells, and every address a browser would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.addresses, self.open, self.cell = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[key] for key in ("src", "href", "xlink:href", "data") if values.get(key)]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.cell)
            self.cell = None


def write_scores(root, system, seed, separation):
    (root / "exp" / system / "scores").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    lines = [line.split() for line in (root / "data/trials/cc2").read_text().splitlines()]
    values = [4 * (generator.normal() + separation * (label == "target")) + 5 for _, _, label in lines]
    (root / "exp" / system / "scores/cc2").write_text(
        "".join(f"{m} {t} {v:.5f}\n" for (m, t, _), v in zip(lines, values))
    )


def write_data(data):
    """Data directories of SPEAKERS, some of their recordings left out, and a list of all pairs with two columns."""
    speaker = {f"s{k:02d}-{i}": f"s{k:02d}" for k in range(SPEAKERS) for i in range(EACH)}
    for name in ("train", "enroll", "test"):
        directory = DataDir(data / name)
        directory.path.mkdir(parents=True)
        directory.write_speakers(speaker)
        directory.write("utt2dur", {utt: f"{1 + 40 * int(utt[-1]):.2f}" for utt in speaker})
        directory.write("utt2num_frames", {utt: "100" for utt in speaker})
        directory.write("utt2num_voiced", {utt: "60" for utt in speaker})
        directory.write("spk2gender", {spk: "fm"[int(spk[1:]) % 2] for spk in speaker.values()})
    DataDir(data / "enroll").write("model2utts", {utt: utt for utt in speaker})
    for name, reason in (("train_aug", ""), ("train_ubm", "17\tfewer than 50 voiced frames\n")):
        kept = DataDir(data / name)
        kept.path.mkdir()
        kept.write_speakers({utt: spk for utt, spk in speaker.items() if not reason or utt[-1] == "0"})
        (kept / "left_out.tsv").write_text("recordings\treason\n" + reason)
    (data / "train/dropped.tsv").write_text("utt\treason\nx\ttoo <short>\n")
    (data / "trials").mkdir()
    pairs = [(a, b, "target" if speaker[a] == speaker[b] else "nontarget") for a in speaker for b in speaker if a != b]
    (data / "trials/cc2").write_text("".join(f"{a} {b} {label}\n" for a, b, label in pairs))
    rows = [f"{'known' if k % 3 else 'unknown'}\t{(30, 100, 300)[k % 3]}\n" for k in range(len(pairs))]
    (data / "trials/cc2.tsv").write_text("known\tduration_class\n" + "".join(rows))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two systems, one calibrated by halves, their fusion; what a run leaves about itself; the report on it."""
    root = tmp_path_factory.mktemp("report")
    data, exp = root / "data", root / "exp"
    write_data(data)
    for seed, (system, separation) in enumerate({"ivector": 2.0, "statistics": 3.0}.items()):
        write_scores(root, system, seed, separation)
    leave_facts(exp)
    for way, name, members in (
        ("halves", "statistics+calhalf", ["statistics"]),
        ("auto", "fusion:ivector+statistics", ["ivector", "statistics"]),
    ):
        words = [str(data), *(str(exp / each) for each in (name, *members))]
        assert score.main(["calibrate", f"--train-on={way}", *words]) == 0
    systems = ["ivector", "statistics", "statistics+calhalf", "fusion:ivector+statistics"]
    for system in systems:
        assert evaluate_tool.main(["--replicates=60", str(data / "trials"), str(exp / system)]) == 0
    with redirect_stdout(io.StringIO()) as shown:
        assert run_report(root, *systems) == 0
    (root / "screen").write_text(shown.getvalue())
    return root


def leave_facts(exp):
    """Training curves, likelihoods, stages, attention weights, options, as a run leaves them."""
    row = {"loss": 2.0, "valid_loss": 2.5, "valid_accuracy": 0.4, "learning_rate": 0.001}
    (exp / "statistics/train.jsonl").write_text("".join(json.dumps({"epoch": k, **row}) + "\n" for k in (1, 2, 3)))
    (exp / "ubm").mkdir()
    (exp / "ubm/likelihood.json").write_text(
        json.dumps(
            {"0.dubm": {}, "2.dubm": {"loglike": -49.5}, "1.dubm": {"loglike": -50.25}, "1.ubm": {"loglike": -48.0}}
        )
    )
    (exp / "statistics/options.conf").write_text("--epochs=3\n--comment=<b>\n")
    (exp / "log").mkdir()
    (exp / "log/stages.jsonl").write_text(
        '{"stage": 2, "title": "MFCC", "seconds": 1.5}\n{"stage": 2, "title": "MFCC", "seconds": 2.0}\n'
    )
    (exp / "log/usage.jsonl").write_text(
        '{"stage": 2, "tool": "make_mfcc", "title": "MFCC", "cpu_seconds": 3.25, "peak_mb": 1234.4}\n{"sta'
    )
    generator = np.random.default_rng(0)
    arrays = {
        "0/spectrogram": generator.integers(0, 255, (96, 50)).astype(np.uint8),
        "0/voiced": np.arange(50) > 9,
        "0/highest": np.array(4000.0),
        "0/attention": np.linspace(0, 2, 50, dtype=np.float32),
    }
    np.savez(exp / "attention.npz", utterances=np.array(["u1"]), systems=np.array(["attention"]), **arrays)


def run_report(root, *systems, corpus="sre12"):
    return report_tool.main(
        [f"--corpus={corpus}", "--replicates=60", str(root / "data/trials"), str(root / "exp"), *systems]
    )


@pytest.fixture(scope="module")
def html(root):
    return (root / "exp/report.html").read_text()


def test_the_page_fetches_nothing(html):
    found = Page(html)
    assert found.addresses and all(each.startswith(("#", "data:")) for each in found.addresses)
    assert not re.search(r"<script|@import|url\((?!#)", html) and "http://www.w3.org" in html
    assert set(re.findall(r"https?://([\w.]+)", html)) == {"www.w3.org"}  # names of SVG's vocabularies, not addresses


def test_every_anchor_is_there_and_unique(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"', html)) | set(re.findall(r"url\(#([^)]+)\)", html))
    assert used <= set(ids)


def test_page_text_and_screen_agree_with_results_json_to_the_digit(root, html):
    results = json.loads((root / "exp/results.json").read_text())
    screen, written, tables = (root / "screen").read_text(), (root / "exp/RESULTS.md").read_text(), Page(html).tables
    expected = [report.main_table(results, "cc2"), *(table for _, table in report_tables.tables(results, "cc2"))]
    assert len(expected) == 6
    for table in expected:
        assert table in tables and as_markdown(table) in written
    assert as_text(report.rows_of(expected[0], ("ivector", "statistics"))) in screen
    entry = results["systems"]["statistics"]["trials"]["cc2"]
    ci, found = entry["ci"], entry["calibration"]
    assert [
        "statistics",
        eer_cell(entry),
        cost_cell(entry, "0.01"),
        cost_cell(entry, "0.001"),
        f"{entry['n_target'] + entry['n_nontarget']:,}".replace(",", " "),
    ] in expected[0]
    assert (
        f"{ci['eer'][0]:.2f} to {ci['eer'][1]:.2f}" in html and f"{ci['cllr'][0]:.3f} to {ci['cllr'][1]:.3f}" in written
    )
    row = next(row for row in expected[2] if row[0] == "statistics")
    assert row[1:8] == [
        f"{found['cllr']:.3f}",
        f"{found['min_cllr']:.3f}",
        f"{found['cllr'] / found['min_cllr']:.2f}",
        *(f"{found[kind][p]:.3f}" for p in ("0.5", "0.1") for kind in ("act_dcf", "min_dcf")),
    ]
    pair = next(row for row in results["paired"]["cc2"] if row["figure"] == "eer")
    assert f"{pair['difference']:+.2f}" in html and (f"{pair['p']:.3f}" in html or pair["p"] < 0.001)
    assert f"{entry['c_primary']['actual']:.3f}" in html and f"{entry['c_primary']['minimum']:.3f}" in written


def rows_from_json(results):
    """Rows of the main and of the calibration table, written here from results.json alone."""

    def number(value):
        return f"{value:,}".replace(",", " ")

    for system, entry in ((name, each["trials"]["cc2"]) for name, each in results["systems"].items()):
        yield [
            system,
            eer_cell(entry),
            *(cost_cell(entry, p) for p in ("0.01", "0.001")),
            number(entry["n_target"] + entry["n_nontarget"]),
        ]
        if system in ("statistics+calhalf", "fusion:ivector+statistics"):  # the screen shows calibrated ones only
            entry = entry["by"]["halves"]["disjoint"]
            found = entry["calibration"]
            yield [
                f"{system}, disjoint",
                f"{found['cllr']:.3f}",
                f"{found['min_cllr']:.3f}",
                f"{found['cllr'] / found['min_cllr']:.2f}",
                *(f"{found[kind][p]:.3f}" for p in ("0.5", "0.1") for kind in ("act_dcf", "min_dcf")),
                number(entry["n_target"] + entry["n_nontarget"]),
            ]
    for value in ("30", "100", "300"):
        yield [
            value,
            *(eer_cell(each["trials"]["cc2"]["by"]["duration_class"][value]) for each in results["systems"].values()),
        ]


def by_columns(rows):
    """Columns of the tables of EER by duration class: the value, then the systems' figures without the paper's rows."""
    start = next(number for number, row in enumerate(rows) if row == ["system", "30", "100", "300"])
    table = [row for row in rows[start : start + 7] if "(paper)" not in row[0]]
    return [list(column)[:5] for column in zip(*table)][1:]


def test_results_json_text_page_and_screen_show_the_same_digits(root, html):
    shown = {
        "RESULTS.md": [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in (root / "exp/RESULTS.md").read_text().splitlines()
            if "---" not in line
        ],
        "report.html": [row for table in Page(html).tables for row in table],
    }
    expected = list(rows_from_json(json.loads((root / "exp/results.json").read_text())))
    assert len(expected) == 4 + 2 + 3
    for name, rows in shown.items():
        for row in expected:
            assert row in rows + by_columns(rows), (name, row)
    on_screen = [re.split(r" {2,}", line.strip()) for line in (root / "screen").read_text().splitlines()]
    assert all(row in on_screen for row in expected if row[0] in ("ivector", "statistics"))
    assert not [row for row in on_screen if report.is_variant(row[0]) and len(row) > 3]  # they are on the pages alone


def raw_on_disjoint(root):
    """Cllr of the raw scores on the trials that the column beside the calibrated ones calls disjoint, from the files."""
    kept = (root / "exp/statistics+calhalf/scores/cc2.tsv").read_text().split()[1:]
    scores = [float(line.split()[2]) for line in (root / "exp/statistics/scores/cc2").read_text().splitlines()]
    labels = [line.split()[2] == "target" for line in (root / "data/trials/cc2").read_text().splitlines()]
    of = {
        target: [score for score, label, each in zip(scores, labels, kept) if label == target and each == "disjoint"]
        for target in (True, False)
    }
    return np.mean([np.mean(np.log2(1 + np.exp(np.array(of[t]) * (-1 if t else 1)))) for t in (True, False)])


def test_a_calibration_that_helps_nothing_is_told():
    raw, worse, least = ({"cllr": cllr, "min_cllr": 0.2} for cllr in (0.3, 1.013, 0.25))

    def told(calibration, disjoint=None, base=raw):
        found = {"a": {"calibration": base, "by": {}}, "a+calhalf": {"calibration": calibration, "by": {}}}
        if disjoint:
            found["a+calhalf"]["by"] = {"halves": {"disjoint": {"calibration": disjoint, "raw": raw}}}
        results = {"systems": {name: {"trials": {"l": entry}} for name, entry in found.items()}}
        return [row for row in findings.unfit(results, "l") if row[0] == "a+calhalf"]

    text = (
        "calibration helps nothing on l: Cllr 1.013, where 1 says nothing; 0.300 of the raw scores on the same trials"
    )
    assert told(least, worse) == told(worse) == [["a+calhalf", text]]
    assert not told(worse, least) and not told(least) and not told(raw)  # equal to the raw ones: no harm
    assert "Cllr 0.300" in told(raw, base=least)[0][1] and "0.250 of the raw" in told(raw, base=least)[0][1]
    assert told(worse, base=worse)  # above 1, though no worse
    assert not told({"cllr": None, "min_cllr": None})  # a class is missing: no figure


def test_calibrated_by_halves_is_reported_on_the_disjoint_trials(root):
    results = json.loads((root / "exp/results.json").read_text())
    table = report_tables.calibration_table(results, "cc2")
    row = next(row for row in table if row[0] == "statistics+calhalf, disjoint")
    found = results["systems"]["statistics+calhalf"]["trials"]["cc2"]["by"]["halves"]["disjoint"]
    assert row[1] == f"{found['calibration']['cllr']:.3f}" and found["n_nontarget"] < 40 * 36
    assert float(row[3]) < 1.3 < float(next(row for row in table if row[0] == "statistics")[3])
    names = [row[0] for row in table]
    assert names[names.index(row[0]) - 1] == "statistics, disjoint"
    raw = raw_on_disjoint(root)
    before = next(row for row in table if row[0] == "statistics, disjoint")
    assert before[1] == f"{raw:.3f}" and before[-1] == row[-1]
    entry = results["systems"]["statistics+calhalf"]["trials"]["cc2"]
    assert report_tables.value_of(entry, "cllr") == found["calibration"]["cllr"] != entry["calibration"]["cllr"]
    intervals = {row[0]: row[-1] for row in report_tables.intervals_table(results, "cc2")}
    assert intervals["statistics+calhalf"] == "-" != intervals["statistics"]  # the draws are of all trials


def test_the_page_has_every_part(html):
    for text in (
        "What was found",
        "<h1>sre12: ivector and statistics compared</h1>",
        "of 10 speakers): statistics has the lowest EER of 2 systems, ",
        "10 speakers are few: with others the EER might well be ",
        "lowest EER of the 2 systems",
        "train_ubm: what UBM and i-vector extractor are trained on",
        "fewer than 50 voiced frames",
        "Where the time goes",
        "Results: cc2",
        "DET curves",
        "before calibration",
        "EER by duration",
        "Hollow diamonds: the paper",
        "Where the attention looks",
        "diagonal UBM: log-likelihood a frame, from -50.250 to -49.500",
        "loss: training",
        "too &lt;short&gt;",
        "--comment=&lt;b&gt;",
        "What the variants are",
        "Why ours and the paper",
    ):
        assert text in html, text
    assert ["2 MFCC", "3.5", "3.2", "0.2", "", "1 234", "make_mfcc"] in [
        row for table in Page(html).tables for row in table
    ]
    assert ["train", "10", "40", "0.68", "61.00", "60.0", "1"] in [row for table in Page(html).tables for row in table]
    assert (
        "currentColor" in html
        and figures.INK not in html
        and "prefers-color-scheme: dark" in html
        and "@media print" in html
    )


def test_a_browser_shows_it_on_a_phone_without_a_scroll_bar_a_request_or_a_complaint(html, tmp_path):
    page = html.replace("<details>", "<details open>")
    assert "<details open>" in page and (seen := browser.look(page, tmp_path, 390)).scroll_width == seen.width
    assert seen.console == []


def test_nothing_is_clipped_on_a_screen_of_1200_pixels_with_everything_open(html, tmp_path):
    page = html.replace("<details>", "<details open>").replace('id="switch"', 'id="switch" checked')
    assert page.count('id="switch" checked') == 1
    assert browser.look(page, tmp_path, 1200) == browser.Seen(1200, 1200, [], [])


def test_variants_and_fusions_are_behind_the_switch(html):
    """Every row and drawing of a variant or a fusion has the class that an unchecked switch hides, and no other has."""
    assert "body:has(#switch:not(:checked)) :is(.variant, .variants) { display: none; }" in html
    rows = re.findall(r"<tr([^>]*)><td>(.*?)</td>", html)
    names = [(kind, re.sub(r"<wbr>", "", name)) for kind, name in rows]
    for kind, name in names:
        if re.fullmatch(r"(fusion:|statistics\+|ivector|statistics)[\w+:]*(, disjoint| - [\w+]+)?", name):
            hidden = "+" in name.split(" - ")[0] or name.endswith(", disjoint")  # raw scores beside calibrated ones
            assert ("variant" in kind) == hidden, (kind, name)
    assert ' class="best"' in {kind for kind, name in names if name == "statistics"}
    first = [name for _, name in names if name in ("ivector", "statistics", "statistics+calhalf")][:3]
    assert first == ["ivector", "statistics", "statistics+calhalf"]


def test_the_browser_would_have_complained(tmp_path):
    seen = browser.look('<p style="width: 500px">x</p><img src="https://example.invalid/x.png">', tmp_path, 390)
    assert seen.scroll_width > 390 and any("example.invalid" in line for line in seen.console)


def test_a_bare_run_has_a_page_too(root, tmp_path):
    """Trial lists without the corpus's directories, one system, none of the facts."""
    (tmp_path / "data/trials").mkdir(parents=True)
    (tmp_path / "data/trials/cc2").write_text("a b target\na c nontarget\nb c nontarget\nc d target\n")
    (tmp_path / "exp/ivector/scores").mkdir(parents=True)
    (tmp_path / "exp/ivector/scores/cc2").write_text("a b 1\na c 0\nb c 2\nc d 3\n")
    assert evaluate_tool.main(["--replicates=60", str(tmp_path / "data/trials"), str(tmp_path / "exp/ivector")]) == 0
    assert run_report(tmp_path, "ivector", corpus="folder") == 0
    text = (tmp_path / "exp/report.html").read_text()
    assert (
        "none of them answers a table of the paper" in text
        and "attention looks" not in text
        and "95 % intervals (" not in text
    )
    assert json.loads((tmp_path / "exp/results.json").read_text())["paired"] == {}


def worse_copy(root, other):
    """Scores of a second run in which `statistics` is worse, and their metrics."""
    for system, seed in (("ivector", 0), ("statistics", 9)):
        (other / system / "scores").mkdir(parents=True)
        source = (root / "exp" / system / "scores/cc2").read_text().splitlines()
        worse = [line.rsplit(" ", 1) for line in source]
        noise = np.random.default_rng(seed).normal(size=len(worse)) * (8 if system == "statistics" else 0)
        (other / system / "scores/cc2").write_text(
            "".join(f"{key} {float(value) + gap:.5f}\n" for (key, value), gap in zip(worse, noise))
        )
        assert evaluate_tool.main(["--replicates=60", str(root / "data/trials"), str(other / system)]) == 0


def report_copy(root, other, monkeypatch):
    """The second run's report, without its figures."""
    monkeypatch.setattr(report_tool.document, "render", lambda run: "not drawn")
    monkeypatch.setattr(report_tool.figures, "draw_det", lambda curves, path: path.write_bytes(b"not drawn"))
    assert report_tool.main(["--replicates=60", str(root / "data/trials"), str(other), "ivector", "statistics"]) == 0


def test_two_runs_side_by_side(root, tmp_path, capsys, monkeypatch):
    other = tmp_path / "other"
    worse_copy(root, other)
    report_copy(root, other, monkeypatch)
    capsys.readouterr()
    assert report_tool.main(["--compare", str(root / "exp"), str(other)]) == 0
    shown = capsys.readouterr().out
    eer = [
        json.loads((each / "results.json").read_text())["systems"]["statistics"]["trials"]["cc2"]["eer"]
        for each in (root / "exp", other)
    ]
    row = next(re.split(r" {2,}", line) for line in shown.splitlines() if line.startswith("statistics  EER"))
    both = [
        json.loads((each / "results.json").read_text())["systems"]["statistics"]["trials"]["cc2"]
        for each in (root / "exp", other)
    ]
    assert row[2:5] == [*map(eer_cell, both), f"{eer[0] - eer[1]:+.3f}"] and "*" in row[2]
    assert float(row[6]) < 0.05 and "*: hangs on" in shown
    (costs,) = (line.split() for line in shown.splitlines() if line.startswith("statistics  minDCF(0.001)"))
    assert costs[6] == "to" and float(costs[5]) <= float(costs[7]) and len(costs) >= 9  # every figure has its test
    same = next(re.split(r" {2,}", line) for line in shown.splitlines() if line.startswith("ivector     EER"))
    assert same[4] == "+0.000" and same[6:] == ["1.000"]
    assert "not the same trials" not in shown
    metrics = json.loads((other / "ivector/metrics.json").read_text())
    metrics["fingerprints"]["cc2"] = "another list"
    (other / "ivector/metrics.json").write_text(json.dumps(metrics))
    assert report_tool.main(["--compare", str(root / "exp"), str(other)]) == 0
    assert f"cc2 (not the same trials: A {trials_text(both[0])}, B {trials_text(both[1])})\n" in capsys.readouterr().out
    assert report_tool.main(["--against=ivector", str(root / "exp"), f"{root}/exp/../exp"]) == 1
    assert "a run given twice" in capsys.readouterr().err
    assert report_tool.main(["--compare", str(root / "exp"), str(tmp_path / "nowhere")]) == 1
    assert "results.json" in capsys.readouterr().err


def test_several_seeds_and_what_one_system_has_over_the_others(root, tmp_path, capsys, monkeypatch):
    """Run B's statistics are worse; its ivector is the same. Figures follow from the two reports."""
    other = tmp_path / "other"
    worse_copy(root, other)
    report_copy(root, other, monkeypatch)
    capsys.readouterr()
    exps = [str(root / "exp"), str(other)]
    assert report_tool.main(["--against=ivector", *exps]) == 0
    shown = capsys.readouterr().out
    found = [json.loads(Path(exp, "results.json").read_text())["systems"] for exp in exps]
    ivector, statistics = (
        np.array([run[s]["trials"]["cc2"]["eer"] for run in found]) for s in ("ivector", "statistics")
    )
    spread, gain = (line.split() for line in shown.splitlines() if line.startswith("statistics "))
    few = any(unsure(run["statistics"]["trials"]["cc2"]) for run in found)
    assert few and "*: in one of the runs it hangs on few errors" in shown
    assert spread[1:5] == [f"{statistics.mean():.2f}*", f"{statistics.min():.2f}", "to", f"{statistics.max():.2f}"]
    assert (
        float(spread[5]) <= statistics.min() and float(spread[7]) >= statistics.max()
    )  # over runs too, not speakers alone
    assert gain[1] == f"{ivector.mean() - statistics.mean():+.3f}"
    lower = int((ivector[:, None] < statistics).sum())
    assert f"{lower} of 4" in shown and 2 <= lower <= 4
    shutil.copytree(root / "exp", tmp_path / "copy")
    assert "no runs of two seeds" not in shown
    assert report_tool.main(["--against=ivector", *exps, str(tmp_path / "copy")]) == 0
    assert f"same in {root}/exp and {tmp_path}/copy: these are no runs of two seeds" in capsys.readouterr().out
    assert report_tool.main(["--against=nobody", *exps]) == 1
    assert "nobody" in capsys.readouterr().err
    assert report_tool.main(["--compare", *exps, exps[0]]) == 1
    assert "3 runs" in capsys.readouterr().err
    metrics = json.loads((other / "ivector/metrics.json").read_text())
    metrics["fingerprints"]["cc2"] = "another list's"
    (other / "ivector/metrics.json").write_text(json.dumps(metrics))
    assert report_tool.main(["--against=ivector", *exps]) == 1
    assert "other trials" in capsys.readouterr().err


def test_pairs_of_systems():
    systems = ["a", "b", "b+snorm", "b+snorm+cal", "fusion:a+b"]
    assert report_tables.pairs(systems, {"a": 3.0, "b": 2.0}) == [
        ("a", "b"),
        ("b+snorm", "b"),
        ("b+snorm+cal", "b+snorm"),
        ("fusion:a+b", "b"),
    ]


def test_networks_are_compared_with_the_best_of_them_where_the_best_is_none():
    eers = {"ivector": 1.0, "a": 3.0, "b": 2.0}
    assert report_tables.pairs(list(eers), eers) == [("a", "ivector"), ("b", "ivector"), ("a", "b")]


def made_up(eers, ps, speakers=100, errors=50):
    """results.json of some systems with these EERs, and p of the differences {(a, b): p}."""
    systems = {
        name: {
            "trials": {
                "l": {
                    "eer": eer,
                    "eer_rocch": eer,
                    "n_target": 500,
                    "n_nontarget": 900,
                    "errors": {"eer": {"misses": errors, "false_alarms": errors}},
                    "ci": {"speakers": speakers, "eer": [eer - 1, eer + 1]},
                    "calibration": {"cllr": 1.5 if name == "b" else 0.5},
                }
            }
        }
        for name, eer in eers.items()
    }
    rows = [{"a": a, "b": b, "figure": "eer", "p": p} for (a, b), p in ps.items()]
    return {"corpus": "mine", "systems": systems, "paired": {"l": rows}}


def test_what_was_found_in_words():
    eers = {"ivector": 5.0, "a": 8.0, "b": 7.0, "c": 7.5}
    ps = {("a", "ivector"): 0.001, ("b", "ivector"): 0.2, ("c", "ivector"): None, ("a", "b"): 0.3, ("c", "b"): 0.04}
    results = made_up(eers, ps)
    assert findings.title(results) == "mine: ivector, a, b and c compared"
    assert findings.found(results, "l") == (
        "l (500 target and 900 nontarget trials of 100 speakers): ivector has the lowest EER of 4 systems, 5.00 % "
        "(95 %: 4.00 to 6.00 %). Its lead over a (p = 0.001) is more than chance. No difference to b (p = 0.200) can be "
        "told from chance. Of the networks b has the lowest, 7.00 % (95 %: 6.00 to 8.00 %). Its lead over c (p = 0.040) "
        "is more than chance. No difference to a (p = 0.300) can be told from chance."
    )
    assert findings.unfit(results, "l") == [
        ["b", "scores on l are no log-likelihood ratios: Cllr 1.500, where 1 says nothing (calibrate)"]
    ]


def test_how_sure_it_is_in_words():
    few = findings.found(made_up({"a": 5.0}, {}, speakers=12, errors=9), "l")
    assert "a has an EER of 5.00* (5.00) % (95 %: 4.00 to 6.00 %). 12 speakers are few" in few
    assert few.endswith("It hangs on few errors or on equal scores (*), and may be far off.")
    results = made_up({"a": 5.0}, {}, speakers=3)
    results["systems"]["a"]["trials"]["l"]["ci"]["eer"] = None
    assert "3 speakers are too few for an interval" in findings.found(results, "l")
    del results["systems"]["a"]["trials"]["l"]["ci"]
    assert "How sure these figures are is not known" in findings.found(results, "l")


def test_what_was_lost_on_the_way_is_said(tmp_path):
    exp, data = tmp_path / "exp", tmp_path / "data"
    for name, speakers in (("train", 10), ("train_aug", 10), ("train_ubm", 9), ("train_sel", 4)):
        directory = DataDir(data / name)
        directory.path.mkdir(parents=True)
        directory.write_speakers({f"s{k}-{i}": f"s{k}" for k in range(speakers) for i in range(3)})
    DataDir(data / "train").write("feats.scp", {f"s{k}-{i}": "x" for k in range(10) for i in range(2)})
    (data / "prep.json").write_text(json.dumps({"train": {"utterances": 30, "dropped": 3}, "warnings": ["a label"]}))
    rows = "3\tspeaker held out (dev)\n15\tfewer than 100 voiced frames\n2\tspeaker with fewer than 2 such recordings\n"
    (data / "train_sel/left_out.tsv").write_text(f"recordings\treason\n{rows}")
    (exp / "ubm").mkdir(parents=True)
    (exp / "ubm/options.conf").write_text("--num-gauss=256\n--num-ceps=20\n--delta-order=2\n")
    last = {"9.ubm": {"gaussians": 64, "floored": 1}, "10.ubm": {"gaussians": 3, "floored": 90, "loglike": -1.0}}
    (exp / "ubm/likelihood.json").write_text(json.dumps(last))
    (exp / "ivector").mkdir()
    (exp / "ivector/likelihood.json").write_text(json.dumps({"5.ie": {"low_count": 2, "floored": 3, "recordings": 20}}))
    note_left_out(exp / "a+cal", {"*": "no dev speakers"})
    note_left_out(exp / "a+calhalf", {"few": "0 target trials"})
    (exp / "a+snorm+cal").mkdir()
    (exp / "a+snorm+cal/calibration.json").write_text(
        json.dumps({"lists": {"l": [{"doubts": ["3 target trials, fewer than 30"]}] * 2}})
    )
    assert facts.losses(exp, data, ["ivector", "a", "a+snorm+cal"]) == [
        ["data", "a label"],
        ["data", "3 recordings of train could not be used (dropped.tsv)"],
        ["data", "10 of 30 recordings of train have no features"],
        [
            "data",
            "15 of 30 recordings were left out of train_sel, which has 4 of 10 speakers: fewer than 100 voiced frames",
        ],
        [
            "ivector",
            "3 of 256 Gaussians of the UBM are left: too few frames for the others. Fewer of them (--num-gauss) would "
            "serve this data better",
        ],
        ["ivector", "50 % of the variances of the UBM are at their floor: too few frames"],
        ["ivector", "20 of 27 recordings of train_ubm served to train the extractor"],
        ["ivector", "2 Gaussians had too few frames for the extractor and stayed as they were"],
        ["a+snorm+cal", "calibrated on 3 target trials, fewer than 30, in one of the halves"],
    ]
    assert facts.left_out(exp, ["a+cal", "a+calhalf", "a+snorm"]) == [
        ["a+cal", "left out: no dev speakers"],
        ["a+calhalf, few", "left out: 0 target trials"],
    ]


def test_recordings_with_digital_silence_are_named(tmp_path):
    for name, frames in (("train", [0] * 30), ("test", [9, 150, 20]), ("enroll", [9, 150])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "utt2num_silent").write_text("".join(f"u{k:02d} {n}\n" for k, n in enumerate(frames)))
    told = "2 of 3 recordings of enroll and test hold digital silence (1.7 s, no speech): u01, u02"
    assert facts.losses(tmp_path / "exp", tmp_path, []) == [["data", told]]
    (tmp_path / "train" / "utt2num_silent").write_text("".join(f"u{k:02d} 10\n" for k in range(30)))
    told = "30 of 30 recordings of train hold digital silence (3.0 s, no speech): u00, u01, u02, u03, u04, ..."
    assert facts.losses(tmp_path / "exp", tmp_path, [])[0] == ["data", told]


def test_directions_lost_and_a_plda_of_few_speakers_are_said(tmp_path):
    generator = np.random.default_rng(0)
    vectors, labels = generator.normal(size=(20, 40)), np.arange(20) // 5
    back_end = model.train(vectors, labels, BackendOptions(), log=lambda line: None)
    write_back_end(tmp_path / "a/backend", back_end, {"tool": "train_backend", "inputs": {}, "options": {}})
    chosen = DataDir(tmp_path / "data/train_sel")
    chosen.path.mkdir(parents=True)
    chosen.write_speakers({f"s{k}-{i}": f"s{k}" for k in range(4) for i in range(5)})
    assert facts.losses(tmp_path, tmp_path / "data", ["a"]) == [
        ["a", "the training vectors vary in 19 of 40 directions alone, and the back end keeps these"],
        ["a", "PLDA has 19 dimensions and 4 training speakers: cosine, or LDA before it, may be better"],
    ]
    write_scoring(tmp_path / "a/backend", "cosine")  # by --scoring=auto: there is no PLDA to speak of
    assert facts.losses(tmp_path, tmp_path / "data", ["a"])[1:] == [
        ["a", "scored by cosine, which --scoring=auto chose: its scores are no log-likelihood ratios (calibrate)"]
    ]


def test_a_variant_that_is_another_one_to_the_last_digit_is_told(tmp_path):
    """As asnorm is snorm where the cohort is no larger than --cohort-top."""
    for system, values in {"a": [1.0, 2.0], "a+snorm": [0.5, 1.5], "a+asnorm": [0.5, 1.5]}.items():
        (tmp_path / system / "scores").mkdir(parents=True)
        np.save(array_path(tmp_path / system / "scores" / "vox1.o"), np.float32(values))
    told = [["a+snorm and a+asnorm", "the same scores on vox1.o, to the last digit"]]
    assert facts.losses(tmp_path, tmp_path / "data", ["a", "a+snorm", "a+asnorm"]) == told


def test_a_network_that_began_with_one_of_the_evaluation_speakers_is_told(tmp_path):
    for name, speakers in (("old", "abc"), ("test", "cd"), ("enroll", "de")):
        data_dir = DataDir(tmp_path / "data" / name)
        data_dir.write_speakers({f"{speaker}-1": speaker for speaker in speakers})
    earlier, network = tmp_path / "exp/earlier/final.pt", tmp_path / "exp/a/final.pt"
    both = {earlier: [tmp_path / "data/old/utt2spk"], network: [earlier, tmp_path / "data/test/utt2spk"]}
    for path, inputs in both.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        write_made(path, describe("train_tdnn", {}, inputs))
    (told,) = facts.losses(tmp_path / "exp", tmp_path / "data", ["a", "earlier"])
    assert told[0] == "a"
    assert told[1].startswith(f"1 of 3 evaluation speakers (first: c) are in {tmp_path}/data/old/utt2spk, which ")


def test_what_is_true_of_several_systems_is_said_once(tmp_path):
    for system in ("a", "c"):
        (tmp_path / system).mkdir()
        models = {"lists": {"l": [{"doubts": ["3 target trials, fewer than 30"]}]}}
        (tmp_path / system / "calibration.json").write_text(json.dumps(models))
    results = made_up({"a": 5.0, "b": 6.0, "c": 7.0}, {})
    assert report_tool.losses(report_tool.Options(), tmp_path, tmp_path / "data", results) == [
        ["a and c", "calibrated on 3 target trials, fewer than 30"],
        ["b", "scores on l are no log-likelihood ratios: Cllr 1.500, where 1 says nothing (calibrate)"],
    ]


def test_where_the_time_goes(tmp_path):
    """Two networks side by side: the shorter one is hidden by the longer one for the seconds that both ran."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/stages.jsonl").write_text(
        '{"stage": "networks", "title": "a", "start": 100.0, "seconds": 20.0}\n'
        '{"stage": "networks", "title": "b", "start": 105.0, "seconds": 30.0}\n'
        '{"stage": "scores", "title": "a", "start": 135.0, "seconds": 2.0}\n'
    )
    (tmp_path / "log/usage.jsonl").write_text(
        '{"stage": "networks", "title": "a", "tool": "t", "cpu_seconds": 15.0, "peak_mb": 10.0}\n'
        '{"stage": "networks", "title": "b", "tool": "t", "cpu_seconds": 35.0, "peak_mb": 9.0}\n'
        '{"stage": "report", "title": "report of all", "tool": "r", "cpu_seconds": 1.0, "peak_mb": 1.0}\n'
        '{"stage": "", "title": "", "tool": "check", "cpu_seconds": 1.0, "peak_mb": 2.0}\n'
    )
    assert facts.stages_table(costs.by_stage(tmp_path)) == [
        ["stage", "wall s", "processor s", "waiting s", "hidden s", "peak MB", "of tool"],
        ["networks a", "20.0", "15.0", "5.0", "15.0 (75 %)", "10", "t"],
        ["networks b", "30.0", "35.0", "0.0", "0.0", "9", "t"],
        ["scores a", "2.0", "", "", "0.0", "", ""],
        ["report of all", "-", "1.0", "", "", "1", "r"],
        ["before the first stage", "-", "1.0", "", "", "2", "check"],
        ["all", "37.0", "52.0", "", "", "10", "t"],
    ]


def test_values_in_order():
    assert sorted(["10-20", "<2", "160+", "2-5", "unknown", "5-10"], key=report.numeric) == [
        "<2",
        "2-5",
        "5-10",
        "10-20",
        "160+",
        "unknown",
    ]


def test_names_may_break_and_text_is_escaped():
    blocks = document.environment().get_template("blocks.html").module
    text = blocks.table([["s", "x"], ["a+b<c>", "1<2"]], classes={"a+b<c>": "best"})
    assert '<tr class="best"><td>a+<wbr>b&lt;c&gt;</td><td>1&lt;2</td></tr>' in text


def test_stages_add_up(tmp_path, monkeypatch):
    (tmp_path / "log").mkdir()
    monkeypatch.setenv("PYASP_USAGE", str(tmp_path / "log/usage.jsonl"))
    monkeypatch.setenv("PYASP_STAGE", "networks")
    monkeypatch.setenv("PYASP_STAGE_TITLE", "TDNN")
    costs.record_costs("train_tdnn")
    (row,) = costs.by_stage(tmp_path)
    assert (
        (row["stage"], row["title"]) == ("networks", "TDNN")
        and row["tool"] == "train_tdnn"
        and row["peak_mb"] > 10
        and row["seconds"] is None
    )
    assert facts.stages_table(costs.by_stage(tmp_path))[1][0] == "networks TDNN"


def test_attention_weights_lie_where_the_speech_is():
    net = Network(
        ArchitectureOptions(
            pooling="attention", frame_dim=8, pooling_dim=8, attention_dim=4, embedding_dim=4, segment_dim=4
        ),
        5,
        3,
    ).eval()
    generator = np.random.default_rng(0)
    voiced = np.zeros(60, bool)
    voiced[10:50] = True
    weights = frame_weights(net, generator.normal(size=(40, 5)).astype(np.float32), voiced)
    inside = np.flatnonzero(np.isfinite(weights))
    assert inside.tolist() == list(range(17, 43)) and np.nanmean(weights) == pytest.approx(1.0, abs=1e-5)
    assert np.nanstd(weights) > 0


def test_a_tone_is_seen_at_its_frequency():
    rate, frames = 8000, 100
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate) * 1000
    image = spectrogram(tone, rate, frames)
    assert image.shape == (BINS, frames)
    assert np.all(np.abs(image[:, 10:90].argmax(axis=0) - BINS / 4) <= 1)

"""Evaluation and report: one set of numbers in metrics.json, results.json, RESULTS.md and on screen; no stale ones."""

import json
import re

import numpy as np
import pytest
from report_cells import cost_cell, eer_cell

from pyasp.bin import evaluate as evaluate_tool
from pyasp.bin import report as report_tool
from pyasp.core.records import describe, making
from pyasp.core.text import as_markdown, as_text, cost, grouped, percent
from pyasp.evaluation import llr
from pyasp.report import results as report
from pyasp.report.paper import PAPER

LISTS = {"cc1": 300, "cc2": 400}


def write_scores(root, system, name, seed, separation=2.0):
    """Scores of a list as the score tool leaves them, record included."""
    lines = [line.split() for line in (root / "trials" / name).read_text().splitlines()]
    target = np.array([label == "target" for _, _, label in lines])
    values = np.random.default_rng(seed).normal(size=len(lines)) + separation * target
    (root / "exp" / system / "scores").mkdir(parents=True, exist_ok=True)
    path = root / "exp" / system / "scores" / name
    with making(path, describe("score", {"seed": seed}, [root / "backend"])) as temporary:
        temporary.write_text("".join(f"{m} {t} {v:.5f}\n" for (m, t, _), v in zip(lines, values)))
    return path


@pytest.fixture
def undrawn(monkeypatch):
    """Spares the tests of the figures the seconds of drawing."""
    monkeypatch.setattr(report_tool.figures, "draw_det", lambda curves, path: path.write_bytes(b"not drawn"))
    monkeypatch.setattr(report_tool.document, "render", lambda run: "not drawn")


@pytest.fixture
def root(tmp_path):
    """Two lists, cc2 with extra columns, scored by two systems."""
    (tmp_path / "trials").mkdir()
    (tmp_path / "backend").write_text("a back end")
    for name, size in LISTS.items():
        text = "".join(f"m{k % 7} t{k} {'target' if k % 4 == 0 else 'nontarget'}\n" for k in range(size))
        (tmp_path / "trials" / name).write_text(text)
    rows = "".join(f"{'known' if k % 4 == 0 or k % 3 else 'unknown'}\t{(30, 100, 300)[k % 3]}\n" for k in range(400))
    (tmp_path / "trials" / "cc2.tsv").write_text("known\tduration_class\n" + rows)
    for seed, system in enumerate(("ivector", "attentive_statistics")):
        for name in LISTS:
            write_scores(tmp_path, system, name, seed)
    return tmp_path


def evaluate(root, system, *options):
    return evaluate_tool.main([*options, str(root / "trials"), str(root / "exp" / system)])


def run_report(root, *systems, corpus="sre12", options=()):
    return report_tool.main([f"--corpus={corpus}", *options, str(root / "trials"), str(root / "exp"), *systems])


def both(root):
    assert evaluate(root, "ivector") == 0 and evaluate(root, "attentive_statistics") == 0


def test_metrics_of_a_system(root):
    assert evaluate(root, "ivector") == 0
    found = json.loads((root / "exp/ivector/metrics.json").read_text())
    entry = found["trials"]["cc2"]
    values = np.array([float(line.split()[2]) for line in (root / "exp/ivector/scores/cc2").read_text().splitlines()])
    target, number = np.arange(400) % 4 == 0, np.arange(400)
    expected = llr.summarise(values, target)[0]
    assert {key: entry[key] for key in expected} == expected and (entry["n_target"], entry["n_nontarget"]) == (100, 300)
    short = number % 3 == 0
    assert entry["by"]["duration_class"]["30"] == llr.summarise(values[short], target[short])[0]
    unknown = entry["by"]["known"]["unknown"]  # nontargets only: counted, no figures
    assert unknown["eer"] is None and unknown["min_dcf"] == {"0.01": None, "0.001": None} and unknown["n_target"] == 0
    assert found["trials"]["cc1"]["by"] == {} and set(found["det"]) == set(LISTS)


def test_results_json_has_the_schema(root):
    both(root)
    assert run_report(root, "ivector", "attentive_statistics") == 0
    results = json.loads((root / "exp/results.json").read_text())
    assert set(results) == {"corpus", "systems", "paired"} and list(results["systems"]) == [
        "ivector",
        "attentive_statistics",
    ]
    for system in results["systems"].values():
        for entry in system["trials"].values():
            assert {"eer", "min_dcf", "n_target", "n_nontarget", "by"} <= set(entry)
            assert set(entry["min_dcf"]) == {"0.01", "0.001"}
    assert (root / "exp/det.png").read_bytes().startswith(b"\x89PNG")
    for name in ("results.json", "RESULTS.md", "det.png"):
        assert (root / f"exp/{name}.made.json").is_file()


def test_how_hard_drawn_trials_are_stands_with_their_number(root, monkeypatch):
    assert evaluate(root, "ivector") == 0
    pages = []
    monkeypatch.setattr(report_tool.figures, "draw_det", lambda curves, path: path.write_bytes(b"not drawn"))
    monkeypatch.setattr(
        report_tool.document, "render", lambda run: pages.append(report.trials_in_words(run.results, "cc1")) or "page"
    )
    assert run_report(root, "ivector") == 0
    (root / "prep.json").write_text(json.dumps({"drawn": "225 of 225 nontargets are of one gender"}))
    assert run_report(root, "ivector") == 0
    told = "75 target and 225 nontarget trials."
    assert pages == [told, f"{told} Drawn: 225 of 225 nontargets are of one gender."]
    assert f"## cc1\n\n{pages[1]}\n" in (root / "exp/RESULTS.md").read_text()


def test_screen_markdown_and_json_agree_to_the_digit(root, capsys, undrawn):
    both(root)
    capsys.readouterr()
    assert run_report(root, "ivector", "attentive_statistics") == 0
    shown, written = capsys.readouterr().out, (root / "exp/RESULTS.md").read_text()
    for system, each in json.loads((root / "exp/results.json").read_text())["systems"].items():
        for name, entry in each["trials"].items():
            costs = [cost_cell(entry, prior) for prior in ("0.01", "0.001")]
            cells = [system, eer_cell(entry), *costs, f"{LISTS[name]}"]
            assert (
                re.search(r"^" + r" +".join(map(re.escape, cells)) + "$", shown, re.M)
                and f"| {' | '.join(cells)} |" in written
            )
            for group in entry["by"].get("duration_class", {}).values():
                assert eer_cell(group) in shown and eer_cell(group) in written
    assert "100 target and 300 nontarget trials" in shown and "limits 54.8 and 173.2 s" in shown
    first = json.loads((root / "exp/results.json").read_text())["systems"]["ivector"]["trials"]["cc1"]
    assert f"EER {eer_cell(first)} % (300 trials)" in shown and "*: hangs on fewer than 30 misses" in shown
    assert "minDCF(p=0.01, C_miss=1, C_fa=1, normalised)" in shown
    assert "as printed there.\n\nIntervals, calibration and more tables: " in shown
    last = shown.rstrip().splitlines()[-2:]  # the report is the last thing on screen, and what to do next
    assert last[0].endswith("exp/report.html") and "pyasp bundle " in last[1]


def test_paper_rows_only_on_the_papers_trials(root, capsys, undrawn):
    both(root)
    assert run_report(root, "ivector", "attentive_statistics") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ivector \(paper\) +1.50 +0.169 +0.291$", shown, re.M)
    assert re.search(r"^attentive_statistics \(paper\) +2.46 +1.07 +0.80$", shown, re.M)
    first, second = shown[: shown.index("cc2:")], shown[shown.index("cc2:") :]
    assert "(paper)" not in first and second.count("(paper)") == 4
    (root / "exp/results.json").unlink()
    for corpus in ("toy_sre12", "toy", "folder", "tel8k", "voxceleb"):
        assert run_report(root, "ivector", corpus=corpus) == 0
        text = capsys.readouterr().out + (root / "exp/RESULTS.md").read_text()
        assert "(paper)" not in text and 'marked "paper"' not in text


def test_paper_tables():
    """Table 1 and 3 as printed; the relative gain the paper quotes follows from them."""
    rows = PAPER["voxceleb"][1]
    assert round(100 * (1 - rows["attentive_statistics"].eer / rows["statistics"].eer), 1) == 8.1
    assert PAPER["voxceleb"][0] == "veri_test" and PAPER["sre12"][0] == "cc2"
    assert all(len(rows) == 5 for _, rows in PAPER.values())
    assert [row.eer for row in PAPER["sre12"][1].values()] == [1.50, 2.57, 1.99, 1.58, 1.47]


def test_old_metrics_are_not_reported(root, capsys, undrawn):
    both(root)
    write_scores(root, "ivector", "cc1", seed=9)
    assert run_report(root, "ivector") == 1
    assert "out-of-date" in capsys.readouterr().err and not (root / "exp/results.json").exists()
    assert evaluate(root, "ivector") == 1 and evaluate(root, "ivector", "--force=true") == 0
    assert run_report(root, "ivector") == 0


def test_scores_older_than_the_back_end_are_not_evaluated(root, capsys):
    both(root)
    (root / "backend").write_text("another back end")
    assert evaluate(root, "ivector", "--force=true") == 1 and run_report(root, "ivector") == 1
    assert capsys.readouterr().err.count("Run stage scores again") == 2


def test_metrics_of_other_priors_are_not_reported(root, capsys, undrawn):
    assert evaluate(root, "ivector", "--p-target=0.05") == 0
    assert list(json.loads((root / "exp/ivector/metrics.json").read_text())["trials"]["cc1"]["min_dcf"]) == ["0.05"]
    assert run_report(root, "ivector") == 1 and "--p-target" in capsys.readouterr().err
    assert run_report(root, "ivector", options=("--p-target=0.05",)) == 0
    assert "minDCF(0.05)" in capsys.readouterr().out


def test_systems_of_an_earlier_report_stay_while_up_to_date(root, capsys, undrawn):
    both(root)
    assert run_report(root, "ivector") == 0 and run_report(root, "attentive_statistics") == 0
    assert list(json.loads((root / "exp/results.json").read_text())["systems"]) == ["ivector", "attentive_statistics"]
    write_scores(root, "ivector", "cc1", seed=9)
    assert run_report(root, "attentive_statistics") == 0
    assert "ivector of the earlier report is left out" in capsys.readouterr().out
    assert list(json.loads((root / "exp/results.json").read_text())["systems"]) == ["attentive_statistics"]


def test_a_system_without_some_list(root, capsys, undrawn):
    (root / "exp/ivector/scores/cc1").unlink()
    assert evaluate(root, "ivector") == 0 and "done 1 of 2 lists; not scored: cc1" in capsys.readouterr().out
    assert evaluate(root, "attentive_statistics") == 0 and run_report(root, "ivector", "attentive_statistics") == 0
    results = json.loads((root / "exp/results.json").read_text())
    assert list(report.entries(results, "cc1")) == ["attentive_statistics"]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda root: (root / "exp/ivector/scores/cc1").write_text("m0 t0 1\n"), "line 2: found 'the end of the file'"),
        (lambda root: [path.unlink() for path in (root / "exp/ivector/scores").iterdir()], "no score file of any list"),
        (lambda root: (root / "trials/cc2.tsv").write_text("known\nx\n"), "1 lines after the header; expected 400"),
    ],
)
def test_evaluation_refuses(root, capsys, damage, message):
    damage(root)
    assert evaluate(root, "ivector") == 1 and message in capsys.readouterr().err
    assert not (root / "exp/ivector/metrics.json").exists()


def test_a_report_makes_metrics_that_are_not_there_and_names_a_system_without_scores(root, capsys, undrawn):
    assert run_report(root, "ivector") == 0 and "up to date" not in capsys.readouterr().err
    assert json.loads((root / "exp/ivector/metrics.json").read_text())["trials"].keys() == LISTS.keys()
    assert run_report(root, "ivector", "average") == 1
    assert "Run stage scores again (./run.sh ... --stage scores)" in capsys.readouterr().err


def test_a_report_takes_the_variants_of_the_conf_that_have_scores(root, capsys, undrawn):
    (root / "conf").mkdir()
    (root / "conf/backend.conf").write_text("--variant=snorm\n--variant=cosine\n--fuse=ivector+average\n")
    for name in ("ivector+snorm", "fusion:ivector+average"):
        write_scores(root, name, "cc1", 5)
    (root / "exp/average/scores").mkdir(parents=True)
    assert run_report(root, "ivector", options=(f"--conf={root / 'conf'}",)) == 0
    assert "no scores, left out: ivector+cosine" in capsys.readouterr().err
    systems = json.loads((root / "exp/results.json").read_text())["systems"]
    assert list(systems) == ["ivector", "ivector+snorm", "fusion:ivector+average"]


def test_numbers():
    assert (grouped(37720), grouped(100), grouped(1234567)) == ("37 720", "100", "1 234 567")
    assert (percent(3.1251), cost(0.47949)) == ("3.13", "0.479")
    assert (percent(None), cost(None)) == ("-", "-")


def test_tables_line_up():
    text = as_text([["system", "EER %"], ["a", "10.00"], ["longer", "3.00"]])
    assert text == "system  EER %\na       10.00\nlonger   3.00"
    assert as_markdown([["s", "x"], ["a|b", "1"]]) == "| s | x |\n| --- | ---: |\n| a\\|b | 1 |"


def test_the_next_step_is_one_that_gives_decisions():
    """Cosines without a calibration have no threshold: `verify` would refuse the model."""
    lost = [["a and b", f"{report.BY_COSINE}, which --scoring=auto chose"]]
    entry = {"trials": {"l": {"eer": 1.0}}}
    results = {"systems": {"a": entry, "b": entry, "b+cal": entry, "c": entry}, "losses": lost}
    use = "model; pyasp verify --model model A.wav -- B.wav"
    for system in ("b", "c"):
        assert report.next_step(results, "exp", "data/trials", system) == f"pyasp bundle exp/{system} {use}"
    first = "pyasp evaluate --calibration map.json data/trials/l exp/a/scores/l; "
    told = f"{first}pyasp bundle --calibration map.json exp/a {use}"
    assert report.next_step(results, "exp", "data/trials", "a") == told

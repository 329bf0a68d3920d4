from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

THREADS = ["--site-set", "executor=threads", "--site-set", "workers=2"]


def test_compare_prints_a_table_and_keeps_everything(folder: Path, dhflow: Any) -> None:
    line = ["compare", "digits.py", *THREADS, "--searchers", "random,lhs", "--repeats", "2", "--trials", "8"]
    ran = dhflow(*line, "--threshold", "0.98", "--json", "out.json")
    assert ran.code == 0, ran.err
    assert "the problem: 2 repeats; accuracy is maximized" in ran.out
    rows = dict(re.findall(r"^  (random|lhs) +(.*)$", ran.out, re.MULTILINE))
    assert list(rows) == ["random", "lhs"]
    assert re.match(r"\d\.\d\d +0\.9\d+ ± \S+ +0\.9\d+ +1 ", rows["random"])
    assert "good trials" in ran.out
    assert "run 4: lhs, repeat 1: best 0.9" in ran.err
    data = json.loads((folder / "out.json").read_text())
    assert data == json.loads((folder / "digits-compare" / "comparison.json").read_text())
    assert [each["searcher"] for each in data["summary"]] == ["random", "lhs"]
    assert {each["trials"] for each in data["summary"]} == {8.0}
    assert (folder / "digits-compare" / "ranks.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "digits-compare" / "lhs" / "001.h5").exists()
    again = dhflow(*line, "--no-progress")
    assert again.code == 0
    assert not again.err
    assert re.search(r"^  lhs .*", again.out, re.MULTILINE).group().split()[:3] == ["lhs", *rows["lhs"].split()[:2]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--searchers", "randon"], "did you mean 'random'"),
        (["--searchers", "random:kappa=1"], "it has no options"),
        (["--resample-split"], "does not say how its data are split anew"),
        (["--baseline", "ambs", "--searchers", "random"], "none of: first, best, random"),
        (["--site", "laptpo"], "did you mean 'laptop'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    folder: Path, dhflow: Any, options: list[str], complaint: str
) -> None:
    ran = dhflow("compare", "digits.py", "--trials", "2", "--repeats", "1", *options)
    assert ran.code == 1
    assert complaint in ran.err


def test_an_interrupted_comparison_says_how_to_go_on(
    folder: Path, start: Callable[..., subprocess.Popen[str]], dhflow: Any
) -> None:
    problem = folder / "digits.py"
    problem.write_text(problem.read_text().replace('print("training", trial.seed)', "import time; time.sleep(0.02)"))
    line = ["compare", "digits.py", *THREADS, "--searchers", "random", "--repeats", "2", "--trials", "60"]
    process = start(*line, cwd=folder)
    assert process.stderr is not None
    assert "run 1: random, repeat 0" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "What is done is in digits-compare: the same command goes on from there" in err
    done = (folder / "digits-compare" / "random" / "000.json").read_text()
    assert dhflow(*line, "--no-progress").code == 0
    assert (folder / "digits-compare" / "random" / "000.json").read_text() == done
    assert len(json.loads((folder / "digits-compare" / "comparison.json").read_text())["runs"][1]["values"]) == 60


def test_compare_helps(dhflow: Any) -> None:
    assert "--resample-split" in dhflow("compare", "--help").out

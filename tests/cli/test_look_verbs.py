from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import Budget, Float, SearchSpace, Study, load
from dhflow.cli.describe import best_trials, failure_groups
from dhflow.trial import TrialSource, TrialStatus

THREADS = ["--site-set", "executor=threads", "--site-set", "workers=2"]


# show -------------------------------------------------------------------------------------------


def test_show_gives_the_overview(finished: Path, dhflow: Any) -> None:
    ran = dhflow("show", finished, "--top", "3")
    result = load(finished)
    assert ran.code == 0
    assert f"{len(result)}: " in ran.out
    assert f"{result.n_failed} failed" in ran.out
    assert "seed=1" in ran.out
    assert re.search(r"workers +2 workers, \d+% busy", ran.out)
    assert "max_trials was reached" in ran.out
    rows = re.findall(r"^  (\d+) +(0\.\d+) .*learning_rate=", ran.out, re.MULTILINE)
    assert [int(each) for each, _ in rows] == [each.trial_id for each in best_trials(result, 3)]
    line = (finished.parent / "digits.py").read_text().partition("raise ValueError")[0].count("\n") + 1
    assert f" × ValueError: four layers are too many at {finished.parent / 'digits.py'}:{line} (trial" in ran.out


def test_the_best_come_first(finished: Path) -> None:
    result = load(finished)
    values = [each.values["accuracy"] for each in best_trials(result, 1000)]
    assert values == sorted(values, reverse=True)
    assert len(values) == sum(each.status is TrialStatus.COMPLETED for each in result)
    assert best_trials(result, 1)[0].trial_id == result.best.trial_id


def test_show_failed_gives_each_traceback_once(finished: Path, dhflow: Any) -> None:
    ran = dhflow("show", finished, "--failed")
    (group,) = failure_groups(load(finished))
    assert ran.out.count("Traceback (most recent call last)") == 1
    assert 'raise ValueError("four layers are too many")' in ran.out
    assert f"{len(group.trial_ids)} × ValueError" in ran.out
    assert group.trial_ids == [each.trial_id for each in load(finished) if each.status is TrialStatus.FAILED]


def test_show_trial_gives_config_output_and_curve(finished: Path, dhflow: Any) -> None:
    result = load(finished)
    ran = dhflow("show", finished, "--trial", result.best.trial_id)
    assert ran.code == 0
    for name, value in result.best.config.items():
        assert re.search(
            rf"^  {name} +{value if not isinstance(value, float) else f'{value:.6g}'}$", ran.out, re.MULTILINE
        )
    assert f"| training {result.best.seed}" in ran.out
    assert re.search(r"^  2 +0\.5$", ran.out, re.MULTILINE)
    failed = next(each for each in result if each.status is TrialStatus.FAILED)
    assert "four layers are too many" in dhflow("show", finished, "--trial", failed.trial_id).out
    strange = dhflow("show", finished, "--trial", "999")
    assert strange.code == 1
    assert "no trial 999: it has trials 0 to 24" in strange.err


def test_show_json_is_for_programs(finished: Path, dhflow: Any) -> None:
    result = load(finished)
    data = json.loads(dhflow("show", finished, "--json", "--top", "2").out)
    assert [each["trial_id"] for each in data["top"]] == [each.trial_id for each in best_trials(result, 2)]
    assert sum(data["status"].values()) == len(result)
    assert data["summary"]["best"] == result.best.objective
    assert data["failures"][0]["kind"] == "ValueError"
    assert data["utilisation"]["n_workers"] == 2
    assert data["sessions"][0]["reason"] == "max_trials was reached"
    trial = json.loads(dhflow("show", finished, "--json", "--trial", "0").out)
    assert trial["config"] == dict(result.trials[0].config)
    assert [each["value"] for each in trial["curve"]] == [0.25, 0.5]
    assert Path(trial["attempts"][0]["directory"]).is_dir()


def test_show_works_while_a_search_writes(
    folder: Path, start: Callable[..., subprocess.Popen[str]], dhflow: Any
) -> None:
    problem = folder / "digits.py"
    problem.write_text(problem.read_text().replace('print("training", trial.seed)', "import time; time.sleep(0.1)"))
    process = start("search", "digits.py", *THREADS, "--searcher", "random", "--max-trials", "400", cwd=folder)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "best accuracy" in line:
                break
        ran = dhflow("show", "digits.h5")
        assert ran.code == 0
        assert f"not yet: process {process.pid} on" in ran.out
        assert "running" in ran.out
        assert "best" in ran.out
        assert dhflow("export", "digits.h5", "live.csv").code == 0
        added = dhflow("enqueue", "digits.h5", "--like", "default")
        assert (added.code, added.err) == (0, "")
        number = int(added.out.split()[1])
        assert "is enqueued" in added.out
        assert load("digits.h5").record.trials[number].source is TrialSource.USER
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_driver_that_was_killed_is_not_said_to_run(
    folder: Path, start: Callable[..., subprocess.Popen[str]], dhflow: Any
) -> None:
    process = start("search", "digits.py", *THREADS, "--searcher", "random", "--wall-time", "1h", cwd=folder)
    assert process.stderr is not None
    for line in process.stderr:
        if "best accuracy" in line:
            break
    process.kill()
    process.communicate(timeout=60)
    ran = dhflow("show", "digits.h5")
    assert ran.code == 0
    assert "its driver died; resume goes on with it" in ran.out
    more = str(len(load("digits.h5")) + 2)
    assert dhflow("resume", "digits.h5", "--wall-time", "none", "--max-trials", more, "--no-progress").code == 0
    assert all(each.is_finished for each in load("digits.h5"))


def test_an_empty_history_can_be_shown(folder: Path, dhflow: Any) -> None:
    from dhflow import Float, SearchSpace, Study

    # Open: one that is closed without a trial is removed.
    with Study(SearchSpace({"x": Float(0, 1)}), history="empty.h5", searcher="random"):
        ran = dhflow("show", "empty.h5")
        assert ran.code == 0
        assert "none yet" in ran.out
        assert dhflow("show", "empty.h5", "--failed").out.startswith("nothing failed")
        assert json.loads(dhflow("show", "empty.h5", "--json").out)["summary"]["best"] is None
        assert dhflow("plot", "empty.h5").code == 1


# export, plot, sites ------------------------------------------------------------------------------


def test_export_writes_a_row_per_trial(finished: Path, dhflow: Any, folder: Path) -> None:
    assert dhflow("export", finished, "out.csv").out == "25 trials in out.csv\n"
    rows = list(csv.DictReader((folder / "out.csv").read_text().splitlines()))
    assert len(rows) == 25
    assert float(rows[0]["config.learning_rate"]) == load(finished).trials[0].config["learning_rate"]
    assert dhflow("export", finished, "out.json").code == 0
    assert len(json.loads((folder / "out.json").read_text())) == 25
    wrong = dhflow("export", finished, "out.xlsx")
    assert wrong.code == 1
    assert ".parquet" in wrong.err


def test_plot_draws_beside_or_where_it_is_told(finished: Path, dhflow: Any, folder: Path) -> None:
    assert dhflow("plot", finished, "--kind", "timeline").out == "digits-timeline.png\n"
    assert (folder / "digits-timeline.png").exists()
    assert dhflow("plot", finished, "-o", "a.svg").out == "a.svg\n"
    assert (folder / "a.svg").exists()
    assert dhflow("plot", finished, "-o", "a.txt").code == 1


def test_sites_are_listed_with_their_arguments(dhflow: Any, folder: Path) -> None:
    from dhflow.flow.site import site_names

    ran = dhflow("sites")
    assert ran.code == 0
    for name in site_names():
        assert re.search(rf"^{name}  \S", ran.out, re.MULTILINE)
    assert re.search(r"^  workers +int +default None$", ran.out, re.MULTILINE)
    (folder / "mine.py").write_text(
        '"""My cluster."""\n\ndef make_config(*, account: str, nodes: int = 2):\n    raise SystemExit\n'
    )
    own = dhflow("sites", "mine.py")
    assert own.out.splitlines()[0] == "mine.py  My cluster."
    assert re.search(r"^  account +str +required$", own.out, re.MULTILINE)
    assert re.search(r"^  nodes +int +default 2$", own.out, re.MULTILINE)


# enqueue -----------------------------------------------------------------------------------------


@pytest.fixture
def small(folder: Path, dhflow: Any) -> str:
    search = ["search", "digits.py", *THREADS, "--searcher", "random", "--seed", "2", "--max-trials", "3"]
    assert dhflow(*search, "--no-progress").code == 0
    return "digits.h5"


def test_an_enqueued_config_runs_first_at_resume(small: str, dhflow: Any) -> None:
    added = dhflow("enqueue", small, "learning_rate=0.01", "layers=1", "optimizer=sgd", "momentum=0")
    assert added.code == 0
    assert "trial 3 will run first: learning_rate=0.01 layers=1 optimizer=sgd momentum=0" in added.out
    assert dhflow("resume", small, "--max-trials", "5", "--no-progress").code == 0
    trial = load(small).trials[3]
    assert trial.source.value == "user"
    assert trial.objective == pytest.approx(0.99)
    assert trial.config["momentum"] == 0.0


def test_a_study_with_a_budget_takes_a_config_too(tmp_path: Path, dhflow: Any) -> None:
    history = tmp_path / "h.h5"
    space = SearchSpace({"x": Float(0.0, 1.0)})
    with Study(space, searcher="asha", seed=1, history=history, budget=Budget("epochs", 1, 9)) as study:
        study.tell(study.ask(), 1.0)
    assert dhflow("enqueue", str(history), "x=0.25").code == 0
    assert load(history).trials[1].config == {"x": 0.25}


def test_what_is_not_given_comes_from_a_trial(small: str, dhflow: Any) -> None:
    dhflow("enqueue", small, "--like", "default", "optimizer=adam", "layers=2")
    result = load(small)
    assert result.default is not None
    # A parameter that the change switches off goes.
    assert dict(result.trials[3].config) == {
        "learning_rate": result.default.config["learning_rate"],
        "layers": 2,
        "optimizer": "adam",
    }
    dhflow("enqueue", small, "--like", "3", "optimizer=sgd")
    # One that it switches on has its default.
    assert load(small).trials[4].config["momentum"] == result.space.parameters["momentum"].default
    assert dhflow("enqueue", small, "--like", "best").code == 0
    assert dict(load(small).trials[5].config) == dict(result.best.config)


@pytest.mark.parametrize(
    ("settings", "code", "complaint"),
    [
        (["layers=2"], 1, "learning_rate: is missing"),
        (["--like", "default", "layers=9"], 1, "layers: 9"),
        (["--like", "default", "layer=2"], 1, "did you mean 'layers'?"),
        (["--like", "default", "optimizer=adam", "momentum=0.5"], 1, "momentum: is given but inactive"),
        (["--like", "default", "optimizer=adamw"], 1, "optimizer: 'adamw'"),
        (["--like", "99"], 1, "no trial 99"),
        (["--like", "worst"], 2, "a trial's number, best or default"),
        (["layers"], 2, "write name=value"),
    ],
)
def test_a_wrong_config_is_not_added(small: str, dhflow: Any, settings: list[str], code: int, complaint: str) -> None:
    ran = dhflow("enqueue", small, *settings)
    assert ran.code == code
    assert complaint in ran.err
    assert len(load(small)) == 3


def test_code_constraints_are_those_of_the_problem(folder: Path, dhflow: Any) -> None:
    problem = folder / "digits.py"
    text = (
        problem.read_text()
        .replace("\n})", "\n}, constraints=[few])", 1)
        .replace("space = SearchSpace", "def few(config):\n    return config['layers'] < 4\n\nspace = SearchSpace", 1)
    )
    problem.write_text(text)
    search = ["search", "digits.py", *THREADS, "--searcher", "random", "--max-trials", "2", "--no-progress"]
    assert dhflow(*search).code == 0
    refused = dhflow("enqueue", "digits.h5", "--like", "default", "layers=4")
    assert refused.code == 1
    assert "'few' refuses" in refused.err
    assert dhflow("enqueue", "digits.h5", "--like", "default", "layers=3").code == 0

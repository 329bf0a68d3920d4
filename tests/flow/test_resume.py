from __future__ import annotations

from pathlib import Path

import pytest

from dhflow import Budget, Categorical, Float, Integer, SearchSpace, Study, TrialStatus
from dhflow.flow.outcome import INTERRUPTED
from dhflow.flow.resume import recovered, replay
from dhflow.flow.run_directory import RunDirectory, run_path
from dhflow.history.event import AttemptEnded, SessionEnded, fold
from dhflow.objective import Objective
from dhflow.searcher import make_searcher, searcher_names
from dhflow.testing.loop import LoopBench
from dhflow.train.attempt_directory import make_directory
from dhflow.train.curve import to_line
from dhflow.train.worker_notes import result_line
from dhflow.trial import TrialResult

SPACE = SearchSpace(
    {
        "x": Float(-1.0, 1.0),
        "n": Integer(1, 9, group="architecture"),
        "k": Categorical(["a", "b"], group="architecture"),
        "m": Float(0.0, 1.0, when={"k": "a"}),
    },
)


def test_results_that_workers_had_written_are_harvested(tmp_path: Path) -> None:
    bench = LoopBench()
    bench.start(3)
    bench.complete(0)
    history = tmp_path / "h.h5"
    directory = RunDirectory(history)
    result = TrialResult(1, 1, TrialStatus.COMPLETED, 5.0, 6.0, values={"objective": 0.25})
    (directory.workers / "node-7.jsonl").write_bytes(result_line(result))
    make_directory(directory.attempt(1, 1))
    Path(directory.attempt(1, 1), "records.jsonl").write_bytes(to_line((3, 5.5, {"loss": 0.5})))
    record = fold(bench.journal)
    events = recovered(record, history, (Objective(),))
    ended = {each.trial_id: each for each in events if isinstance(each, AttemptEnded)}
    assert set(ended) == set(bench.loop.running)
    assert ended[1].trial_status is TrialStatus.COMPLETED
    assert ended[1].values == {"objective": 0.25}
    assert [each.step for each in ended[1].measurements] == [3]
    assert ended[1].outcome_number == record.n_outcomes
    others = [each for trial_id, each in ended.items() if trial_id != 1]
    assert all(each.trial_status is TrialStatus.PENDING for each in others)
    assert all(each.attempt.failure.kind == INTERRUPTED for each in others)
    after = fold(events, record)
    assert after.n_outcomes == 2
    assert not any(each.status is TrialStatus.RUNNING for each in after.trials.values())


def test_a_study_closed_in_order_needs_no_recovery(tmp_path: Path) -> None:
    with Study(SPACE, searcher="random", seed=1, history=tmp_path / "h.h5") as study:
        study.tell(study.ask(), 1.0)
        assert recovered(study.record, tmp_path / "h.h5", study.objectives) == []
        assert not any(isinstance(each, SessionEnded) for each in recovered(study.record, tmp_path / "h.h5", ()))


@pytest.mark.parametrize("name", searcher_names())
def test_a_replayed_searcher_asks_as_the_one_that_lived(name: str) -> None:
    study = Study(SPACE, searcher=name, seed=3, budget=Budget("epochs", 1, 27))
    open_trials = []
    for step in range(40):
        open_trials.append(study.ask())
        if len(open_trials) == 4:
            # Out of order, as workers are.
            trial = open_trials.pop(step % 4)
            study.tell(trial, trial.config["x"] ** 2 + trial.config["n"])
    fresh = make_searcher(name, SPACE, seed=3, budget_range=(1, 27))
    replay(fresh, study.record)
    pending = [each for each in study.trials if not each.is_finished]
    study.searcher.tell(study._untold)  # the living one is told at its next ask
    assert [each.config for each in fresh.ask(3, pending)] == [each.config for each in study.searcher.ask(3, pending)]


def test_run_directories_keep_what_is_asked_for(tmp_path: Path) -> None:
    for keep, kept in (("all", {"0", "1"}), ("failed", {"1"}), ("none", set())):
        history = tmp_path / f"{keep}.h5"
        directory = RunDirectory(history, keep=keep)  # type: ignore[arg-type]
        bench = LoopBench(abort_after=None)
        bench.start(2)
        for trial_id in (0, 1):
            make_directory(directory.attempt(trial_id, 1))
        bench.complete(0)
        bench.fail(1)
        for trial in bench.told:
            directory.tidy(trial)
        trials = run_path(history) / "trials"
        assert {each.name for each in trials.iterdir()} == kept
        assert (run_path(history) / "owner.json").exists()
        directory.close()
        assert not (run_path(history) / "owner.json").exists()


def test_a_run_directory_without_a_history_vanishes() -> None:
    directory = RunDirectory(None)
    assert directory.path.is_dir()
    directory.close()
    assert not directory.path.exists()

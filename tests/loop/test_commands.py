"""What commands and the monitor's findings do to the loop."""

from __future__ import annotations

from typing import Any

import pytest

from dhflow.flow.limits import Limits
from dhflow.flow.message import Commanded, Finished, Instructions, Noted
from dhflow.flow.taking import AUTO
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.monitor.control import Control
from dhflow.testing.loop import WALL, LoopBench
from dhflow.trial import TrialResult, TrialSource, TrialStatus


def give(bench: LoopBench, command: str, trial_id: int | None = None, **arguments: Any) -> tuple[Instructions, Any]:
    """Give a command; return the instructions and the reply that was recorded."""
    todo = bench.step(Commanded(CommandTaken(0.0, command, trial_id, "me", arguments, {}, "c1")))
    (noted,) = (each for each in todo.records if isinstance(each, CommandTaken))
    assert (noted.at, noted.command_id, noted.origin) == (WALL + bench.clock.now, "c1", "me")
    return todo, noted.reply


def test_an_accepted_change_runs_before_the_searchers_and_has_no_parent() -> None:
    bench = LoopBench(limits=Limits(max_trials=9))
    bench.start(1)
    _, reply = give(bench, "accept", 0, config={"x": 7}, suggestion="clip_gradients", budget=3.0)
    assert reply == {"trial": 1}
    bench.complete(0)
    assert bench.submitted[-1] == (1, 1)
    made = bench.loop.record.trials[1]
    assert (made.source, made.parent_id, made.budget, dict(made.config)) == (TrialSource.ADVICE, None, 3.0, {"x": 7})
    assert made.meta == {"advice": {"trial": 0, "suggestion": "clip_gradients", "by": "me"}}
    assert give(bench, "add", config={"x": 8})[1] == {"trial": 2}
    assert bench.loop.record.trials[2].source is TrialSource.USER


def test_trials_that_are_made_by_themselves_keep_to_the_limits() -> None:
    bench = LoopBench(limits=Limits(max_trials=3))
    bench.start(1)

    def accept() -> Any:
        arguments = {"config": {"x": 7}, "suggestion": "clip_gradients"}
        todo = bench.step(Commanded(CommandTaken(0.0, "accept", 0, AUTO, arguments)))
        return next(each.reply for each in todo.records if isinstance(each, CommandTaken))

    bench.complete(0, answer=False)  # the searcher is asked for trial 1
    assert accept() == {"trial": 1}
    assert "max_trials" in accept()["error"]  # trial 2 will be the searcher's
    assert give(bench, "accept", 0, config={"x": 9}, suggestion="x")[1] == {"trial": 2}  # a user's own wish
    assert "max_trials was reached" in accept()["error"]


def test_stops_and_controls_are_for_running_trials_alone() -> None:
    bench = LoopBench(limits=Limits(max_trials=4))
    bench.start(2)
    todo, reply = give(bench, "stop", 1)
    assert (reply, [each.trial_id for each in todo.stop]) == ({"sent": True}, [1])
    todo, _ = give(bench, "control", 0, control="learning_rate", value=0.5, reason="r")
    assert [(trial.trial_id, control) for trial, control in todo.control] == [(0, Control("learning_rate", 0.5, "r"))]
    bench.complete(1)
    give(bench, "add", config={"x": 8})
    for trial_id, why in ((1, "has ended already: it is completed"), (9, "no trial 9"), (3, "does not run yet")):
        todo, reply = give(bench, "stop", trial_id)
        assert why in reply["error"]
        assert not todo.stop
    assert "there is no trial None" in give(bench, "stop")[1]["error"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("dance", {}), ("add", {}), ("control", {"control": "fly"}), ("control", {"control": "learning_rate"})],
)
def test_what_makes_no_sense_changes_nothing(command: str, arguments: dict[str, Any]) -> None:
    bench = LoopBench(limits=Limits(max_trials=2))
    bench.start(1)
    todo, reply = give(bench, command, 0, **arguments)
    assert reply["error"]
    assert not (todo.submit)
    assert not (todo.stop)
    assert not todo.control
    assert len(bench.loop.record.trials) == 1


def test_a_paused_loop_neither_asks_nor_submits_nor_ends() -> None:
    bench = LoopBench(limits=Limits(max_trials=3))
    bench.start(1)
    assert give(bench, "pause")[1] == {"paused": True}
    todo = bench.complete(0)
    assert not (todo.ask)
    assert not (todo.submit)
    assert not todo.finish
    give(bench, "add", config={"x": 8})
    assert bench.submitted == [(0, 1)]
    todo, reply = give(bench, "go_on")
    assert reply == {"paused": False}
    assert bench.submitted == [(0, 1), (1, 1)]
    bench.complete(1)
    bench.complete(2)
    assert bench.finished == "max_trials was reached"


def test_findings_go_into_the_history_of_trials_that_there_are() -> None:
    bench = LoopBench(limits=Limits(max_trials=1))
    bench.start(1)
    known, kept = FindingMade(0, 1, 2.0, {"rule": "overflow"}), RecordsKept(0, 1, ({"record": "data"},))
    todo = bench.step(Noted([known, FindingMade(7, 1, 2.0, {}), kept]))
    assert todo.records == [known, kept]


def test_what_comes_home_with_a_result_is_recorded_behind_it() -> None:
    bench = LoopBench(limits=Limits(max_trials=1))
    bench.start(1)
    finding, record = {"rule": "overflow"}, {"record": "data", "n_samples": 3}
    result = TrialResult(
        0, 1, TrialStatus.COMPLETED, WALL, WALL + 1, values={"objective": 1.0}, records=(record,), findings=(finding,)
    )
    todo = bench.step(Finished(result))
    assert todo.records[1:] == [FindingMade(0, 1, WALL + 1, finding), RecordsKept(0, 1, (record,))]

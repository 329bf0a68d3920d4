from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import SearchError
from dhflow.flow.limits import Limits
from dhflow.flow.loop import STOP_GRACE_S
from dhflow.flow.message import Enqueued, Finished, Slots, StopAsked, Suggested
from dhflow.history.event import fold
from dhflow.testing.loop import WALL, LoopBench
from dhflow.trial import Measurement, Suggestion, TrialResult, TrialSource, TrialStatus


def test_slots_are_filled_in_one_ask_and_each_completion_refills_one() -> None:
    bench = LoopBench()
    bench.start(4)
    assert bench.asked == [4]
    assert [each for each, _ in bench.submitted] == [0, 1, 2, 3]
    bench.complete(2)
    assert bench.asked == [4, 1]
    assert bench.submitted[-1] == (4, 1)
    assert set(bench.loop.running) == {0, 1, 3, 4}


def test_a_completion_is_recorded_told_and_announced_with_its_value() -> None:
    bench = LoopBench(direction="maximize")
    bench.start(1)
    bench.complete(0, 0.75)
    assert bench.told[0].values == {"objective": 0.75}
    assert bench.told[0].losses == (-0.75,)
    assert bench.told[0].outcome_number == 0
    assert bench.announced == bench.told
    attempt = bench.told[0].attempts[0]
    assert attempt.status is TrialStatus.COMPLETED
    assert attempt.submitted_at == WALL
    assert attempt.received_at == WALL + 1


def test_suggestions_record_which_ask_made_them_and_what_it_had_seen() -> None:
    bench = LoopBench()
    bench.start(2)
    bench.complete(0)
    assert (bench.loop.record.trials[1].ask_number, bench.loop.record.trials[1].ask_saw) == (0, 0)
    assert (bench.loop.record.trials[2].ask_number, bench.loop.record.trials[2].ask_saw) == (1, 1)


def test_max_trials_drains_and_finishes() -> None:
    bench = LoopBench(limits=Limits(max_trials=3))
    bench.start(2)
    bench.complete(0)
    assert len(bench.loop.record.trials) == 3
    bench.complete(1)
    assert bench.finished is None
    bench.complete(2)
    assert bench.finished == "max_trials was reached"
    assert len(bench.submitted) == 3


def test_max_budget_counts_full_budget_for_trials_without_one() -> None:
    bench = LoopBench(limits=Limits(max_budget=20.0), full_budget=9.0)
    bench.start(1)
    bench.complete(0)
    bench.complete(1)
    bench.complete(2)
    assert bench.finished == "max_budget was reached"


def test_target_stops_new_starts_but_lets_running_trials_finish() -> None:
    bench = LoopBench(limits=Limits(target=0.1), prefetch=2)
    bench.start(2)
    bench.complete(0, 0.05)
    assert bench.finished is None
    n_submitted = len(bench.submitted)
    for trial_id in list(bench.loop.running):
        bench.complete(trial_id, 1.0)
    assert bench.finished == "the target was reached"
    assert len(bench.submitted) == n_submitted
    assert any(each.status is TrialStatus.PENDING for each in bench.loop.record.trials.values())


def test_target_goes_by_the_users_direction() -> None:
    bench = LoopBench(limits=Limits(target=0.9), direction="maximize")
    bench.start(1)
    bench.complete(0, 0.5)
    assert bench.finished is None
    bench.complete(1, 0.95)
    assert bench.finished == "the target was reached"


def test_plateau_counts_trials_without_a_better_value() -> None:
    bench = LoopBench(limits=Limits(plateau=3))
    bench.start(1)
    for trial_id, value in enumerate([3.0, 2.0, 2.5, 2.6]):
        bench.complete(trial_id, value)
    assert bench.finished is None
    bench.complete(4, 2.0)
    assert bench.finished == "no better value in 3 trials"


def test_wall_time_asks_running_trials_to_stop_then_gives_them_up() -> None:
    bench = LoopBench(limits=Limits(wall_time_s=10))
    bench.start(2)
    assert bench.wake_at == 10.0
    bench.step(advance=10.0)
    assert sorted(bench.stopped) == [0, 1]
    assert bench.wake_at == 10.0 + STOP_GRACE_S
    bench.complete(0, advance=0.5)
    assert bench.finished is None
    bench.step(advance=STOP_GRACE_S)
    assert bench.finished == "the wall-time limit was reached"
    assert bench.loop.n_abandoned == 1
    left = bench.loop.record.trials[1]
    assert left.status is TrialStatus.PENDING
    assert left.attempts[0].status is TrialStatus.LOST
    assert len(bench.submitted) == 2


def test_node_hours_count_every_node() -> None:
    bench = LoopBench(limits=Limits(node_hours=1.0))
    bench.start(2, n_nodes=10)
    assert bench.loop.deadline == pytest.approx(360.0)


def test_a_late_result_of_an_attempt_given_up_changes_nothing() -> None:
    bench = LoopBench()
    bench.start(1)
    bench.step(StopAsked("enough"))
    bench.step(advance=2 * STOP_GRACE_S)
    before = dict(bench.loop.record.trials)
    late = TrialResult(0, 1, TrialStatus.COMPLETED, WALL, WALL, values={"objective": 1.0})
    bench.step(Finished(late))
    assert bench.loop.record.trials == before


def test_a_lost_trial_runs_again_before_new_ones_and_keeps_its_curve_in_the_journal() -> None:
    bench = LoopBench()
    bench.start(2)
    bench.lose(1, measurements=[Measurement(3, WALL, "loss", 0.5)])
    assert bench.submitted[-1] == (1, 2)
    assert bench.told == []
    trial = bench.loop.record.trials[1]
    assert [each.status for each in trial.attempts] == [TrialStatus.LOST, TrialStatus.RUNNING]
    ended = next(each for each in bench.journal if getattr(each, "measurements", ()))
    assert ended.measurements[0].step == 3


def test_a_trial_lost_in_every_attempt_is_told_as_lost() -> None:
    bench = LoopBench(max_attempts=3)
    bench.start(1)
    for _ in range(3):
        bench.lose(0)
    assert [each.status for each in bench.told] == [TrialStatus.LOST]
    assert len(bench.told[0].attempts) == 3


def test_an_attempt_given_up_at_a_sessions_end_does_not_count_against_its_trial() -> None:
    first = LoopBench(max_attempts=2)
    first.start(1)
    first.step(StopAsked("enough"))
    first.step(advance=2 * STOP_GRACE_S)
    second = LoopBench(max_attempts=2, record=fold(first.journal))
    second.step(Slots(1))
    assert second.submitted == [(0, 2)]
    second.lose(0)
    assert second.submitted[-1] == (0, 3)
    second.lose(0)
    assert second.told[-1].status is TrialStatus.LOST


def test_a_timeout_noticed_by_the_loss_of_its_worker_is_a_failure_and_not_retried() -> None:
    bench = LoopBench()
    bench.start(1)
    bench.lose(0, kind="TrialTimeoutError")
    assert bench.told[0].status is TrialStatus.FAILED
    assert (0, 2) not in bench.submitted


def test_a_worker_that_cannot_write_is_retried_after_a_growing_wait() -> None:
    bench = LoopBench()
    bench.start(1)
    waits = []
    for _ in range(3):
        refused = TrialResult(0, bench.loop.running[0], TrialStatus.LOST, WALL, WALL)
        before = bench.clock.now
        bench.step(Finished(refused))
        assert bench.wake_at is not None
        assert 0 not in bench.loop.running
        waits.append(bench.wake_at - before)
        bench.step(advance=bench.wake_at - bench.clock.now)
        assert 0 in bench.loop.running
    assert waits[0] < waits[1] < waits[2]


def test_the_same_failure_from_the_start_aborts() -> None:
    bench = LoopBench(abort_after=3)
    bench.start(4)
    bench.fail(0)
    bench.fail(1)
    assert bench.loop.aborting is None
    bench.fail(2)
    bench.step(advance=2 * STOP_GRACE_S)
    assert bench.finished == "the first 3 trials failed in the same way"
    assert bench.loop.aborting is not None
    assert bench.loop.aborting.location == "user.py:3"


def test_trials_that_are_all_lost_from_the_start_abort() -> None:
    bench = LoopBench(abort_after=3)
    bench.start(1)
    for trial_id in range(3):
        for _ in range(3):
            assert bench.loop.aborting is None
            bench.lose(trial_id)
    bench.step(advance=2 * STOP_GRACE_S)
    assert bench.finished == "the first 3 trials failed in the same way"


@pytest.mark.parametrize("spoiler", ["complete", "other line", "timeouts", "switched off"])
def test_other_failures_do_not_abort(spoiler: str) -> None:
    bench = LoopBench(abort_after=None if spoiler == "switched off" else 3)
    bench.start(4)
    if spoiler == "complete":
        bench.complete(3)
    kind = "TrialTimeoutError" if spoiler == "timeouts" else "ValueError"
    bench.fail(0, kind)
    bench.fail(1, kind)
    bench.fail(2, kind, location="user.py:99" if spoiler == "other line" else "user.py:3")
    bench.step(advance=10)
    assert bench.finished is None


def test_users_trials_run_before_the_searchers() -> None:
    bench = LoopBench(prefetch=3)
    bench.start(1)
    bench.step(Enqueued([{"x": "mine"}]))
    bench.complete(0)
    mine = max(bench.loop.running)
    assert bench.loop.record.trials[mine].config == {"x": "mine"}
    assert bench.loop.record.trials[mine].source is TrialSource.USER


def test_promotions_run_first() -> None:
    bench = LoopBench()
    bench.step(Slots(1))
    bench.step(Suggested([Suggestion({"x": 0}), Suggestion({"x": 1}), Suggestion({"x": 2}, priority=-1)], 0, 0, 0.0))
    assert bench.loop.record.trials[next(iter(bench.loop.running))].config == {"x": 2}


def test_an_exhausted_searcher_ends_the_study_when_the_last_trial_has_ended() -> None:
    bench = LoopBench()
    todo = bench.step(Slots(4))
    bench.answer(todo, limit=2)
    assert len(bench.loop.running) == 2
    assert bench.finished is None
    bench.answer(bench.complete(0, answer=False), limit=2)
    assert bench.finished is None
    bench.answer(bench.complete(1, answer=False), limit=2)
    assert bench.finished == "the searcher has nothing left to suggest"


def test_a_searcher_that_waits_for_a_tell_is_asked_again_after_it() -> None:
    bench = LoopBench()
    todo = bench.step(Slots(2))
    assert todo.ask == 2
    bench.step(Suggested([Suggestion({"x": 0})], 0, 0, 0.0))
    bench.step(Suggested([], 1, 0, 0.0))
    assert bench.asked == [2, 1]
    todo = bench.complete(0, answer=False)
    assert todo.ask == 2


def test_a_searcher_that_answered_with_nothing_is_asked_again_if_trials_ended_meanwhile() -> None:
    bench = LoopBench()
    bench.step(Slots(2))
    bench.step(Suggested([Suggestion({"x": 0})], 0, 0, 0.0))
    bench.complete(0, answer=False)  # the second ask is still being answered
    todo = bench.step(Suggested([], 1, 0, 0.0))
    assert (bench.finished, todo.ask) == (None, 2)
    bench.step(Suggested([], 2, 1, 0.0))
    assert bench.finished == "the searcher has nothing left to suggest"


def test_one_worker_never_prefetches() -> None:
    bench = LoopBench()
    todo = bench.start(1)
    for trial_id in range(5):
        todo = bench.complete(trial_id, advance=0.1, answer=False)
        bench.answer(todo, took_s=5.0)
    assert set(bench.asked) == {1}
    assert not any(each.status is TrialStatus.PENDING for each in bench.loop.record.trials.values())


def test_dear_asks_fill_a_ready_queue_no_longer_than_the_workers() -> None:
    bench = LoopBench()
    bench.answer(bench.step(Slots(4)), took_s=1.0)
    for trial_id in range(12):
        bench.answer(bench.complete(trial_id, advance=0.5, answer=False), took_s=1.0)
    ready = [each for each in bench.loop.open.values() if each.status is TrialStatus.PENDING]
    assert 1 <= len(ready) <= 4


def test_cheap_asks_keep_no_queue() -> None:
    bench = LoopBench()
    bench.answer(bench.step(Slots(4)), took_s=0.001)
    for trial_id in range(12):
        bench.answer(bench.complete(trial_id, advance=2.0, answer=False), took_s=0.001)
    assert all(each.status is TrialStatus.RUNNING for each in bench.loop.open.values())


def test_an_open_ask_is_not_repeated() -> None:
    bench = LoopBench()
    bench.step(Slots(2))
    assert bench.asked == [2]
    assert bench.step().ask == 0


def test_resume_submits_what_was_in_flight_first() -> None:
    first = LoopBench()
    first.start(3)
    first.complete(0)
    first.step(StopAsked("enough"))
    first.step(advance=2 * STOP_GRACE_S)
    second = LoopBench(record=fold(first.journal))
    second.start(2)
    assert second.submitted == [(1, 2), (2, 2)]
    assert second.asked == []


def test_limits_are_checked_when_written() -> None:
    for wrong in ({"max_trials": -1}, {"max_trials": 1.5}, {"wall_time_s": "1h"}, {"plateau": True}):
        with pytest.raises(SearchError):
            Limits(**wrong)


@given(st.lists(st.tuples(st.sampled_from(["complete", "fail", "lose", "tick"]), st.integers(0, 7)), max_size=60))
def test_any_order_of_outcomes_keeps_the_invariants(moves: list[tuple[str, int]]) -> None:
    bench = LoopBench(limits=Limits(max_trials=25), abort_after=None)
    bench.start(4)
    for move, which in moves:
        if bench.finished:
            break
        running = sorted(bench.loop.running)
        if move == "tick":
            bench.step(advance=0.5)
        elif running:
            getattr(bench, move)(running[which % len(running)])
    assert len(bench.loop.record.trials) <= 25
    told = [each.trial_id for each in bench.told]
    assert len(told) == len(set(told))

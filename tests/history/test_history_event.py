"""Events: their JSON form, and what they add up to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import HistoryCorruptError
from dhflow.history.event import (
    AttemptEnded,
    AttemptSubmitted,
    Event,
    SessionEnded,
    SessionStarted,
    StudyHeader,
    StudyRecord,
    TrialCreated,
    fold,
    from_json,
    to_json,
)
from dhflow.objective import Objective
from dhflow.testing.history import HEADER, finished_trial
from dhflow.trial import Attempt, Measurement, Trial, TrialFailure, TrialSource, TrialStatus

texts = st.text(max_size=5)
scalars = texts | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
mappings = st.dictionaries(texts, scalars, max_size=3)
values = st.dictionaries(texts, st.floats(allow_nan=False), max_size=2)
losses = st.lists(st.floats(allow_nan=False), max_size=2).map(tuple)
optional_ids = st.none() | st.integers(0, 9)
failures = st.builds(TrialFailure, texts, texts, texts, texts, texts, texts, optional_ids)
attempts = st.builds(
    Attempt,
    st.integers(1, 3),
    st.sampled_from(TrialStatus),
    st.floats(0, 1e9),
    *[st.none() | st.floats(0, 1e9)] * 3,
    texts,
    texts,
    st.none() | failures,
)
asks = st.tuples(st.integers(0, 9), st.integers(0, 9)) | st.just((None, None))
trials = st.builds(
    lambda ask, **known: Trial(**known, ask_number=ask[0], ask_saw=ask[1]),
    asks,
    trial_id=st.integers(0, 9),
    config=mappings,
    status=st.sampled_from(TrialStatus),
    budget=st.none() | st.floats(0, 9),
    parent_id=optional_ids,
    priority=st.integers(),
    meta=mappings,
    seed=st.integers(0, 2**31 - 1),
    source=st.sampled_from(TrialSource),
    created_at=st.floats(0, 1e9),
    values=values,
    losses=losses,
    metrics=mappings,
    attempts=st.lists(attempts, max_size=2).map(tuple),
    outcome_number=optional_ids,
)
measurements = st.builds(Measurement, st.integers(), st.floats(0, 1e9), texts, st.floats(allow_nan=False))
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(TrialCreated, trials),
    st.builds(AttemptSubmitted, st.integers(0, 9), st.integers(1, 9), st.floats(0, 1e9), st.integers(0, 9)),
    st.builds(
        AttemptEnded,
        st.integers(0, 9),
        attempts,
        st.sampled_from(TrialStatus),
        values,
        losses,
        mappings,
        st.lists(measurements, max_size=2).map(tuple),
        optional_ids,
        st.none() | st.floats(0, 9),
    ),
    st.builds(SessionStarted, st.integers(0, 9), st.floats(0, 1e9), mappings),
    st.builds(SessionEnded, st.integers(0, 9), st.floats(0, 1e9), mappings),
    st.builds(
        StudyHeader,
        texts,
        mappings,
        st.lists(st.builds(Objective, texts, st.sampled_from(["minimize", "maximize"])), max_size=2).map(tuple),
        st.integers(),
        st.floats(0, 1e9),
        st.none() | mappings,
        st.lists(texts, max_size=2).map(tuple),
    ),
)


@given(events)
def test_the_json_form_gives_the_event_back(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"e": "party"},
        {"e": "submit", "id": 1},
        {"e": "trial", "id": 1, "config": {}, "t": 0.0, "seed": 1, "status": "asleep"},
        {"e": "end", "id": 1, "status": "failed", "a": {"n": 1, "status": "failed", "failure": {"kind": 1, "x": 2}}},
        {"e": "study", "objectives": [{"names": "x"}]},
        ["e"],
        3,
    ],
)
def test_what_is_no_event_is_corrupt(data: object) -> None:
    with pytest.raises(HistoryCorruptError):
        from_json(data)  # type: ignore[arg-type]


def test_an_outcome_is_counted_and_budget_reached_is_kept() -> None:
    record = fold([HEADER, *finished_trial(0)])
    created, submitted, ended = finished_trial(1)
    assert isinstance(ended, AttemptEnded)
    stopped = AttemptEnded(1, ended.attempt, TrialStatus.STOPPED, {"accuracy": 0.1}, (-0.1,), budget=3.0)
    fold([created, submitted, stopped], record)
    assert record.n_outcomes == 1
    assert record.trials[1].budget == 3.0
    assert record.trials[1].status is TrialStatus.STOPPED


def test_a_lost_attempt_and_its_repetition_are_two_attempts() -> None:
    lost = Attempt(1, TrialStatus.LOST, 1.0, failure=TrialFailure("TrialLostError", "gone", signal="SIGKILL"))
    done = Attempt(2, TrialStatus.COMPLETED, 2.0)
    record = fold(
        [
            TrialCreated(Trial(0, {"x": 1})),
            AttemptSubmitted(0, 1, 1.0),
            AttemptEnded(0, lost, TrialStatus.PENDING),
            AttemptSubmitted(0, 2, 2.0),
            AttemptEnded(0, done, TrialStatus.COMPLETED, {"accuracy": 1.0}, (-1.0,), outcome_number=0),
        ]
    )
    assert record.trials[0].attempts == (lost, done)
    assert record.trials[0].status is TrialStatus.COMPLETED


def test_submission_keeps_everything_else() -> None:
    trial = Trial(0, {"x": 1}, budget=3.0, parent_id=2, priority=1, meta={"rung": 1}, seed=5, ask_number=3, ask_saw=2)
    record = fold([TrialCreated(trial), AttemptSubmitted(0, 1, 9.0)])
    running = record.trials[0]
    assert running.status is TrialStatus.RUNNING
    assert running.attempts == (Attempt(1, TrialStatus.RUNNING, 9.0),)
    for name in ("config", "budget", "parent_id", "priority", "meta", "seed", "ask_number", "ask_saw", "source"):
        assert getattr(running, name) == getattr(trial, name)


@pytest.mark.parametrize(
    "wrong",
    [
        [AttemptSubmitted(0, 1, 0.0)],
        [AttemptEnded(0, Attempt(1, TrialStatus.LOST, 0.0), TrialStatus.PENDING)],
        [TrialCreated(Trial(0, {})), TrialCreated(Trial(0, {}))],
        [SessionEnded(0, 0.0, {})],
        [SessionStarted(0, 0.0, {}), SessionEnded(1, 0.0, {})],
    ],
)
def test_contradictions_are_corrupt(wrong: list[Event]) -> None:
    with pytest.raises(HistoryCorruptError):
        fold(wrong, StudyRecord())

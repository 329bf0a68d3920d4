# ruff: noqa: D102 - what a test asserts is its name
"""What every history must do: inherit :class:`HistoryTests` and make it build yours.

::

    class TestMyHistory(HistoryTests):
        def create(self, path, header):
            return MyHistory.create(path, header)

The last test drives a history through random courses of events, crashes and checkpoints (a Hypothesis state
machine) and compares what readers see with a model that lives in memory.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dhflow.errors import HistoryCorruptError, HistoryError, HistoryLockedError
from dhflow.history import History, load_record, read_commands, read_findings, read_measurements, read_records
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
)
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.monitor.finding import Finding, Severity, finding_to_json
from dhflow.monitor.line import to_json
from dhflow.monitor.record import KINDS, Reading, TensorRecord
from dhflow.objective import Objective
from dhflow.trial import Attempt, Measurement, Trial, TrialFailure, TrialSource, TrialStatus

HEADER = StudyHeader(
    study_id="0123456789abcdef",
    space={"version": 1, "parameters": [{"name": "x", "type": "float", "low": 0.0, "high": 1.0}]},
    objectives=(Objective("accuracy", "maximize"),),
    seed=7,
    created_at=1_750_000_000.25,
)


class WritableHistory(Protocol):
    """What the suite needs of a history that is open for writing."""

    @property
    def record(self) -> StudyRecord:
        """What it held when it was opened."""

    def append(self, events: Sequence[Event]) -> None:
        """Record events: all or none."""

    def checkpoint(self, *, wait: bool = False) -> None:
        """Bring the file that others read up to date."""

    def close(self) -> bool:
        """Let go, with everything in the file."""

    def release(self) -> None:
        """Let go as a killed process would."""


# -- events


def finished_trial(trial_id: int, value: float = 0.5, **config: Any) -> list[Event]:
    """Return the events of a trial that completes with `value`."""
    attempt = Attempt(1, TrialStatus.COMPLETED, 10.5, 11.0, 12.0, 12.25, "nid0001", "4711.0")
    return [
        TrialCreated(Trial(trial_id, config or {"x": value}, seed=trial_id, ask_number=trial_id, ask_saw=trial_id)),
        AttemptSubmitted(trial_id, 1, 10.5),
        AttemptEnded(
            trial_id,
            attempt,
            TrialStatus.COMPLETED,
            values={"accuracy": value},
            losses=(-value,),
            metrics={"epochs": 3, "note": "ok", "pruned": False, "extra": None},
            measurements=(Measurement(1, 11.5, "loss", 0.75), Measurement(2, 11.75, "loss", 0.5)),
            outcome_number=trial_id,
        ),
    ]


def canonical(record: StudyRecord) -> str:
    """Return a text that is equal for equal records: NaN equals NaN, 1 is not 1.0, keys have no order."""
    trials = {number: asdict(trial) for number, trial in record.trials.items()}
    sessions = [[each and asdict(each) for each in session] for session in record.sessions]
    header = record.header and asdict(record.header)
    return json.dumps([header, sessions, trials, record.n_outcomes], sort_keys=True, indent=1)


class HistoryTests:
    """The contract of a history; override the four methods below for one of your own."""

    n_examples = 20
    n_steps = 20

    def create(self, path: Path, header: StudyHeader) -> WritableHistory:
        """Begin a history at `path`."""
        return History.create(path, header, in_process=True)

    def open(self, path: Path) -> WritableHistory:
        """Go on with the history at `path`."""
        return History.open(path, in_process=True)

    def load(self, path: Path) -> StudyRecord:
        """Read the history at `path` as another process would."""
        return load_record(path)

    def curves(self, path: Path, trial_id: int | None = None) -> list[tuple[Any, ...]]:
        """Return (trial_id, attempt, step, time, name, value) of all measurements at `path`."""
        return [tuple(row) for row in read_measurements(path, trial_id).tolist()]

    def tear(self, path: Path) -> None:
        """Leave at `path` what a process leaves that is killed amid a write."""
        journal = path.with_name(path.name + ".journal")
        if journal.exists():
            with journal.open("ab") as file:
                file.write(b'0badf00d {"e":"submit","id')

    # The contract

    def test_a_new_history_holds_its_header(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        assert self.load(tmp_path / "h.h5").header == HEADER
        history.close()
        assert self.load(tmp_path / "h.h5").header == HEADER

    def test_what_was_appended_is_seen_by_readers_at_once(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        for number in range(3):
            history.append(finished_trial(number))
            assert list(self.load(tmp_path / "h.h5").trials) == list(range(number + 1))
        history.checkpoint(wait=True)
        history.append(finished_trial(3))
        assert list(self.load(tmp_path / "h.h5").trials) == [0, 1, 2, 3]
        history.release()

    def test_closing_and_opening_changes_nothing(self, tmp_path: Path) -> None:
        events = [event for number in range(4) for event in finished_trial(number)]
        history = self.create(tmp_path / "h.h5", HEADER)
        history.append(events[:7])
        history.close()
        history = self.open(tmp_path / "h.h5")
        assert canonical(history.record) == canonical(fold([HEADER, *events[:7]]))
        history.append(events[7:])
        history.close()
        assert canonical(self.load(tmp_path / "h.h5")) == canonical(fold([HEADER, *events]))

    def test_a_killed_writer_loses_nothing(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        history.append(finished_trial(0))
        history.release()
        self.tear(tmp_path / "h.h5")
        history = self.open(tmp_path / "h.h5")
        history.append(finished_trial(1))
        history.release()
        assert canonical(self.load(tmp_path / "h.h5")) == canonical(
            fold([HEADER, *finished_trial(0), *finished_trial(1)])
        )

    def test_there_is_one_writer(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        with pytest.raises(HistoryLockedError, match="process"):
            self.open(tmp_path / "h.h5")
        history.close()
        self.open(tmp_path / "h.h5").close()

    def test_an_existing_history_is_not_begun_again(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        history.append(finished_trial(0))
        history.release()
        for _ in range(2):  # left by a killed process, then closed
            with pytest.raises(HistoryError, match="resume"):
                self.create(tmp_path / "h.h5", HEADER)
            assert list(self.load(tmp_path / "h.h5").trials) == [0]
            self.open(tmp_path / "h.h5").close()

    def test_a_missing_history_is_not_opened(self, tmp_path: Path) -> None:
        with pytest.raises(HistoryError, match="no history"):
            self.open(tmp_path / "h.h5")
        with pytest.raises(HistoryError, match="no history"):
            self.load(tmp_path / "h.h5")
        assert not list(tmp_path.iterdir())

    def test_contradictions_are_refused_whole(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        history.append(finished_trial(0))
        created = TrialCreated(Trial(1, {"x": 0.5}))
        contradictions: list[list[Event]] = [
            [*finished_trial(1), AttemptSubmitted(5, 1, 1.0)],
            [created, TrialCreated(Trial(0, {"x": 0.5}))],
            [created, created],
            [created, SessionEnded(0, 1.0, {})],
            [created, HEADER],
        ]
        for wrong in contradictions:
            with pytest.raises(HistoryCorruptError, match="not recorded"):
                history.append(wrong)
        history.append(finished_trial(1))
        history.close()
        assert list(self.load(tmp_path / "h.h5").trials) == [0, 1]

    def test_what_has_no_json_form_is_refused_whole(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        with pytest.raises(HistoryError, match="cannot be recorded"):
            history.append([*finished_trial(0), TrialCreated(Trial(1, {"x": object()}))])
        history.append(finished_trial(0))
        history.close()
        assert list(self.load(tmp_path / "h.h5").trials) == [0]

    def test_learning_curves_are_kept_per_attempt(self, tmp_path: Path) -> None:
        history = self.create(tmp_path / "h.h5", HEADER)
        history.append(finished_trial(0))
        before = self.curves(tmp_path / "h.h5")
        assert before == [(0, 1, 1, 11.5, "loss", 0.75), (0, 1, 2, 11.75, "loss", 0.5)]
        history.checkpoint(wait=True)
        history.append(finished_trial(1))
        history.close()
        assert self.curves(tmp_path / "h.h5") == before + [(1, *row[1:]) for row in before]
        assert self.curves(tmp_path / "h.h5", 1) == [(1, *row[1:]) for row in before]
        assert self.curves(tmp_path / "h.h5", 2) == []

    def test_any_course_of_events(self) -> None:
        run_state_machine_as_test(
            type("Course", (_Course,), {"suite": self}),
            settings=settings(
                max_examples=self.n_examples,
                stateful_step_count=self.n_steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


# -- the state machine

_MEMORY = "/dev/shm"

_times = st.floats(0, 2e9) | st.none()
_texts = st.text(st.characters(), max_size=8)  # all of Unicode: NUL and lone surrogates too
_floats = st.floats(width=64)
_names = st.sampled_from(["x", "lr", "a/b", ".", "..", "", "50%", "rate_ü", "values"]) | _texts
_scalars = _texts | st.integers() | _floats | st.booleans() | st.none()
_configs = st.dictionaries(_names, _scalars, max_size=4)
_json = st.dictionaries(_texts, _scalars | st.lists(_scalars, max_size=2), max_size=2)
_failures = st.builds(
    TrialFailure,
    kind=_texts,
    message=_texts,
    traceback=_texts,
    location=_texts,
    host=_texts,
    signal=_texts,
    last_step=st.none() | st.integers(-(2**40), 2**40),
)
_measurements = st.builds(Measurement, st.integers(-5, 2**40), st.floats(0, 2e9), _texts, _floats)
_ends = st.fixed_dictionaries(
    {
        "values": st.dictionaries(_texts, _floats, max_size=2),
        "losses": st.lists(_floats, max_size=2).map(tuple),
        "metrics": st.dictionaries(_texts, _scalars, max_size=3),
        "measurements": st.lists(_measurements, max_size=3).map(tuple),
        "budget": st.none() | st.floats(0, 100),
    }
)
_trial_extras = st.fixed_dictionaries(
    {
        "budget": st.none() | st.floats(0, 100),
        "parent_id": st.none() | st.integers(0, 5),
        "priority": st.integers(-(2**40), 2**40),
        "meta": _json,
        "seed": st.integers(0, 2**31 - 1),
        "source": st.sampled_from(TrialSource),
        "created_at": st.floats(0, 2e9),
    }
)


_records = st.builds(
    Reading, st.integers(0, 2**40), st.dictionaries(_texts, _floats, min_size=1, max_size=2), per=st.just("batch")
) | st.builds(TensorRecord, st.integers(0, 9), _texts, st.sampled_from(KINDS), _texts)
_findings = st.builds(
    Finding,
    _texts,
    st.sampled_from(Severity),
    _texts,
    evidence=_json,
    source=_texts,
    family=_texts,
    step=st.integers(0, 9),
)


class _Course(RuleBasedStateMachine):
    """A history, and beside it the events that it acknowledged."""

    suite: ClassVar[HistoryTests]

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a folder: hundreds of courses would wait for the disk most of the time.
        self._folder = tempfile.TemporaryDirectory(dir=_MEMORY if Path(_MEMORY).is_dir() else None)
        self._path = Path(self._folder.name) / "h.h5"
        self._history = self.suite.create(self._path, HEADER)
        self._record = StudyRecord(header=HEADER)
        self._curves: list[tuple[Any, ...]] = []
        self._kept: list[Reading | TensorRecord] = []
        self._commands: list[CommandTaken] = []

    def teardown(self) -> None:
        self._history.release()
        try:
            self._check_monitor()
        finally:
            self._folder.cleanup()

    def _check_monitor(self) -> None:
        assert repr(read_commands(self._path)) == repr(self._commands)
        assert len(read_findings(self._path)) == len(self._commands)
        every = [read_records(self._path, number, 1) for number in self._record.trials]
        kept = [each for each in self._kept if isinstance(each, TensorRecord)]
        # Of each trial they come in the order of their making, and trials are monitored one after the other.
        assert repr([each for records in every for each in records.tensors]) == repr(kept)

    def _append(self, *events: Event) -> None:
        self._history.append(events)
        for event in events:
            self._record.apply(event)
            if isinstance(event, AttemptEnded):
                self._curves += [(event.trial_id, event.attempt.number, *each) for each in event.measurements]

    def _open_trials(self) -> list[Trial]:
        return [each for each in self._record.trials.values() if not each.is_finished]

    @rule(config=_configs, extras=_trial_extras, ask=st.none() | st.integers(0, 9))
    def create_trial(self, config: dict[str, Any], extras: dict[str, Any], ask: int | None) -> None:
        trial = Trial(len(self._record.trials), config, ask_number=ask, ask_saw=ask, **extras)
        self._append(TrialCreated(trial))

    @precondition(lambda self: self._record.trials)
    @rule(records=st.lists(_records, max_size=3), finding=_findings, arguments=_json, name=_texts)
    def monitor(self, records: list[Reading | TensorRecord], finding: Finding, arguments: Any, name: str) -> None:
        number = len(self._record.trials) - 1
        kept = RecordsKept(number, 1, tuple(to_json(each) for each in records))
        made = FindingMade(number, 1, 1.5, finding_to_json(finding))
        command = CommandTaken(2.5, name, number, name, arguments, {}, name)
        self._append(kept, made, command)
        self._kept += records
        self._commands.append(command)

    @rule(config=_configs, end=_ends)
    def add_finished_trial(self, config: dict[str, Any], end: dict[str, Any]) -> None:
        known = {name: end[name] for name in ("values", "losses", "metrics", "budget")}
        number = len(self._record.trials)
        outcome = self._record.n_outcomes
        source = TrialSource.ADDED
        self._append(
            TrialCreated(Trial(number, config, TrialStatus.COMPLETED, source=source, outcome_number=outcome, **known))
        )

    @precondition(lambda self: self._open_trials())
    @rule(data=st.data(), at=st.floats(0, 2e9))
    def submit(self, data: st.DataObject, at: float) -> None:
        trial = data.draw(st.sampled_from(self._open_trials()))
        self._append(AttemptSubmitted(trial.trial_id, len(trial.attempts) + 1, at, 0))

    @precondition(lambda self: any(each.attempts for each in self._open_trials()))
    @rule(data=st.data(), end=_ends, failure=st.none() | _failures, times=st.tuples(_times, _times, _times))
    def end(self, data: st.DataObject, end: dict[str, Any], failure: TrialFailure | None, times: Any) -> None:
        trial = data.draw(st.sampled_from([each for each in self._open_trials() if each.attempts]))
        status = data.draw(st.sampled_from([each for each in TrialStatus if each is not TrialStatus.RUNNING]))
        attempt = replace(
            trial.attempts[-1],
            status=status,
            started_at=times[0],
            ended_at=times[1],
            received_at=times[2],
            failure=failure,
            host=data.draw(_texts),
            worker=data.draw(_texts),
        )
        outcome = None if status is TrialStatus.PENDING else self._record.n_outcomes
        self._append(AttemptEnded(trial.trial_id, attempt, status, outcome_number=outcome, **end))

    @rule(info=_json, at=st.floats(0, 2e9))
    def start_session(self, info: dict[str, Any], at: float) -> None:
        self._append(SessionStarted(len(self._record.sessions), at, info))

    @precondition(lambda self: self._record.sessions)
    @rule(info=_json, at=st.floats(0, 2e9))
    def end_session(self, info: dict[str, Any], at: float) -> None:
        self._append(SessionEnded(self._record.sessions[-1][0].session, at, info))

    @rule()
    def checkpoint(self) -> None:
        self._history.checkpoint(wait=True)

    @rule()
    def close_and_open(self) -> None:
        self._history.close()
        self._check()
        self._reopen()

    @rule(torn=st.booleans())
    def crash_and_open(self, torn: bool) -> None:  # noqa: FBT001 - Hypothesis draws it by name
        self._history.release()
        if torn:
            self.suite.tear(self._path)
        self._check()
        self._reopen()

    def _reopen(self) -> None:
        self._history = self.suite.open(self._path)
        assert canonical(self._history.record) == canonical(self._record)

    @invariant()
    def readers_see_what_was_acknowledged(self) -> None:
        self._check()

    def _check(self) -> None:
        assert canonical(self.suite.load(self._path)) == canonical(self._record)
        assert repr(self.suite.curves(self._path)) == repr(self._curves)

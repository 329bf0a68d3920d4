"""The study: a search space, a searcher and a history under one name, to run or to step.

``search`` runs one in a call, ``search_app`` inside a Parsl workflow, :class:`Study` serves those
who ask and tell themselves.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.background import BackgroundRun
from dhflow.constraint import Constraints, parse_constraints
from dhflow.errors import HistoryError, ObjectiveError, SearchError, SpaceError, SpaceExhaustedError, UnknownTrialError
from dhflow.flow.interrupts import uninterrupted
from dhflow.flow.parts import StudyParts
from dhflow.flow.resume import recovered, replay
from dhflow.flow.run_directory import clear_run_directory
from dhflow.flow.session import Session
from dhflow.flow.settings import RunOptions, RunSettings
from dhflow.history import History
from dhflow.history.event import AttemptEnded, AttemptSubmitted, Event, StudyHeader, StudyRecord, TrialCreated
from dhflow.objective import parse_direction, read_returned
from dhflow.problem import Budget, Problem
from dhflow.result import Result
from dhflow.searcher import Searcher, make_searcher
from dhflow.searcher.registry import check_options, expect
from dhflow.space import SearchSpace
from dhflow.steering import Steered
from dhflow.trial import Attempt, Config, Suggestion, Trial, TrialFailure, TrialSource, TrialStatus, trial_seed

if TYPE_CHECKING:
    from typing_extensions import Unpack

Objective = Callable[..., Any] | str


class Study(Steered):
    """A search that is stepped or run.

    Parameters
    ----------
    space : SearchSpace or Problem
        A problem brings its objective, direction, budget and defaults.
    direction : str or mapping, optional
        ``"minimize"`` (the default), ``"maximize"``, or a mapping from objective name to one of them; with
        several names the objective returns a mapping that holds them all.
    searcher : str or Searcher
        A name (see ``dhflow.searcher.searcher_names()``) or an instance.
    searcher_options : mapping, optional
        Options of a named searcher; unknown ones are errors.
    seed : int, optional
        Fixes the search; drawn and recorded when not given.
    history : str or Path, optional
        HDF5 file that keeps every trial; without one nothing outlives the process.
    resume : bool
        Go on from `history` if it is there, start it if it is not.
    budget : Budget, optional
    constraints : str or sequence of str
        Bounds on what the objective returns, such as ``"memory_gb <= 16"``, beside the problem's.

    Raises
    ------
    SpaceError, SearchError
        If an argument is wrong.
    HistoryError
        If `history` exists and `resume` is false, or belongs to another search.

    Notes
    -----
    A study with a history holds its lock until :meth:`close`; use it as a context manager.
    """

    def __init__(
        self,
        space: SearchSpace | Problem,
        *,
        direction: str | Mapping[str, str] | None = None,
        searcher: str | Searcher = "auto",
        searcher_options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        history: str | Path | None = None,
        resume: bool = False,
        budget: Budget | None = None,
        constraints: Constraints = (),
    ) -> None:
        self.problem = space if isinstance(space, Problem) else None
        self.space = space.space if isinstance(space, Problem) else _checked_space(space)
        self.budget = _checked_budget(budget) or (self.problem.budget if self.problem else None)
        self.objectives = parse_direction(direction or (self.problem.direction if self.problem else "minimize"))
        self.constraints = parse_constraints(self.problem.constraints if self.problem else (), constraints)
        self.history_path = None if history is None else Path(history)
        if resume and history is None:
            raise SearchError("resume=True needs a history file to go on from")
        self._history: History | None = None
        self.record = StudyRecord()
        self._open: dict[int, Trial] = {}
        self._untold: list[Trial] = []
        self._session: Session | None = None
        self._reason = ""
        self._open_history(seed, resume=resume)
        try:
            self.searcher = self._make_searcher(searcher, dict(searcher_options or {}))
            replay(self.searcher, self.record)
        except BaseException:
            self.close()
            raise
        self._catch_up()

    # Stepping ------------------------------------------------------------------------------

    def ask(self) -> Trial:
        """Return a new trial to evaluate; its result is given to :meth:`tell`.

        Raises
        ------
        SpaceExhaustedError
            If the searcher has nothing more to suggest.
        """
        self._refuse_while_running("ask")
        suggestion, number, saw = self._next_suggestion()
        trial = self._new_trial(suggestion, ask_number=number, ask_saw=saw)
        submitted = AttemptSubmitted(trial.trial_id, 1, time.time(), len(self.record.sessions))
        self._note([TrialCreated(trial), submitted])
        return self.record.trials[trial.trial_id]

    def tell(self, trial: Trial | int, value: object = None, *, failed: str | None = None) -> Trial:
        """Report what became of an asked trial.

        Parameters
        ----------
        trial : Trial or int
            The trial, or its id.
        value : float or mapping
            What an objective function would return; a NaN or a wrong type makes the trial FAILED.
        failed : str, optional
            Why there is no value.

        Returns
        -------
        Trial
            As the study keeps it.

        Raises
        ------
        UnknownTrialError
            If the study never made this trial.
        SearchError
            If it has ended already.
        """
        self._refuse_while_running("tell")
        known = self._known(trial if isinstance(trial, int) else trial.trial_id)
        if known.is_finished:
            raise SearchError(f"trial {known.trial_id} has ended already: it is {known.status.value}")
        values: dict[str, float] = {}
        metrics: dict[str, Any] = {}
        failure = None if failed is None else TrialFailure("Failed", failed)
        if failure is None:
            try:
                values, metrics = read_returned(value, self.objectives, self.constraints)
            except ObjectiveError as error:
                failure = TrialFailure("ObjectiveError", str(error))
        status = TrialStatus.FAILED if failure else TrialStatus.COMPLETED
        now = time.time()
        attempt = known.attempts[-1] if known.attempts else Attempt(1, TrialStatus.RUNNING, now)
        losses = tuple(each.to_loss(values[each.name]) for each in self.objectives if values)
        event = AttemptEnded(
            known.trial_id,
            replace(attempt, status=status, ended_at=now, received_at=now, failure=failure),
            status,
            values=values,
            losses=losses,
            metrics=metrics,
            outcome_number=self.record.n_outcomes,
        )
        self._note([event])
        return self.record.trials[known.trial_id]

    def add_trials(self, configs: Sequence[Config], objectives: Sequence[object]) -> list[Trial]:
        """Load trials that were evaluated elsewhere; the searcher learns from them, limits do not count them.

        Parameters
        ----------
        configs : sequence of mapping
        objectives : sequence of float or mapping
            One for each config, in the user's sign.

        Raises
        ------
        ConfigNotInSpaceError
            If a config does not lie in the space; nothing is added then.
        SearchError
            If the lengths differ.
        """
        self._refuse_while_running("add_trials")
        if len(configs) != len(objectives):
            raise SearchError(f"{len(configs)} configs with {len(objectives)} objectives")
        valid = [self.space.validate(each) for each in configs]
        returned = [read_returned(each, self.objectives, self.constraints) for each in objectives]
        events: list[Event] = []
        first = self._next_id()
        for offset, (config, (values, metrics)) in enumerate(zip(valid, returned, strict=True)):
            trial = Trial(
                trial_id=first + offset,
                config=config,
                status=TrialStatus.COMPLETED,
                seed=trial_seed(self.seed, first + offset),
                source=TrialSource.ADDED,
                created_at=time.time(),
                values=values,
                losses=tuple(each.to_loss(values[each.name]) for each in self.objectives),
                metrics=metrics,
                outcome_number=self.record.n_outcomes + offset,
            )
            events.append(TrialCreated(trial))
        self._note(events)
        return [self.record.trials[first + offset] for offset in range(len(valid))]

    def enqueue(self, *configs: Config) -> None:
        """Add configs of the user's own; they run before the searcher's, in the session that runs or the next one.

        Raises
        ------
        ConfigNotInSpaceError
            If one does not lie in the space.
        """
        valid = [self.space.validate(each) for each in configs]
        if self._session is not None and self._session.enqueue(valid):
            return
        for each in valid:
            self._note([TrialCreated(self._new_trial(Suggestion(each), source=TrialSource.USER))])

    # Running -------------------------------------------------------------------------------

    def run(self, objective: Objective | None = None, **options: Unpack[RunOptions]) -> Result:
        """Run trials until a limit is reached.

        Parameters
        ----------
        objective : callable, str or Parsl app, optional
            The problem's by default.
        **options
            See :class:`~dhflow.flow.settings.RunSettings`.

        Returns
        -------
        Result
        """
        return self.run_session(self.open_session(objective, options))

    def run_session(self, session: Session) -> Result:
        """Run a session made by :meth:`open_session`, to its end."""
        try:
            self._reason = session.run()
        finally:
            self._session = None
            self._catch_up()
        return self.result

    def stream(self, objective: Objective | None = None, **options: Unpack[RunOptions]) -> Iterator[Trial]:
        """Yield each trial as it ends; leaving the loop early stops the session in order."""
        feed = BackgroundRun(self, objective, options)
        try:
            while (trial := feed.trials.get()) is not None:
                yield trial
        finally:
            feed.finish()

    async def run_async(self, objective: Objective | None = None, **options: Unpack[RunOptions]) -> Result:
        """Run without blocking the event loop, for notebooks; cancelling stops the session in order."""
        feed = BackgroundRun(self, objective, options)
        try:
            return await asyncio.wrap_future(feed.future)
        except asyncio.CancelledError:
            feed.stop()
            raise

    async def stream_async(
        self, objective: Objective | None = None, **options: Unpack[RunOptions]
    ) -> AsyncIterator[Trial]:
        """Yield each trial as it ends, for ``async for``."""
        feed = BackgroundRun(self, objective, options)
        try:
            while (trial := await asyncio.to_thread(feed.trials.get)) is not None:
                yield trial
        finally:
            await asyncio.to_thread(feed.finish)

    def stop(self, reason: str = "stopped by the user") -> None:
        """Ask the running session to end; safe from any thread and from an observer."""
        if self._session is not None:
            self._session.stop(reason)

    # Looking -------------------------------------------------------------------------------

    @property
    def seed(self) -> int:
        """The study's seed."""
        return self._header.seed

    @property
    def result(self) -> Result:
        """The study as it stands now; later trials do not change it."""
        return Result(self.record.copy(), self._reason, self.history_path)

    @property
    def trials(self) -> list[Trial]:
        """Every trial, in the order of ids."""
        return self.result.trials

    @property
    def best(self) -> Trial:
        """The best completed trial; raises SearchError when there is none, or with several objectives."""
        return self.result.best

    def close(self) -> None:
        """Close the history; the study can still be looked at.

        A history that was made for this study and holds no trial is removed, so that the same call works
        once what kept the study from starting is mended.
        """
        if self._history is None:
            return
        with uninterrupted():
            if self._is_new and not self.record.trials:
                self._history.discard()
            else:
                self._history.close()
            self._history = None

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Parts ---------------------------------------------------------------------------------

    def _open_history(self, seed: int | None, *, resume: bool) -> None:
        drawn = secrets.randbits(31) if seed is None else int(seed)
        header = StudyHeader(
            study_id=secrets.token_hex(8),
            space=self.space.to_json(),
            objectives=self.objectives,
            seed=drawn,
            created_at=time.time(),
            budget=self.budget.to_json() if self.budget else None,
            constraints=tuple(each.text for each in self.constraints),
        )
        path = self.history_path
        if path is None:
            self._header = header
            self.record.apply(header)
            return
        self._is_new = not (resume and History.exists(path))
        if not self._is_new:
            self._history = History.open(path)
            try:
                self._history.check_same_study(header)
                self.record = self._history.record
                self._header = self.record.header or header
                self.constraints = parse_constraints(self._header.constraints)  # in the order of before
                self._note(recovered(self.record, path, self.objectives))
            except BaseException:
                self._history.close()
                raise
        else:
            self._history = History.create(path, header)
            clear_run_directory(path)
            self.record = self._history.record
            self._header = header

    def _make_searcher(self, searcher: str | Searcher, options: dict[str, Any]) -> Searcher:
        if isinstance(searcher, Searcher):
            if options:
                raise SearchError("searcher_options go with a searcher's name, not with an instance")
            expect(searcher, len(self.objectives), self.constraints)
            return searcher
        check_options(searcher, options)
        return make_searcher(
            searcher,
            self.space,
            seed=self.seed,
            n_objectives=len(self.objectives),
            constraints=self.constraints,
            budget_range=None if self.budget is None else (self.budget.low, self.budget.high),
            **options,
        )

    def open_session(self, objective: Objective | None, options: RunOptions) -> Session:
        """Check the options of a run and return its session, which can be stopped before it has begun."""
        self._refuse_while_running("run")
        chosen = objective if objective is not None else (self.problem.objective if self.problem else None)
        if chosen is None:
            raise SearchError("run(objective): this study was made without a problem, so pass the objective")
        settings = RunSettings.of(options)
        if settings.target is not None and len(self.objectives) > 1:
            raise SearchError("target is a value of one objective, and this study has several; plateau can end it")
        if settings.per_worker is None and self.problem is not None and self.problem.per_worker is not None:
            settings = replace(settings, per_worker=self.problem.per_worker)
        parts = StudyParts(
            record=self.record,
            objectives=self.objectives,
            constraints=self.constraints,
            searcher=self.searcher,
            seed=self.seed,
            history=self._history,
            history_path=self.history_path,
            full_budget=self.budget.high if self.budget else self.searcher.full_budget,
            starting_points=self.problem.starting_points if self.problem else self.space.starting_points,
            space=self.space,
            space_names=self.space.names,
            conditional_names=frozenset(name for name, each in self.space.parameters.items() if each.when),
        )
        self._session = Session(parts, chosen, settings)
        return self._session

    def _next_suggestion(self) -> tuple[Suggestion, int, int]:
        self.searcher.tell(self._untold)
        self._untold = []
        number = self.searcher.n_asks
        suggestions = self.searcher.ask(1, list(self._open.values()))
        if not suggestions:
            raise SpaceExhaustedError("the searcher has nothing more to suggest; tell what is pending, or stop")
        return suggestions[0], number, self.record.n_outcomes

    def _new_trial(self, suggestion: Suggestion, **known: Any) -> Trial:
        trial_id = self._next_id()
        return Trial(
            trial_id=trial_id,
            config=suggestion.config,
            budget=suggestion.budget,
            parent_id=suggestion.parent_id,
            priority=suggestion.priority,
            meta=suggestion.meta,
            seed=trial_seed(self.seed, trial_id),
            created_at=time.time(),
            **known,
        )

    def _next_id(self) -> int:
        return max(self.record.trials, default=-1) + 1

    def _known(self, trial_id: int) -> Trial:
        if trial_id not in self.record.trials:
            raise UnknownTrialError(f"trial {trial_id} was never asked of this study", trial_id)
        return self.record.trials[trial_id]

    def _note(self, events: Sequence[Event]) -> None:
        if self._history is None and self.history_path is not None:
            raise HistoryError(f"this study is closed; open {self.history_path} again with resume=True")
        if self._history is not None and events:
            self._history.append(events)
        for each in events:
            self.record.apply(each)
            self._follow(each)

    def _follow(self, event: Event) -> None:
        """Keep the open and the untold trials for the next ask."""
        if isinstance(event, TrialCreated | AttemptSubmitted | AttemptEnded):
            trial = self.record.trials[event.trial.trial_id if isinstance(event, TrialCreated) else event.trial_id]
            if trial.is_finished:
                self._open.pop(trial.trial_id, None)
                self._untold.append(trial)
            else:
                self._open[trial.trial_id] = trial

    def _catch_up(self) -> None:
        """Know the open trials after a session, in which the searcher was told all outcomes."""
        self._open = {each.trial_id: each for each in self.record.trials.values() if not each.is_finished}
        self._untold = []

    def _refuse_while_running(self, what: str) -> None:
        if self._session is not None:
            raise SearchError(f"{what}: the study is running; wait for it, or use enqueue and stop")


def _checked_budget(budget: object) -> Budget | None:
    if budget is None or isinstance(budget, Budget):
        return budget
    raise SearchError(f'budget must be a Budget, such as Budget("epochs", 1, 81), not {budget!r}')


def _checked_space(space: object) -> SearchSpace:
    if not isinstance(space, SearchSpace):
        raise SpaceError(f"space must be a SearchSpace or a Problem, not {type(space).__name__}")
    return space

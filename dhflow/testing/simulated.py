"""A study without workers: trials are records, time is a number, and the searcher is real."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dhflow.searcher.base import Searcher
from dhflow.trial import Config, Suggestion, Trial, TrialStatus

Loss = float | Sequence[float] | None
Objective = Callable[[dict[str, Any]], float | Sequence[float]]


@dataclass
class SimulatedStudy:
    """Keeps the books of a study around a searcher: who is pending, what was told, what each ask had seen.

    Parameters
    ----------
    searcher : Searcher
    trials : dict from trial id to Trial
        Pending and finished ones, in order of creation.

    Notes
    -----
    Suggestions pass through JSON, as a history would pass them.
    """

    searcher: Searcher
    trials: dict[int, Trial] = field(default_factory=dict)
    n_told: int = 0
    _pending: dict[int, Trial] = field(default_factory=dict)

    @property
    def pending(self) -> list[Trial]:
        """Trials without an outcome."""
        return list(self._pending.values())

    def ask(self, n: int = 1) -> list[Trial]:
        """Ask the searcher for `n` trials and return those that it suggested."""
        return self.take(self.searcher.ask(n, self.pending))

    def take(self, suggestions: Sequence[Suggestion]) -> list[Trial]:
        """Make trials of what the searcher's last ask suggested."""
        return [self._create(each, self.searcher.n_asks - 1) for each in suggestions]

    def _create(self, suggestion: Suggestion, ask_number: int) -> Trial:
        config, meta = json.loads(json.dumps([dict(suggestion.config), dict(suggestion.meta)]))
        trial = Trial(
            trial_id=len(self.trials),
            config=config,
            budget=suggestion.budget,
            parent_id=suggestion.parent_id,
            priority=suggestion.priority,
            meta=meta,
            ask_number=ask_number,
            ask_saw=self.n_told,
        )
        self.trials[trial.trial_id] = self._pending[trial.trial_id] = trial
        return trial

    def finish(self, trial: Trial, loss: Loss, status: TrialStatus | None = None) -> Trial:
        """Give a trial its outcome without telling it: `loss` None is a failure unless `status` says otherwise.

        With several objectives `loss` is one number for each.
        """
        how = status or (TrialStatus.FAILED if loss is None else TrialStatus.COMPLETED)
        losses = () if loss is None else tuple(map(float, loss if isinstance(loss, Sequence) else (loss,)))
        names = ["objective"] if len(losses) == 1 else [f"objective{i}" for i in range(len(losses))]
        values = dict(zip(names, losses, strict=True))
        finished = replace(trial, status=how, losses=losses, values=values, outcome_number=self.n_told)
        self.trials[trial.trial_id] = finished
        del self._pending[trial.trial_id]
        self.n_told += 1
        return finished

    def tell(self, trial: Trial, loss: Loss, status: TrialStatus | None = None) -> Trial:
        """Finish a trial and tell the searcher."""
        finished = self.finish(trial, loss, status)
        self.searcher.tell([finished])
        return finished

    def add(self, config: Config, loss: Loss) -> Trial:
        """Tell the searcher of a trial that it did not suggest."""
        trial = self._create(Suggestion(config), self.searcher.n_asks)
        return self.tell(replace(trial, ask_number=None, ask_saw=None), loss)

    def tell_again(self, searcher: Searcher) -> None:
        """Replay the record on another searcher: which outcomes each ask had seen, and how many it suggested."""
        finished = [each for each in self.trials.values() if each.is_finished]
        outcomes = sorted(finished, key=lambda each: each.outcome_number or 0)
        asked: dict[int, list[Trial]] = {}
        for trial in self.trials.values():
            if trial.ask_number is not None:
                asked.setdefault(trial.ask_number, []).append(trial)
        n_told = 0
        for number, trials in sorted(asked.items()):
            seen = trials[0].ask_saw or 0
            searcher.tell(outcomes[n_told:seen])
            n_told = seen
            searcher.replayed(number, len(trials))
        searcher.tell(outcomes[n_told:])

    def losses(self) -> list[float]:
        """Return the (first) losses of completed trials in the order of their outcomes."""
        done = [each for each in self.trials.values() if each.status is TrialStatus.COMPLETED]
        return [each.losses[0] for each in sorted(done, key=lambda each: each.outcome_number or 0)]


def run_simulated(
    searcher: Searcher,
    objective: Objective,
    *,
    n_trials: int,
    n_workers: int = 1,
    durations: Iterable[float] | None = None,
    seed: int = 0,
) -> SimulatedStudy:
    """Run a search on simulated asynchronous workers: each freed worker is told and refilled at once.

    Parameters
    ----------
    searcher : Searcher
    objective : callable
        From a config to the loss (minimised), or to those of several objectives.
    n_trials : int
        Finished trials at the end; fewer if the space is exhausted.
    n_workers : int
    durations : iterable of float, optional
        How long each trial takes, in the order of submission; lognormal with a spread of 0.5
        of the logarithm unless given.
    seed : int
        Of the durations.

    Returns
    -------
    SimulatedStudy
    """
    study = SimulatedStudy(searcher)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xD0]))
    times = iter(durations) if durations is not None else iter(lambda: float(rng.lognormal(0.0, 0.5)), None)
    busy: list[tuple[float, int]] = []
    clock = 0.0
    for _ in range(n_trials):
        free = min(n_workers - len(busy), n_trials - len(study.trials))
        for trial in _ask_one_by_one(study, free):
            heapq.heappush(busy, (clock + next(times), trial.trial_id))
        if not busy:
            break
        clock, trial_id = heapq.heappop(busy)
        trial = study.trials[trial_id]
        study.tell(trial, objective(dict(trial.config)))
    return study


def _ask_one_by_one(study: SimulatedStudy, n: int) -> Sequence[Trial]:
    created: list[Trial] = []
    for _ in range(n):
        new = study.ask(1)
        if not new:
            break
        created.extend(new)
    return created

"""The contract of every searcher: pure ask and tell, no I/O, no clock, no execution.

A searcher's state is a fold over what it was told. Two things make it reproducible:

* trials told between two asks are folded in the order of their ids, at the next ask;
* the generator of ask number k is ``default_rng(SeedSequence([seed, k]))``.

So the asks follow from the seed and from which trials each ask had seen, not from the order in which those came: where
trials are asked for together and all awaited, the search is the same however long each of them took. A study's
history records which they were (``Trial.ask_number``, ``Trial.ask_saw``, ``Trial.outcome_number``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from dhflow.constraint import Constraint, is_feasible
from dhflow.errors import SearchError
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial, TrialStatus


class Searcher(ABC):
    """Base of all searchers.

    Parameters
    ----------
    space : SearchSpace
    seed : int
        Fixes the search.

    Notes
    -----
    A subclass implements :meth:`_ask` and, if it learns, :meth:`_fold`. Its options are
    keyword-only arguments of its constructor, so an unknown option is an error.
    """

    name: ClassVar[str]
    """Under which ``searcher="…"`` finds it."""
    needs_budget: ClassVar[bool] = False
    """Whether it spends budgets, and its constructor takes the problem's ``budget_range``."""
    max_objectives: ClassVar[int | None] = None
    """How many objectives it can learn from; None for any number."""
    models_constraints: ClassVar[bool] = False
    """Whether it learns itself which trials violate :attr:`constraints`; to the others they are as failed ones."""

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        if seed < 0:
            raise SearchError(f"seed is {seed}: it must not be negative")
        self.space = space
        self.seed = seed
        self.options: dict[str, Any] = {}
        self.constraints: tuple[Constraint, ...] = ()
        """The study's, on what the objective returns; set before anything is told."""
        self.full_budget: float | None = None
        """What a trial without a budget of its own is to spend, if the searcher has to say."""
        self._n_asks = 0
        self._n_suggested = 0
        self._unfolded: dict[int, Trial] = {}
        self._folded: set[int] = set()

    def expect(self, n_objectives: int, constraints: Sequence[Constraint] = ()) -> None:
        """Say what results will look like, before the first of them is told.

        Raises
        ------
        SearchError
            If the searcher cannot learn from that.
        """
        del n_objectives
        self.constraints = tuple(constraints)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Suggestion]:
        """Suggest up to `n` trials.

        Parameters
        ----------
        n : int
            How many, at least 1.
        pending : sequence of Trial
            Every trial that was suggested (by anybody) and has not been told.

        Returns
        -------
        list of Suggestion
            Empty when there is nothing to suggest before the next tell; fewer than `n` when
            the space holds no more untried configs.
        """
        if n < 1:
            raise SearchError(f"ask({n}): ask for at least one trial")
        self._fold_told()
        suggestions = self._answer(n, pending)
        self._n_asks += 1
        self._n_suggested += len(suggestions)
        return suggestions

    def tell(self, trials: Iterable[Trial]) -> None:
        """Report finished trials, the searcher's own and others'; telling one twice changes nothing."""
        for trial in trials:
            if not trial.is_finished:
                raise SearchError(f"tell: trial {trial.trial_id} is {trial.status.value}, not finished")
            if trial.trial_id not in self._folded:
                self._unfolded[trial.trial_id] = trial

    def replayed(self, ask_number: int, n_suggested: int) -> None:
        """Take note of an ask that the history holds; nothing is computed.

        Asks that suggested nothing leave no trace in a history, so numbers may be missing.
        """
        self._fold_told()
        self._n_asks = ask_number + 1
        self._n_suggested += n_suggested

    @property
    def n_asks(self) -> int:
        """How many asks have been answered: the number of the next one."""
        return self._n_asks

    @property
    def packages(self) -> tuple[str, ...]:
        """Modules that asks will import; a session may load them while its workers start."""
        return ()

    def describe(self) -> dict[str, Any]:
        """Return the searcher's name and options as JSON, for the history."""
        return {"name": self.name, "seed": self.seed, "options": dict(self.options)}

    def state(self) -> dict[str, Any]:
        """Return a JSON snapshot of what is not a fold over told trials."""
        return {"n_asks": self._n_asks, "n_suggested": self._n_suggested}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a snapshot of :meth:`state` back, on a searcher that was told the same trials."""
        self._n_asks = int(state["n_asks"])
        self._n_suggested = int(state["n_suggested"])

    def _fold_told(self) -> None:
        if self._unfolded:
            batch = [self._as_learned(self._unfolded[trial_id]) for trial_id in sorted(self._unfolded)]
            self._unfolded.clear()
            self._folded.update(each.trial_id for each in batch)
            self._fold(batch)

    def _as_learned(self, trial: Trial) -> Trial:
        """Return a told trial as it is folded: as FAILED if it violates a constraint that is not modelled."""
        if self.models_constraints or not trial.losses or is_feasible(trial, self.constraints):
            return trial
        return replace(trial, status=TrialStatus.FAILED, values={}, losses=())

    def _answer(self, n: int, pending: Sequence[Trial]) -> list[Suggestion]:
        # Apart, for searchers that need no generator: making one takes longer than a random config.
        return self._ask(n, pending, np.random.default_rng(np.random.SeedSequence([self.seed, self._n_asks])))

    @abstractmethod
    def _ask(self, n: int, pending: Sequence[Trial], rng: np.random.Generator) -> list[Suggestion]:
        """Suggest up to `n` trials; everything told has been folded."""

    def _fold(self, trials: Sequence[Trial]) -> None:  # noqa: B027 - most designs learn nothing
        """Learn from finished trials, given in the order of their ids; override to learn."""

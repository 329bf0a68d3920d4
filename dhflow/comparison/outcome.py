"""What a comparison gives back: every run's trajectory, and the paired figures that follow from them.

Notation
--------
n : repeats that every searcher has;  k : searchers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dhflow.comparison.spec import SearcherSpec
from dhflow.comparison.statistics import Interval, bootstrap_ratio, holm, paired_ranks, wilcoxon_signed_rank
from dhflow.constraint import is_feasible
from dhflow.errors import SearchError
from dhflow.flow.standing import Standing
from dhflow.objective import Objective

if TYPE_CHECKING:
    from dhflow.result import Result

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One search of a comparison; values in the user's sign, None where a trial had none.

    Parameters
    ----------
    searcher : str
        Label.
    repeat, seed : int
    split : int, optional
        Split seed of the problem.
    values, best : tuple of float or None
        For each finished trial, in the order in which they ended: its value, and the best one until then. One that
        violates a constraint has no value here.
    times_s : tuple of float
        When each ended, in seconds since the first trial started on a worker, pauses between sessions left out.
    utilisation : float, optional
        Share of busy worker time in the last session.
    n_workers : int
    n_failed : int
        Finished trials that failed or were lost; one that was stopped early has no value here either.
    n_infeasible : int
        Completed trials that violate a constraint.
    full_trainings : float, optional
        How many trainings at the full budget the finished trials' budgets come to, whatever they had in common with
        the trials that they went on from; None in runs that were kept before this was counted.
    reason : str
        Why the search ended.
    history : str
        File, or "".
    """

    searcher: str
    repeat: int
    seed: int
    split: int | None = None
    values: tuple[float | None, ...] = ()
    best: tuple[float | None, ...] = ()
    times_s: tuple[float, ...] = ()
    utilisation: float | None = None
    n_workers: int = 0
    n_failed: int = 0
    n_infeasible: int = 0
    full_trainings: float | None = None
    reason: str = ""
    history: str = ""

    @property
    def final(self) -> float | None:
        """The best value at the end."""
        return self.best[-1] if self.best else None

    @property
    def per_hour(self) -> float:
        """Finished trials per hour, from the first start on a worker to the last end."""
        return 3600 * len(self.times_s) / self.times_s[-1] if self.times_s and self.times_s[-1] > 0 else math.nan

    def share_of(self, threshold: float, objective: Objective) -> float:
        """Return the share of finished trials that are at least as good as `threshold`."""
        good = [each is not None and objective.to_loss(each) <= objective.to_loss(threshold) for each in self.values]
        return sum(good) / len(good) if good else math.nan

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """Return the run that ``asdict`` and JSON made a mapping of; what a newer version added is left out."""
        known: dict[str, Any] = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        for name, each in known.items():
            known[name] = tuple(each) if isinstance(each, list) else each
        return cls(**known)


def measure(
    result: Result, spec: SearcherSpec, *, repeat: int, seed: int, split: int | None, full_budget: float | None = None
) -> Run:
    """Return what a comparison keeps of one search; trials without a budget of their own had `full_budget`."""
    constraints = result.constraints
    finished = [each for each in result.trials if each.is_finished and each.outcome_number is not None]
    finished.sort(key=lambda each: each.outcome_number or 0)
    standing = Standing(result.objectives[0], constraints=constraints)
    best: list[float | None] = []
    for each in finished:
        standing.add(each)
        best.append(standing.value)
    ends = [each.attempts[-1].received_at or each.created_at if each.attempts else each.created_at for each in finished]
    used = result.utilisation
    return Run(
        spec.label,
        repeat,
        seed,
        split,
        tuple(
            each.objective if each.status.value == "completed" and is_feasible(each, constraints) else None
            for each in finished
        ),
        tuple(best),
        _seconds(result, ends),
        None if used is None else used.share,
        0 if used is None else used.n_workers,
        result.n_failed,
        standing.n_infeasible,
        sum(1.0 if each.budget is None or full_budget is None else each.budget / full_budget for each in finished),
        result.reason,
        "" if result.history is None else str(result.history),
    )


def _seconds(result: Result, moments: Sequence[float]) -> tuple[float, ...]:
    """Return moments as seconds of running time: each session counts from its first start on a worker."""
    starts = sorted(each.started_at for t in result.trials for each in t.attempts if each.started_at is not None)
    began = [session.at for session, _ in result.record.sessions]
    first = [next((each for each in starts if each >= at), at) for at in began]
    found, before = [], 0.0
    for number, at in enumerate(first):
        until = began[number + 1] if number + 1 < len(began) else math.inf
        own = [each for each in moments if began[number] <= each < until]
        found += [round(before + max(0.0, each - at), 4) for each in own]
        before = found[-1] if found else before
    return tuple(np.maximum.accumulate(found).tolist()) if found else ()


@dataclass(frozen=True, repr=False)
class Comparison:
    """Searchers compared on one problem.

    Parameters
    ----------
    problem : str
    objective : Objective
    searchers : tuple of SearcherSpec
    runs : tuple of Run
    baseline : str
        Label of the searcher that the others are tested against, "first" or "best".
    threshold : float, optional
        What counts as a good trial.
    optimum : float, optional
        The best value there is; the best one seen in any run unless given.
    settings : mapping
        JSON: limits, seed and the like.
    """

    problem: str
    objective: Objective
    searchers: tuple[SearcherSpec, ...]
    runs: tuple[Run, ...]
    baseline: str = "first"
    threshold: float | None = None
    optimum: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The searchers' labels, in their order."""
        return [each.label for each in self.searchers]

    def runs_of(self, label: str) -> list[Run]:
        """Return a searcher's runs by repeat."""
        return sorted((each for each in self.runs if each.searcher == label), key=lambda each: each.repeat)

    @cached_property
    def repeats(self) -> list[int]:
        """The repeats that every searcher has."""
        done = [{each.repeat for each in self.runs if each.searcher == label} for label in self.labels]
        return sorted(set.intersection(*done)) if done else []

    @cached_property
    def losses(self) -> FloatArray:
        """Final losses (n, k), minimised, infinite for a run without a value."""
        by_key = {(each.searcher, each.repeat): each for each in self.runs}
        rows = [[self._loss(by_key[label, repeat].final) for label in self.labels] for repeat in self.repeats]
        return np.array(rows, dtype=np.float64).reshape(len(self.repeats), len(self.labels))

    @cached_property
    def best_loss(self) -> float:
        """The optimum's loss: errors count from it."""
        known = [self._loss(each) for run in self.runs for each in run.values if each is not None]
        least = min(known, default=math.nan)
        return least if self.optimum is None else min(least, self._loss(self.optimum))

    @cached_property
    def errors(self) -> FloatArray:
        """Distances (n, k) of the final values from the optimum; infinite for a run without a value."""
        return self.losses - self.best_loss

    @cached_property
    def ranks(self) -> FloatArray:
        """Ranks (n, k) within each repeat, 1 the best."""
        return paired_ranks(self.losses)

    @property
    def base(self) -> str:
        """Label of the searcher that the others are tested against."""
        if self.baseline == "first":
            return self.labels[0]
        if self.baseline == "best":
            return self.labels[int(np.argmin(self.ranks.mean(axis=0)))] if self.repeats else self.labels[0]
        if self.baseline not in self.labels:
            raise SearchError(f"baseline {self.baseline!r} is none of: first, best, {', '.join(self.labels)}")
        return self.baseline

    def summary(self) -> list[dict[str, Any]]:
        """Return one row of figures per searcher, as JSON.

        Returns
        -------
        list of dict
            ``final_mean`` and ``final_std`` are of the runs that have a value; ``n_without`` says how many have none.
        """
        tests = {each["searcher"]: each for each in self.pairs()}
        return [self._row(number, label, tests.get(label, {})) for number, label in enumerate(self.labels)]

    def _row(self, number: int, label: str, test: Mapping[str, Any]) -> dict[str, Any]:
        runs = self.runs_of(label)
        finals = [each.final for each in runs if each.final is not None]
        good = [] if self.threshold is None else [each.share_of(self.threshold, self.objective) for each in runs]
        return {
            "searcher": label,
            "runs": len(runs),
            "n_without": len(runs) - len(finals),
            "mean_rank": _json(self.ranks[:, number].mean()) if self.repeats else None,
            "final_mean": _json(float(np.mean(finals))) if finals else None,
            "final_std": _json(float(np.std(finals, ddof=1))) if len(finals) > 1 else None,
            "final_best": min(finals, key=self.objective.to_loss, default=None),
            "share_above": _mean(good) if good else None,
            "utilisation": _mean([each.utilisation for each in runs]),
            "per_hour": _mean([each.per_hour for each in runs]),
            "trials": _mean([len(each.values) for each in runs]),
            "full_trainings": _mean([each.full_trainings for each in runs]),
            "failed": sum(each.n_failed for each in runs),
            "infeasible": sum(each.n_infeasible for each in runs),
            "p_holm": test.get("p_holm"),
            "error_ratio": test.get("error_ratio"),
        }

    def pairs(self) -> list[dict[str, Any]]:
        """Return for each other searcher its test against the baseline, as JSON.

        Returns
        -------
        list of dict
            ``p``: Wilcoxon's signed-rank test of the final values, exact; ``p_holm``: adjusted for the number of
            searchers; ``error_ratio``: mean error over the baseline's with its 95 % interval, a run without a
            value counting as the worst that was seen.
        """
        if not self.repeats:
            return []
        base = self.labels.index(self.base)
        others = [each for each in range(len(self.labels)) if each != base]
        p_values = [wilcoxon_signed_rank(self.losses[:, each], self.losses[:, base]) for each in others]
        found = []
        for each, p, adjusted in zip(others, p_values, holm(p_values), strict=True):
            a, b = self.losses[:, each], self.losses[:, base]
            found.append(
                {
                    "searcher": self.labels[each],
                    "baseline": self.labels[base],
                    "wins": int((a < b).sum()),
                    "ties": int((a == b).sum()),
                    "losses": int((a > b).sum()),
                    "p": p,
                    "p_holm": adjusted,
                    "error_ratio": _interval(self._error_ratio(each, base)),
                }
            )
        return found

    def split_spread(self) -> dict[str, float | None] | None:
        """Return how much the final values vary with the repeat (its split and seed), and how much beside that.

        Returns
        -------
        dict or None
            ``repeats``: standard deviation of the repeats' means over searchers; ``rest``: of what is left when
            the repeat's and the searcher's mean are taken off. None with fewer than two repeats or with runs
            that have no value.
        """
        if len(self.repeats) < 2 or not np.isfinite(self.losses).all():
            return None
        n, k = self.losses.shape
        rows, columns = self.losses.mean(axis=1, keepdims=True), self.losses.mean(axis=0, keepdims=True)
        rest = self.losses - rows - columns + self.losses.mean()
        freedom = (n - 1) * (k - 1)
        return {
            "repeats": float(rows.std(ddof=1)),
            "rest": float(np.sqrt((rest**2).sum() / freedom)) if freedom else None,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything, the runs' trajectories included, as JSON."""
        return {
            "problem": self.problem,
            "objective": {"name": self.objective.name, "direction": self.objective.direction},
            "settings": dict(self.settings),
            "searchers": [each.to_json() for each in self.searchers],
            "baseline": self.base,
            "threshold": self.threshold,
            "optimum": _json(self.objective.from_loss(self.best_loss)),
            "repeats": len(self.repeats),
            "summary": self.summary(),
            "pairs": self.pairs(),
            "split_spread": self.split_spread() if self.settings.get("resample_split") else None,
            "final_errors": {
                label: [_json(each) for each in sorted(self.errors[:, i])] for i, label in enumerate(self.labels)
            },
            "runs": [asdict(each) for each in self.runs],
        }

    def __repr__(self) -> str:
        ranks = self.ranks.mean(axis=0) if self.repeats else [math.nan] * len(self.labels)
        shown = ", ".join(f"{label} {rank:.2f}" for label, rank in zip(self.labels, ranks, strict=True))
        return f"Comparison({self.problem!r}, {len(self.repeats)} repeats, mean ranks: {shown})"

    def _loss(self, value: float | None) -> float:
        return math.inf if value is None else self.objective.to_loss(value)

    def _error_ratio(self, index: int, base: int) -> Interval:
        finite = self.errors[np.isfinite(self.errors)]
        errors = np.where(np.isfinite(self.errors), self.errors, finite.max() if finite.size else 0.0)
        return bootstrap_ratio(errors[:, index], errors[:, base])


def _json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None and math.isfinite(each)]
    return float(np.mean(known)) if known else None


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: _json(each) for name, each in interval._asdict().items()}

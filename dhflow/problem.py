"""What is to be solved: a search space, an objective, and how its values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dhflow.constraint import Constraints, parse_constraints
from dhflow.errors import SearchError, SpaceError
from dhflow.objective import parse_direction
from dhflow.space import SearchSpace
from dhflow.trial import Config


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a trial may be taken: training epochs, a share of the data, simulated steps.

    Parameters
    ----------
    name : str
        What is counted, for example ``"epochs"``.
    low, high : float
        The smallest budget that tells anything, and the full one.

    Raises
    ------
    SearchError
        Unless 0 < low <= high.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise SearchError(f"budget {self.name!r}: need 0 < low <= high, got low={self.low}, high={self.high}")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"name": self.name, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Problem:
    """A search space with its objective; a problem file has one at module level, named ``problem``.

    Parameters
    ----------
    space : SearchSpace
    objective : callable, str or Parsl app
        ``objective(config)`` or ``objective(config, trial)`` returning a float or a mapping; a command
        template such as ``"python train.py --lr {learning_rate}"``; or an existing Parsl app.
    direction : str or mapping
        ``"minimize"``, ``"maximize"``, or a mapping from objective name to one of them.
    budget : Budget, optional
    defaults : mapping or sequence of mappings
        Configs to evaluate first, in this order; the first one is what a search is compared with.
    per_worker : callable, optional
        Prepares data once per worker; its result is ``trial.prepared``.
    name : str
    resample : callable, optional
        From a split seed to this problem on another random split of its data, with the same space and direction;
        for comparisons over splits (``dhflow compare --resample-split``). See :meth:`resampled`.
    constraints : str or sequence of str
        Bounds on what the objective returns, such as ``["memory_gb <= 16", "latency_ms < 5"]``: a trial beyond one
        is never the best, and searchers keep away from it.
    """

    space: SearchSpace
    objective: Callable[..., Any] | str
    direction: str | Mapping[str, str] = "minimize"
    budget: Budget | None = None
    defaults: Config | Sequence[Config] = ()
    per_worker: Callable[[], Any] | None = None
    name: str = ""
    resample: Callable[[int], Problem] | None = None
    constraints: Constraints = ()
    starting_points: tuple[dict[str, Any], ...] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.space, SearchSpace):
            raise SpaceError(f"a Problem's space must be a SearchSpace, not {type(self.space).__name__}")
        if not callable(self.objective) and not isinstance(self.objective, str):
            raise SearchError(f"a Problem's objective must be a function or a command, not {self.objective!r}")
        parse_direction(self.direction)
        object.__setattr__(self, "constraints", parse_constraints(self.constraints))
        given = [self.defaults] if isinstance(self.defaults, Mapping) else list(self.defaults)
        points = [self.space.validate(each) for each in given]
        points += [each for each in self.space.starting_points if each not in points]
        object.__setattr__(self, "starting_points", tuple(points))

    def resampled(self, split_seed: int) -> Problem:
        """Return this problem on the split of its data that a seed makes.

        Raises
        ------
        SearchError
            If the problem does not say how, or another problem comes back.

        Examples
        --------
        A problem file defines its problem as a function of the split::

            def make_problem(split_seed=0):
                return Problem(space, objective, per_worker=partial(load_data, split_seed), resample=make_problem)

            problem = make_problem()
        """
        what = f"problem {self.name!r}" if self.name else "this problem"
        if self.resample is None:
            raise SearchError(
                f"{what} does not say how its data are split anew: give it resample=function, which returns the "
                "problem of a split seed"
            )
        made = self.resample(split_seed)
        if not isinstance(made, Problem):
            raise SearchError(f"resample({split_seed}) of {what} must return a Problem, not {type(made).__name__}")
        same_goal = parse_direction(made.direction) == parse_direction(self.direction)
        if made.space != self.space or not same_goal or made.constraints != self.constraints:
            raise SearchError(
                f"resample({split_seed}) of {what} has another space, direction or constraints: "
                "only the data may differ"
            )
        return made

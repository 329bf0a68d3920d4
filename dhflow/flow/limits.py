"""When a study stops: by trials, budget, wall time, node-hours, target value or plateau."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dhflow.errors import SearchError


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop; None is no limit. A study stops at the first one that it reaches.

    Parameters
    ----------
    max_trials : int, optional
        Trials in the history, those of earlier sessions included, loaded ones (``add_trials``) not.
    max_budget : float, optional
        Units of budget over all those trials.
    wall_time_s : float, optional
        Seconds of this session, queue wait included. Trials that run when it ends are
        asked to stop, then given up, and run again at resume.
    node_hours : float, optional
        Nodes times hours of this session.
    target : float, optional
        Objective value that is good enough, in the user's sign; of one objective only.
    plateau : int, optional
        Finished trials in a row without a better value; with several objectives, without news in the Pareto set.

    Raises
    ------
    SearchError
        If a limit is negative, or not a number.
    """

    max_trials: int | None = None
    max_budget: float | None = None
    wall_time_s: float | None = None
    node_hours: float | None = None
    target: float | None = None
    plateau: int | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SearchError(f"{each.name} must be a number, not {value!r}")
            if each.name != "target" and value < 0:
                raise SearchError(f"{each.name} must not be negative, it is {value}")
        for name in ("max_trials", "plateau"):
            value = getattr(self, name)
            if value is not None and int(value) != value:
                raise SearchError(f"{name} must be a whole number, it is {value}")

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing but the user would ever stop the study."""
        return all(getattr(self, each.name) is None for each in fields(self))

    def wall_limit_s(self, n_nodes: int) -> float | None:
        """Return the seconds after which a session on `n_nodes` must end, or None."""
        by_nodes = None if self.node_hours is None else self.node_hours * 3600 / max(1, n_nodes)
        given = [each for each in (self.wall_time_s, by_nodes) if each is not None]
        return min(given, default=None)

"""How a session is run: the options of ``search``, ``Study.run`` and ``search_app``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from dhflow.errors import SearchError
from dhflow.flow.limits import Limits
from dhflow.flow.run_directory import KEEP, Keep

if TYPE_CHECKING:
    from parsl import Config as ParslConfig
    from parsl import DataFlowKernel

    from dhflow.flow.driver import Observer
    from dhflow.flow.resources import Resources
    from dhflow.monitor.policy import Adapt, Policy
    from dhflow.monitor.stopper import Stopper


DEFAULT_SITE = "laptop"


class RunOptions(TypedDict, total=False):
    """The keyword arguments of ``Study.run``, ``search`` and ``search_app``; see :class:`RunSettings`."""

    site: str | Path | ParslConfig | DataFlowKernel | Executor
    site_set: Mapping[str, Any]
    executors: Sequence[str] | None
    workers: int | None
    max_trials: int | None
    max_budget: float | None
    wall_time_s: float | None
    node_hours: float | None
    target: float | None
    plateau: int | None
    timeout_s: float | None
    abort_after: int | None
    max_attempts: int
    prefetch: int | None
    keep: Keep
    output_limit_bytes: int
    arguments: Mapping[str, Any]
    per_worker: Callable[[], Any] | None
    resources: Resources | None
    progress: bool
    adapt: Adapt
    max_auto: int
    stoppers: Sequence[str | Stopper]
    channel: str
    observers: Sequence[Observer]
    reference: Mapping[str, Any]


@dataclass(frozen=True)
class RunSettings:
    """How to run one session.

    Parameters
    ----------
    site
        A site's name, a path to a site file, a ``parsl.Config``, a loaded ``DataFlowKernel``, or any
        ``concurrent.futures.Executor``.
    site_set : mapping
        Arguments of a named site.
    executors : sequence of str, optional
        Labels of the Parsl executors to use.
    workers : int, optional
        Trials at a time, where the executor does not say.
    max_trials, max_budget, wall_time_s, node_hours, target, plateau
        Limits; see :class:`~dhflow.flow.limits.Limits`.
    timeout_s : float, optional
        A trial that runs longer is ended and FAILED; on threads its slot is abandoned.
    abort_after : int, optional
        Stop when the first trials, this many, all fail on the same line.
    max_attempts : int
        A trial whose worker was lost this often is LOST.
    prefetch : int, optional
        Suggestions to keep ready; None adapts it, and keeps none for one worker.
    keep : {"all", "failed", "none"}
        Whose files stay beside the history.
    output_limit_bytes : int
        What is kept of a trial's output.
    arguments : mapping
        Further keyword arguments of the objective.
    per_worker : callable, optional
        Prepares data once per worker: ``trial.prepared``.
    resources : mapping or callable, optional
        How wide each trial is, for Parsl's MPIExecutor: ``{"num_nodes": "nodes", "ranks_per_node": 4}``, where a
        word stands for the parameter of that name; or a function from config to such a mapping.
    progress : bool
        Show the progress on standard error.
    adapt : {"suggest", "stop", "auto"}
        What the monitor does about what it finds in running trials: only show it; also stop red trials; also try
        the first change that is suggested, as a new trial.
    max_auto : int
        At most so many trials are made by ``adapt="auto"``, earlier sessions included. They count among
        `max_trials`: once the searcher has suggested as many, none is made.
    stoppers : sequence of str or Stopper
        End trials that are not worth their time, with every searcher: ``"nan"``, ``"median"``, ``"extrapolation"``,
        ``"time"``, or objects of :mod:`dhflow.monitor.stopper`. The last two need to know how many steps a whole run
        has: from a declared budget, or from ``KerasMonitor(trial)``.
    channel : str
        How running trials and the driver talk: ``"auto"`` (by files, or where none are shared with the result),
        ``"zmq"``, ``"zmq:10.1.2.3"`` with the address of this machine that workers reach,
        ``"zmq:10.1.2.3:57000-58000"`` or ``"zmq:57000-58000"`` with ports other than 56000 to 56999.
    observers : sequence of Observer
    reference : mapping
        JSON that is kept with the session in the history: where a later one finds the problem and these options.
    """

    site: str | Path | ParslConfig | DataFlowKernel | Executor = DEFAULT_SITE
    site_set: Mapping[str, Any] = field(default_factory=dict)
    executors: Sequence[str] | None = None
    workers: int | None = None
    max_trials: int | None = None
    max_budget: float | None = None
    wall_time_s: float | None = None
    node_hours: float | None = None
    target: float | None = None
    plateau: int | None = None
    timeout_s: float | None = None
    abort_after: int | None = 3
    max_attempts: int = 3
    prefetch: int | None = None
    keep: Keep = "all"
    output_limit_bytes: int = 1 << 20
    arguments: Mapping[str, Any] = field(default_factory=dict)
    per_worker: Callable[[], Any] | None = None
    resources: Resources | None = None
    progress: bool = False
    adapt: Adapt = "suggest"
    max_auto: int = 10
    stoppers: Sequence[str | Stopper] = ()
    channel: str = "auto"
    observers: Sequence[Observer] = ()
    reference: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise SearchError(f"keep must be one of {', '.join(KEEP)}, not {self.keep!r}")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise SearchError(f"timeout_s must be positive, it is {self.timeout_s}")
        if self.max_attempts < 1:
            raise SearchError(f"max_attempts must be at least 1, it is {self.max_attempts}")
        if self.channel not in ("auto", "zmq") and not self.channel.startswith("zmq:"):
            raise SearchError(
                f'channel must be "auto", "zmq", "zmq:ADDRESS" or "zmq:ADDRESS:PORT-PORT", not {self.channel!r}'
            )
        _ = self.policy
        if self.limits.is_unlimited:
            raise SearchError("this search would never end: give max_trials, wall_time_s or another limit")

    @property
    def limits(self) -> Limits:
        """The limits among these settings."""
        return Limits(**{each.name: getattr(self, each.name) for each in fields(Limits)})

    @property
    def policy(self) -> Policy:
        """What the monitor may do."""
        # Here: the rules need not be loaded by those who only look at a history.
        from dhflow.monitor.policy import Policy
        from dhflow.monitor.stopper import make_stoppers

        return Policy(self.adapt, make_stoppers(self.stoppers), self.max_auto)

    @classmethod
    def of(cls, options: RunOptions) -> RunSettings:
        """Return the settings that keyword arguments make.

        Raises
        ------
        SearchError
            If an option is unknown; close matches are named.
        """
        known = [each.name for each in fields(cls)]
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
                raise SearchError(f"unknown option {name!r}; {hint}")
        return cls(**options)

"""Every error that dhflow raises, in one tree.

::

    DhflowError(Exception)
    ├─ SpaceError(ValueError)              the search space is badly written; ``path`` says where
    │  └─ ConfigNotInSpaceError            a config does not lie in the space
    ├─ SearchError(RuntimeError)           the search cannot go on as asked
    │  ├─ SpaceExhaustedError              (nearly) no config is allowed, or all have been tried
    │  ├─ UnknownTrialError(KeyError)      told about a trial that nobody asked for
    │  ├─ GeneratorError(ValueError)       a generator cannot give or take such points
    │  └─ SurrogateError                   a surrogate or an acquisition got impossible numbers
    ├─ TrialError                          stored as a TrialFailure, not raised by default
    │  ├─ TrialTimeoutError(TimeoutError)  the trial outlived its limit
    │  ├─ TrialLostError                   the worker is gone; retryable
    │  └─ ObjectiveError                   the objective returned NaN, nothing, or the wrong type
    ├─ ExecutionError                      the trials cannot be executed at all
    │  └─ SiteError                        a site argument is bad or missing; ``argument`` says which
    ├─ HistoryError(OSError)               the history file cannot be used
    │  ├─ HistoryFormatError               it was written by a newer version, or is no history
    │  ├─ HistoryLockedError               another process writes to it; retryable
    │  └─ HistoryCorruptError              it is damaged; the message says how to recover
    ├─ BuildError                          a network cannot be built
    │  └─ ShapeMismatchError               ``node``, ``got``, ``need``
    └─ MissingExtraError(ImportError)      an optional dependency is not installed
"""

from __future__ import annotations


class DhflowError(Exception):
    """Base of all errors raised by dhflow; catching it catches every one of them."""


class SpaceError(DhflowError, ValueError):
    """The search space is badly written.

    Parameters
    ----------
    message : str
    path : str, optional
        Where in the space, for example ``"momentum.when"``.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message, path)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"


class ConfigNotInSpaceError(SpaceError):
    """A config does not lie in the search space."""


class SearchError(DhflowError, RuntimeError):
    """The search cannot go on as asked."""


class SpaceExhaustedError(SearchError):
    """(Nearly) no config of the space is allowed, or all of them have been tried."""


class UnknownTrialError(SearchError, KeyError):
    """A trial was named that this study does not know.

    Parameters
    ----------
    message : str
    trial_id : int, optional
    """

    def __init__(self, message: str, trial_id: int | None = None) -> None:
        super().__init__(message, trial_id)
        self.message = message
        self.trial_id = trial_id

    def __str__(self) -> str:
        return self.message


class GeneratorError(SearchError, ValueError):
    """A generator of the gest-api convention cannot give, or take, the points that it was asked for."""


class SurrogateError(SearchError):
    """A surrogate or an acquisition was given numbers that it cannot work with."""


class TrialError(DhflowError):
    """A trial failed; normally stored as a :class:`~dhflow.trial.TrialFailure`, not raised."""


class TrialTimeoutError(TrialError, TimeoutError):
    """The trial outlived its time limit."""


class TrialLostError(TrialError):
    """The worker that ran the trial is gone; the trial can be run again."""


class ObjectiveError(TrialError):
    """The objective returned NaN, nothing, or a value of the wrong type."""


class ExecutionError(DhflowError):
    """Trials cannot be executed at all: no worker, no block, an objective that cannot be shipped."""


class SiteError(ExecutionError):
    """A site is unknown, or one of its arguments is bad or missing.

    Parameters
    ----------
    message : str
    argument : str, optional
        The argument at fault.
    """

    def __init__(self, message: str, argument: str | None = None) -> None:
        super().__init__(message, argument)
        self.message = message
        self.argument = argument

    def __str__(self) -> str:
        return self.message


class HistoryError(DhflowError, OSError):
    """The history file cannot be used as asked."""


class HistoryFormatError(HistoryError):
    """The file is no history, belongs to another search space, or a newer version wrote it."""


class HistoryLockedError(HistoryError):
    """Another process writes to the history; try again when it has ended."""


class HistoryCorruptError(HistoryError):
    """The file is damaged; the message says how to recover."""


class BuildError(DhflowError):
    """A network cannot be built from an architecture."""


class ShapeMismatchError(BuildError):
    """Two tensors do not fit together.

    Parameters
    ----------
    message : str
    node : str, optional
        Path of the node.
    got, need : tuple of int, optional
        The shapes.
    """

    def __init__(
        self,
        message: str,
        node: str | None = None,
        got: tuple[int | None, ...] | None = None,
        need: tuple[int | None, ...] | None = None,
    ) -> None:
        super().__init__(message, node, got, need)
        self.message = message
        self.node = node
        self.got = got
        self.need = need

    def __str__(self) -> str:
        return self.message


class MissingExtraError(DhflowError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    message : str
    extra : str, optional
        The extra that brings it: ``pip install "dhflow[extra]"``.
    """

    def __init__(self, message: str, extra: str | None = None) -> None:
        super().__init__(message, extra)
        self.message = message
        self.extra = extra

    def __str__(self) -> str:
        return self.message if self.extra is None else f'{self.message} (needs: pip install "dhflow[{self.extra}]")'

"""Searchers by name, and their options."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from dhflow.constraint import Constraint
from dhflow.errors import SearchError
from dhflow.searcher.agebo import AgEbo
from dhflow.searcher.ambs import Ambs
from dhflow.searcher.asha import Asha, AsyncHyperband, MedianStopping
from dhflow.searcher.base import Searcher
from dhflow.searcher.evolution import GeneticSearch, RegularizedEvolution
from dhflow.searcher.grid import GridSearch
from dhflow.searcher.halving import Hyperband, SuccessiveHalving
from dhflow.searcher.model_hyperband import ModelHyperband
from dhflow.searcher.nsga2 import Nsga2
from dhflow.searcher.preset import Auto, GaussianProcessSearch
from dhflow.searcher.q_learning import QLearning
from dhflow.searcher.quasi_random import HaltonSearch, LatinHypercubeSearch, SobolSearch
from dhflow.searcher.random_search import RandomSearch
from dhflow.searcher.reinforce import Ppo, Reinforce
from dhflow.searcher.tpe import Tpe
from dhflow.space import SearchSpace

_REGISTRY: dict[str, type[Searcher]] = {}
_NOT_OPTIONS = frozenset({"self", "space", "seed", "budget_range"})


def register_searcher(searcher: type[Searcher]) -> type[Searcher]:
    """Make a searcher class available under its ``name``; usable as a decorator.

    Raises
    ------
    SearchError
        If another class has that name, or the class has none.
    """
    name = getattr(searcher, "name", None)
    if not isinstance(name, str) or not name:
        raise SearchError(f"{searcher.__qualname__} has no name: set the class attribute `name`")
    if _REGISTRY.setdefault(name, searcher) is not searcher:
        raise SearchError(f"the name {name!r} belongs to {_REGISTRY[name].__qualname__}")
    return searcher


def searcher_names() -> list[str]:
    """Return the names that :func:`make_searcher` knows."""
    return list(_REGISTRY)


def searcher_options(searcher: str | type[Searcher]) -> dict[str, Any]:
    """Return a searcher's options and their defaults."""
    parameters = inspect.signature(searcher_class(searcher)).parameters
    return {
        name: each.default
        for name, each in parameters.items()
        if name not in _NOT_OPTIONS and each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
    }


def make_searcher(
    searcher: str | type[Searcher] | Searcher,
    space: SearchSpace,
    *,
    seed: int = 0,
    n_objectives: int = 1,
    constraints: Sequence[Constraint] = (),
    budget_range: tuple[float, float] | None = None,
    **options: Any,
) -> Searcher:
    """Return a searcher.

    Parameters
    ----------
    searcher : str, Searcher class or Searcher
        A name of :func:`searcher_names`, a class of the user's, or a ready object, which is returned.
    space : SearchSpace
    seed : int
        Fixes the search; a ready object keeps its own.
    n_objectives : int
    constraints : sequence of Constraint
        What the objective's results must meet.
    budget_range : (float, float), optional
        The problem's smallest and full budget, for searchers over budgets.
    **options
        The searcher's own, see :func:`searcher_options`.

    Raises
    ------
    SearchError
        If name or option is unknown, an option's value is impossible, the searcher cannot take
        so many objectives, or a ready object belongs to another space or gets options.
    """
    if isinstance(searcher, Searcher):
        made = _checked_object(searcher, space, options)
    else:
        made_from = searcher_class(searcher)
        check_options(made_from, options)
        budgets = {"budget_range": budget_range} if made_from.needs_budget else {}
        made = made_from(space, seed=seed, **options, **budgets)
        # Defaults too: a later version's may be others.
        made.options = {name: _as_json(each) for name, each in {**searcher_options(made_from), **options}.items()}
    expect(made, n_objectives, constraints)
    return made


def expect(searcher: Searcher, n_objectives: int, constraints: Sequence[Constraint]) -> None:
    """Tell a searcher what results will look like.

    Raises
    ------
    SearchError
        If it cannot learn from so many objectives; the message names those that can.
    """
    most = searcher.max_objectives
    if most is not None and n_objectives > most:
        able = [name for name, each in _REGISTRY.items() if each.max_objectives is None]
        raise SearchError(
            f"{_label(type(searcher))} takes {most} objective{'s' if most > 1 else ''}, not {n_objectives}; "
            f"any number: {', '.join(able)}"
        )
    searcher.expect(n_objectives, constraints)


def searcher_class(searcher: str | type[Searcher]) -> type[Searcher]:
    """Return the class of a name; a class is returned as it is.

    Raises
    ------
    SearchError
        If the name is unknown; the message names a close one.
    """
    if isinstance(searcher, type) and issubclass(searcher, Searcher):
        return searcher
    if not isinstance(searcher, str):
        raise SearchError(f"searcher is {searcher!r}: give a name, a Searcher class or a Searcher")
    if searcher not in _REGISTRY:
        close = difflib.get_close_matches(searcher, _REGISTRY, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise SearchError(f"there is no searcher {searcher!r}{hint}; there are: {', '.join(_REGISTRY)}")
    return _REGISTRY[searcher]


def check_options(searcher: str | type[Searcher], options: Iterable[str]) -> None:
    """Refuse names that are no options of a searcher.

    Raises
    ------
    SearchError
        If the searcher or an option is unknown; the message names a close one.
    """
    made_from = searcher_class(searcher)
    known = searcher_options(made_from)
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            valid = f"its options are: {', '.join(known)}" if known else "it has no options"
            raise SearchError(f"{_label(made_from)} has no option {name!r}{hint}; {valid}")


def _checked_object(searcher: Searcher, space: SearchSpace, options: dict[str, Any]) -> Searcher:
    if options:
        raise SearchError(f"options {', '.join(options)} cannot be given to a searcher that is already made")
    if searcher.space != space:
        raise SearchError("the searcher was made for another search space")
    return searcher


def _as_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _label(searcher: type[Searcher]) -> str:
    return f"searcher {getattr(searcher, 'name', searcher.__qualname__)!r}"


for _each in (
    Auto,
    RandomSearch,
    LatinHypercubeSearch,
    SobolSearch,
    HaltonSearch,
    GridSearch,
    Ambs,
    GaussianProcessSearch,
    Tpe,
    RegularizedEvolution,
    GeneticSearch,
    Nsga2,
    Reinforce,
    Ppo,
    QLearning,
    AgEbo,
    SuccessiveHalving,
    Hyperband,
    Asha,
    AsyncHyperband,
    MedianStopping,
    ModelHyperband,
):
    register_searcher(_each)

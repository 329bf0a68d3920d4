"""What the surrogate of a model-based search believed, at several of its asks: replayed from the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dhflow.errors import SearchError, SurrogateError
from dhflow.flow.resume import in_order_of_outcome
from dhflow.flow.text import count
from dhflow.plot import figure as look
from dhflow.plot.scale import short, split_feasible
from dhflow.searcher.registry import make_searcher
from dhflow.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dhflow.result import Result
    from dhflow.searcher.ambs import Ambs
    from dhflow.space import SearchSpace

FloatArray = npt.NDArray[np.float64]

_GRID_1D, _GRID_2D = 240, 48
_PANELS = {1: 6, 2: 4}
_MAX_TICKS = 6
_WITH_SURROGATE = ("auto", "gp", "ambs")


@dataclass(frozen=True)
class Belief:
    """What was believed when one ask was answered.

    Parameters
    ----------
    n_seen : int
        Finished trials that the ask knew.
    mean, std : (m,) or (m1, m2)
        On the grid, in the surrogate's scores of the losses: lower is better.
    scores : (k,)
        What the trials in `seen` came to, in the same units.
    seen : tuple of Trial
        The completed ones among them.
    pending, asked : tuple of Trial
        Running then; suggested by this ask.
    """

    n_seen: int
    mean: FloatArray
    std: FloatArray
    scores: FloatArray
    seen: tuple[Trial, ...]
    pending: tuple[Trial, ...]
    asked: tuple[Trial, ...]


@dataclass(frozen=True)
class Grid:
    """Where the surrogate is asked: one or two parameters vary, the others are those of the best config.

    Parameters
    ----------
    space : SearchSpace
    names : tuple of str
        One or two.
    """

    space: SearchSpace
    names: tuple[str, ...]

    @property
    def columns(self) -> list[int]:
        """Their columns in the encoding."""
        return [self.space.names.index(each) for each in self.names]

    def axes(self, base: dict[str, Any]) -> list[FloatArray]:
        """Return the encoded places along each parameter, no value twice."""
        found = []
        for column in self.columns:
            X = np.repeat(self.space.encode([base]), _GRID_1D if len(self.names) == 1 else _GRID_2D, axis=0)
            X[:, column] = np.linspace(0.0, 1.0, len(X))
            found.append(np.unique(self.space.snap(X)[:, column]))
        return found

    def configs(self, base: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the configs of all places, the first parameter slowest."""
        mesh = np.meshgrid(*self.axes(base), indexing="ij")
        X = np.repeat(self.space.encode([base]), mesh[0].size, axis=0)
        for column, places in zip(self.columns, mesh, strict=True):
            X[:, column] = places.ravel()
        return self.space.decode(X)

    def places(self, trials: Sequence[Trial]) -> FloatArray:
        """Return where trials lie (n, 1 or 2)."""
        if not trials:
            return np.empty((0, len(self.names)))
        return self.space.encode([each.config for each in trials])[:, self.columns]


def plot_surrogate(result: Result, names: Sequence[str] | None = None) -> Figure:
    """Draw the surrogate's mean, its bound and the trials, at up to six asks from its first to its last.

    Parameters
    ----------
    result : Result
        Of a study whose last session was searched by a model: ``auto``, ``gp`` or ``ambs``.
    names : sequence of str, optional
        One or two parameters to look along; needed in spaces of more than two. The others are held at the best
        config that was known at each ask.

    Returns
    -------
    Figure
        One parameter: mean with its bound, over the parameter. Two: the mean above, the bound below.
        All in the scores of losses that the surrogate is fitted to, lower is better: of a forest normal scores of
        ranks; of a Gaussian process, which is what is drawn of ``auto``, Yeo and Johnson's transform of them.

    Raises
    ------
    SearchError
        If the study has no surrogate, or `names` are not one or two of its parameters.
    """
    space = result.space
    chosen = _checked_names(space, names)
    searcher = _searcher(result, space)
    grid = Grid(space, chosen)
    beliefs = list(_beliefs(result, searcher, grid))
    draw = _draw_line if len(chosen) == 1 else _draw_maps
    return draw(result, grid, beliefs, searcher.kappa)


def _checked_names(space: SearchSpace, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        names = [each for each in space.names if space.parameters[each].n_values > 1]
        if len(names) > 2:
            raise SearchError(f"name one or two of the parameters to look along: {', '.join(names)}")
    for each in names:
        if each not in space.names:
            raise SearchError(f"there is no parameter {each!r}; there are: {', '.join(space.names)}")
    if len(names) not in (1, 2) or len(set(names)) != len(names):
        raise SearchError(f"a surrogate is drawn along one or two parameters, not {len(set(names))}")
    return tuple(names)


def _searcher(result: Result, space: SearchSpace) -> Ambs:
    from dhflow.searcher.ambs import Ambs

    sessions = result.record.sessions
    told: dict[str, Any] = sessions[-1][0].info.get("searcher", {}) if sessions else {}
    name = told.get("name", "nobody")
    if name not in _WITH_SURROGATE:
        raise SearchError(
            f"this study was searched by {name!r}: only {', '.join(map(repr, _WITH_SURROGATE))} have a surrogate here"
        )
    made = make_searcher(name, space, seed=int(told["seed"]), constraints=result.constraints, **told["options"])
    assert isinstance(made, Ambs)
    return made


def _beliefs(result: Result, searcher: Ambs, grid: Grid) -> Iterator[Belief]:
    """Replay the asks of a study and yield the belief at those that are drawn."""
    outcomes = in_order_of_outcome(result.record)
    asks: dict[int, list[Trial]] = {}
    for each in result.trials:
        if each.ask_number is not None:
            asks.setdefault(each.ask_number, []).append(each)
    sizes = Counter({number: len(own) for number, own in asks.items()})
    drawn = _chosen_asks(result, asks, searcher.n_initial, _PANELS[len(grid.names)])
    n_told = 0
    for number in sorted(sizes):
        saw = max(n_told, asks[number][0].ask_saw or 0)
        searcher.tell(outcomes[n_told:saw])
        n_told = saw
        searcher.replayed(number, sizes[number])
        if number in drawn:
            yield _belief(result, searcher, grid, asks[number], outcomes[:saw])


def _chosen_asks(result: Result, asks: dict[int, list[Trial]], n_initial: int, n: int) -> set[int]:
    """Return up to `n` asks that had a surrogate, spread so that each knew about the same factor more trials."""
    outcomes = in_order_of_outcome(result.record)
    saw = {number: own[0].ask_saw or 0 for number, own in asks.items()}
    able = [number for number in sorted(saw) if saw[number] >= n_initial and _good(result, outcomes[: saw[number]])]
    if not able:
        raise SearchError(f"there is no surrogate to draw: it begins after {n_initial} finished trials")
    wanted = np.geomspace(saw[able[0]], max(saw[able[-1]], saw[able[0]]), n)
    return {min(able, key=lambda number: abs(saw[number] - each)) for each in wanted}


def _good(result: Result, trials: Iterable[Trial]) -> list[Trial]:
    """Return those completed trials that meet the constraints: the grid lies around the best of them."""
    return split_feasible(result, [each for each in trials if each.status is TrialStatus.COMPLETED and each.losses])[0]


def _belief(result: Result, searcher: Ambs, grid: Grid, asked: Sequence[Trial], seen: Sequence[Trial]) -> Belief:
    known = {each.trial_id for each in seen}
    first = min(each.trial_id for each in asked)
    pending = [each for each in result.trials if each.trial_id < first and each.trial_id not in known]
    done = _good(result, seen)
    base = dict(min(done, key=lambda each: each.losses[0]).config)
    try:
        mean, std = searcher.predict(grid.configs(base), pending)
    except SurrogateError as error:
        raise SearchError(str(error)) from error
    shape = [each.size for each in grid.axes(base)]
    scores = searcher.scores([each.losses[0] for each in done])
    return Belief(len(seen), mean.reshape(shape), std.reshape(shape), scores, tuple(done), tuple(pending), tuple(asked))


# Drawing ----------------------------------------------------------------------------------------------


def _draw_line(result: Result, grid: Grid, beliefs: Sequence[Belief], kappa: float) -> Figure:
    n_columns = min(3, len(beliefs))
    n_rows = -(-len(beliefs) // n_columns)
    figure = look.new_figure(3.6 * n_columns + 0.6, 2.7 * n_rows + 0.8)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, belief in zip(panels, beliefs, strict=False):
        base = dict(min(belief.seen, key=lambda each: each.losses[0]).config)
        at = grid.axes(base)[0]
        bound = belief.mean - kappa * belief.std
        axes.fill_between(at, bound, belief.mean, color=look.SKY, alpha=0.35, linewidth=0, label="down to the bound")
        axes.plot(at, belief.mean, color=look.BLUE, linewidth=1.5, label="mean")
        places = grid.places(belief.seen)[:, 0]
        axes.scatter(places, belief.scores, s=14, color=look.DARK, zorder=3, label="trials")
        for trials, colour, label in (
            (belief.pending, look.GREY, "running"),
            (belief.asked, look.ORANGE, "asked next"),
        ):
            for i, x in enumerate(grid.places(trials)[:, 0]):
                axes.axvline(x, color=colour, linewidth=1.2, linestyle=(0, (4, 2)), label=label if i == 0 else None)
        axes.set_title(f"after {count(belief.n_seen, 'trial')}", fontsize=9, color=look.DARK)
        _ticks(axes, grid, 0, "x")
        look.tidy(axes)
    for axes in panels[len(beliefs) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("score of the loss, lower is better", fontsize=9)
    _head(figure, result, list(panels[: len(beliefs)]))
    return figure


def _draw_maps(result: Result, grid: Grid, beliefs: Sequence[Belief], kappa: float) -> Figure:
    n = len(beliefs)
    figure = look.new_figure(2.9 * n + 1.2, 6.2)
    panels = figure.subplots(2, n, squeeze=False, sharex=True, sharey=True)
    shown = ("mean", [each.mean for each in beliefs]), ("bound", [each.mean - kappa * each.std for each in beliefs])
    for row, (what, surfaces) in enumerate(shown):
        low, high = min(each.min() for each in surfaces), max(each.max() for each in surfaces)
        for axes, belief, surface in zip(panels[row], beliefs, surfaces, strict=True):
            base = dict(min(belief.seen, key=lambda each: each.losses[0]).config)
            x, y = grid.axes(base)
            mesh = axes.pcolormesh(
                x, y, surface.T, cmap=f"{look.COLOUR_MAP}_r", vmin=low, vmax=high, shading="nearest", rasterized=True
            )
            _points(axes, grid, belief)
            if row == 0:
                axes.set_title(f"after {count(belief.n_seen, 'trial')}", fontsize=9, color=look.DARK)
            _ticks(axes, grid, 0, "x")
            _ticks(axes, grid, 1, "y")
        bar = figure.colorbar(mesh, ax=list(panels[row]), pad=0.01, aspect=24)
        bar.set_label(f"{what} (score of the loss)", fontsize=9, color=look.DARK)
        bar.outline.set_visible(False)
    _head(figure, result, list(panels[0]))
    return figure


def _points(axes: Axes, grid: Grid, belief: Belief) -> None:
    marks: tuple[tuple[tuple[Trial, ...], dict[str, Any]], ...] = (
        (belief.seen, {"s": 12, "color": "white", "edgecolors": look.DARK, "linewidths": 0.6, "label": "trials"}),
        (belief.pending, {"s": 30, "marker": "s", "color": look.GREY, "edgecolors": look.DARK, "label": "running"}),
        (belief.asked, {"s": 90, "marker": "*", "color": look.VERMILION, "edgecolors": "white", "label": "asked next"}),
    )
    for trials, style in marks:
        if trials:
            axes.scatter(*grid.places(trials).T, zorder=3, clip_on=False, **style)


def _ticks(axes: Axes, grid: Grid, number: int, which: str) -> None:
    """Write a parameter's values where they are in the encoding."""
    name = grid.names[number]
    parameter, column = grid.space.parameters[name], grid.columns[number]
    n = int(min(parameter.n_values, _MAX_TICKS)) if getattr(parameter, "listed", None) is not None else 3
    X = np.repeat(grid.space.encode([grid.space.default_config()]), n, axis=0)
    X[:, column] = np.linspace(0.0, 1.0, n)
    X = grid.space.snap(X)
    # A parameter that the default config has not is decoded where it is active.
    labels = [short(_value(grid, name, column, place)) for place in X[:, column]]
    getattr(axes, f"set_{which}ticks")(list(X[:, column]), labels)
    getattr(axes, f"set_{which}label")(name, fontsize=9, color=look.DARK)
    axes.tick_params(labelsize=8)


def _value(grid: Grid, name: str, column: int, place: float) -> Any:
    """Return a parameter's value at an encoded place, from a config in which it is active."""
    rng = np.random.default_rng(0)
    rows = grid.space.sample_encoded(200, rng)
    active = rows[grid.space.active(rows)[:, column]][:1]
    if not len(active):
        return round(place, 3)
    active[0, column] = place
    return grid.space.decode(active)[0].get(name, round(place, 3))


def _head(figure: Figure, result: Result, panels: Sequence[Axes]) -> None:
    found = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.suptitle(
        f"{look.name_of(result)}: surrogate", x=0.01, ha="left", fontsize=12, fontweight="bold", color=look.DARK
    )
    figure.legend([*found.values()], [*found], loc="outside upper right", ncols=5, frameon=False, fontsize=9)

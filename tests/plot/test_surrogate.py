from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow import Categorical, Constant, Float, Integer, SearchSpace, search
from dhflow.cli import main
from dhflow.errors import SearchError
from dhflow.plot import draw, plot_surrogate
from dhflow.plot.surrogate import Grid, _beliefs, _searcher
from dhflow.result import Result
from dhflow.surrogate.target import normal_scores

LINE = SearchSpace({"x": Float(-2.0, 2.0), "fixed": Constant(3)})
MIXED = SearchSpace(
    {
        "x": Float(-2.0, 2.0),
        "kind": Categorical(["a", "b"]),
        "depth": Integer(1, 5, when={"kind": "a"}),
        "y": Float(1e-3, 1.0, log=True),
    }
)


def searched(space: SearchSpace, n: int = 24, searcher: str = "ambs", **options: Any) -> Result:
    return search(
        lambda config: config["x"] ** 2 + config.get("depth", 3),
        space,
        searcher=searcher,
        site_set={"executor": "threads", "workers": 2},
        seed=1,
        max_trials=n,
        **options,
    )


def test_a_line_has_mean_bound_and_trials_at_several_asks() -> None:
    figure: Any = plot_surrogate(searched(LINE))
    titles = [each.get_title() for each in figure.axes if each.get_visible()]
    assert titles[0] in ("after 10 trials", "after 11 trials")
    assert 2 <= len(titles) <= 6
    counts = [int(each.split()[1]) for each in titles]
    assert counts == sorted(set(counts))
    for axes, n in zip(figure.axes, counts, strict=False):
        (points,) = [each for each in axes.collections if each.get_label() == "trials"]
        assert len(points.get_offsets()) == n
    figure.draw_without_rendering()


@pytest.mark.parametrize("searcher", ["auto", "gp"])
def test_a_gaussian_process_passes_through_its_trials(searcher: str) -> None:
    result = searched(LINE, searcher=searcher)
    beliefs = list(_beliefs(result, _searcher(result, result.space), Grid(result.space, ("x",))))
    for each in beliefs:
        at = Grid(result.space, ("x",)).axes(dict(each.seen[0].config))[0]
        places = result.space.encode([trial.config for trial in each.seen])[:, 0]
        assert np.interp(places, at, each.mean) == pytest.approx(each.scores, abs=0.35)
    plot_surrogate(result).draw_without_rendering()


def test_infeasible_trials_are_left_out_of_what_is_drawn() -> None:
    result = searched(LINE, constraints="objective <= 5")
    assert 0 < result.n_infeasible < 14
    beliefs = list(_beliefs(result, _searcher(result, result.space), Grid(result.space, ("x",))))
    assert all(result.is_feasible(trial) for each in beliefs for trial in each.seen)
    plot_surrogate(result)


def test_the_replayed_belief_knows_what_its_ask_knew() -> None:
    result = searched(LINE)
    searcher = _searcher(result, result.space)
    beliefs = list(_beliefs(result, searcher, Grid(result.space, ("x",))))
    for each in beliefs:
        assert all((trial.outcome_number or 0) < each.n_seen for trial in each.seen)
        assert {trial.ask_saw for trial in each.asked} == {each.n_seen}
        assert each.scores == pytest.approx(normal_scores([trial.losses[0] for trial in each.seen]))
        # The forest follows its trials: low where they are low.
        middle = each.mean[len(each.mean) // 3 : 2 * len(each.mean) // 3].mean()
        assert middle < np.mean([each.mean[0], each.mean[-1]])
        assert each.scores.min() - 1 < each.mean.min() <= each.mean.max() < each.scores.max() + 1
        assert (each.std >= 0).all()


def test_two_parameters_are_maps_also_conditional_ones(tmp_path: Path) -> None:
    result = searched(MIXED, history=tmp_path / "h.h5")
    for names in (["x", "y"], ["kind", "depth"], ["depth"]):
        figure: Any = plot_surrogate(result, names)
        figure.draw_without_rendering()
    assert draw(result, "surrogate", tmp_path / "s.png", parameters=["x", "kind"]).read_bytes().startswith(b"\x89PNG")
    out = str(tmp_path / "t.png")
    assert main.run(["plot", str(tmp_path / "h.h5"), "--kind", "surrogate", "--parameters", "x,y", "-o", out]) == 0
    assert Path(out).exists()


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    result = searched(MIXED)
    with pytest.raises(SearchError, match="name one or two of the parameters"):
        plot_surrogate(result)
    with pytest.raises(SearchError, match="there is no parameter 'z'"):
        plot_surrogate(result, ["z"])
    with pytest.raises(SearchError, match="along one or two parameters"):
        plot_surrogate(result, ["x", "y", "kind"])
    with pytest.raises(SearchError, match="only 'auto', 'gp', 'ambs' have a surrogate"):
        plot_surrogate(searched(LINE, searcher="random"))
    with pytest.raises(SearchError, match="begins after 10 finished trials"):
        plot_surrogate(searched(LINE, n=6))
    with pytest.raises(SearchError, match="takes no parameters"):
        draw(result, "timeline", tmp_path / "a.png", parameters=["x"])

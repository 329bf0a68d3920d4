from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, Study
from dhflow.errors import SearchError
from dhflow.plot import draw, plot_objective, plot_parallel, plot_parameters, plot_pareto
from dhflow.plot.figure import usual_kind
from dhflow.result import Result

SPACE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(1.0, 2.0)})
TWO = {"accuracy": "maximize", "latency_ms": "minimize"}


def study(*values: tuple[float, ...], direction: dict[str, str] | None = None, constraints: str = "") -> Result:
    directions = direction or TWO
    made = Study(SPACE, direction=directions, searcher="random", seed=1, constraints=constraints or ())
    for each in values:
        made.tell(made.ask(), dict(zip(directions, each, strict=True)))
    return made.result


def offsets(axes: Any, label: str) -> list[tuple[float, float]]:
    (found,) = [each for each in axes.collections if each.get_label() == label]
    return [tuple(each) for each in found.get_offsets()]


def test_two_objectives_are_drawn_with_the_set_and_its_edge() -> None:
    figure: Any = plot_pareto(study((0.5, 10.0), (0.9, 30.0), (0.4, 20.0), (0.7, 15.0)))
    (axes,) = figure.axes
    assert offsets(axes, "Pareto set") == [(0.9, 30.0), (0.7, 15.0), (0.5, 10.0)]
    assert offsets(axes, "trial") == [(0.4, 20.0)]
    (edge,) = axes.lines
    assert edge.get_xydata().tolist() == [[0.9, 30.0], [0.7, 15.0], [0.5, 10.0]]
    assert edge.get_drawstyle() == "steps-post"
    assert axes.get_xlabel() == "accuracy (maximized)"
    assert axes.get_ylabel() == "latency_ms (minimized)"
    figure.draw_without_rendering()


def test_three_objectives_are_drawn_in_pairs() -> None:
    directions = {"a": "minimize", "b": "minimize", "c": "maximize"}
    figure: Any = plot_pareto(study((1.0, 2.0, 3.0), (2.0, 1.0, 3.0), (3.0, 3.0, 9.0), direction=directions))
    labels = [(each.get_xlabel().split()[0], each.get_ylabel().split()[0]) for each in figure.axes]
    assert labels == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len(offsets(figure.axes[0], "Pareto set")) == 3
    assert len(figure.axes[0].lines[0].get_xydata()) == 2, "the third is behind in these two"
    figure.draw_without_rendering()


def test_a_member_that_lies_far_off_is_within_the_scale() -> None:
    values = [(0.5 + i / 100, 10.0 + i) for i in range(20)]
    figure: Any = plot_pareto(study(*values, (0.1, 1e6), (0.99, 1e4)))
    assert 1e4 < figure.axes[0].get_ylim()[1] < 1e6


def test_infeasible_trials_are_hollow_and_not_in_the_set() -> None:
    values = ((0.5, 10.0), (0.9, 30.0), (0.4, 20.0), (0.7, 15.0))
    figure: Any = plot_pareto(study(*values, constraints="latency_ms < 20"))
    (axes,) = figure.axes
    assert offsets(axes, "infeasible") == [(0.9, 30.0), (0.4, 20.0)]
    assert offsets(axes, "Pareto set") == [(0.7, 15.0), (0.5, 10.0)]
    figure.draw_without_rendering()
    nothing: Any = plot_pareto(study(*values, constraints="latency_ms < 1"))
    assert len(offsets(nothing.axes[0], "infeasible")) == 4
    nothing.draw_without_rendering()


def test_equal_trials_are_drawn() -> None:
    figure: Any = plot_pareto(study((0.5, 10.0), (0.5, 10.0)))
    figure.draw_without_rendering()


def test_where_there_is_no_set_it_says_so() -> None:
    with pytest.raises(SearchError, match="of several objectives, and this study has one"):
        plot_pareto(study((0.5,), direction={"accuracy": "maximize"}))
    with pytest.raises(SearchError, match="no trial has completed yet"):
        plot_pareto(study())


@pytest.mark.parametrize("plot", [plot_objective, plot_parallel, plot_parameters])
def test_the_other_figures_show_the_first_objective(plot: Callable[[Result], Any]) -> None:
    drawn = plot(study((0.5, 10.0), (0.9, 30.0), (0.4, 20.0)))
    figure = drawn if hasattr(drawn, "savefig") else drawn.figure
    figure.draw_without_rendering()
    assert any("accuracy (maximized)" in each.get_ylabel() for each in figure.axes)


def test_the_usual_figure(tmp_path: Path) -> None:
    result = study((0.5, 10.0), (0.9, 30.0))
    assert usual_kind(result) == "pareto"
    assert usual_kind(study((0.5,), direction={"accuracy": "maximize"})) == "objective"
    assert draw(result, usual_kind(result), tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")

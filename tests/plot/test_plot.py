from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import Budget, Categorical, Constant, Float, Integer, Ordinal, SearchSpace, Study
from dhflow.errors import DhflowError, MissingExtraError, SearchError
from dhflow.objective import Objective
from dhflow.plot import draw, plot_objective, plot_parallel, plot_parameters, plot_timeline
from dhflow.plot.figure import KINDS
from dhflow.plot.scale import is_log, places, value_limits
from dhflow.plot.timeline import attempt_bars
from dhflow.result import Result
from dhflow.trial import TrialStatus

MakeResult = Callable[..., Result]

MIXED = [0.8, 0.7, "failed", 0.9, 0.75, "lost", 0.85, 0.95, 0.1, 0.6, 0.7, None]


def offsets(axes: Any, label: str) -> list[tuple[float, float]]:
    (found,) = [each for each in axes.collections if each.get_label() == label]
    return [tuple(each) for each in found.get_offsets()]


def lay_out_all(result: Result) -> None:
    """Draw every kind up to the last step, the pixels."""
    for plot in (plot_objective, plot_timeline, plot_parameters, plot_parallel):
        drawn: Any = plot(result)
        (drawn if hasattr(drawn, "savefig") else drawn.figure).draw_without_rendering()


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [each for each in KINDS if each not in ("pareto", "surrogate")])
def test_every_kind_is_drawn_into_a_file(make_result: MakeResult, tmp_path: Path, kind: str) -> None:
    path = draw(make_result(MIXED), kind, tmp_path / f"{kind}.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("suffix", "head"), [(".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")])
def test_the_suffix_says_the_format(make_result: MakeResult, tmp_path: Path, suffix: str, head: bytes) -> None:
    path = draw(make_result(MIXED), "timeline", tmp_path / f"figure{suffix}")
    assert path.read_bytes().startswith(head)


def test_an_unknown_kind_or_suffix_says_what_there_is(make_result: MakeResult, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="there are: objective, timeline"):
        draw(make_result(MIXED), "pie", tmp_path / "a.png")
    with pytest.raises(SearchError, match=r"one of \.png, \.pdf, \.svg"):
        draw(make_result(MIXED), "objective", tmp_path / "a.txt")
    with pytest.raises(DhflowError, match="cannot be written"):
        draw(make_result(MIXED), "objective", tmp_path / "nowhere" / "a.png")


def test_matplotlibs_global_state_is_left_alone(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import made_result
import matplotlib
before = dict(matplotlib.rcParams)
from dhflow.plot import draw
draw(made_result([0.5, 0.6, "failed"]), "objective", {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
assert dict(matplotlib.rcParams) == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_matplotlib_the_extra_is_named(make_result: MakeResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"dhflow\[plot\]"):
        plot_objective(make_result(MIXED))


@pytest.mark.parametrize("plot", [plot_objective, plot_parallel, plot_parameters, plot_timeline])
def test_a_study_without_trials_has_nothing_to_draw(make_result: MakeResult, plot: Callable[..., Any]) -> None:
    with pytest.raises(SearchError, match="nothing to draw"):
        plot(make_result([]))


@pytest.mark.parametrize("outcomes", [[0.5], [0.5, 0.5, 0.5], ["failed", 0.5], [-1e9, 1e9], [1e-300, 2e-300]])
def test_few_equal_and_extreme_values_are_drawn(make_result: MakeResult, outcomes: list[Any]) -> None:
    lay_out_all(make_result(outcomes))


# Objective ---------------------------------------------------------------------------------------


def test_the_objective_shows_values_the_best_so_far_the_default_and_failures(make_result: MakeResult) -> None:
    axes: Any = plot_objective(make_result([0.5, 0.4, "failed", 0.9, 0.7]))
    assert offsets(axes, "trial") == [(1, 0.5), (2, 0.4), (4, 0.9), (5, 0.7)]
    lines = {each.get_label(): each for each in axes.get_lines()}
    assert [*zip(*lines["best so far"].get_data(), strict=True)] == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.9), (5, 0.9)]
    assert {*lines["default 0.5"].get_ydata()} == {0.5}
    assert [x for x, _ in offsets(axes, "failed")] == [3]
    assert offsets(axes, "best 0.9") == [(4, 0.9)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trials finished", "accuracy (maximized)")


def test_a_minimized_objective_goes_down(make_result: MakeResult) -> None:
    axes: Any = plot_objective(make_result([0.5, 0.4, 0.9], direction="minimize"))
    line = next(each for each in axes.get_lines() if each.get_label() == "best so far")
    assert [*line.get_ydata()] == [0.5, 0.4, 0.4]
    assert axes.get_ylabel() == "accuracy (minimized)"


def constrained(result: Result, *texts: str) -> Result:
    """Return the study as it would be with constraints."""
    header = result.record.header
    assert header is not None
    record = result.record.copy()
    record.header = dataclasses.replace(header, constraints=texts)
    return dataclasses.replace(result, record=record)


def test_infeasible_trials_are_hollow_and_never_the_best(make_result: MakeResult) -> None:
    result = constrained(make_result([0.5, 0.4, 0.9, "failed", 0.7]), "accuracy < 0.8")
    axes: Any = plot_objective(result)
    assert offsets(axes, "infeasible") == [(3, 0.9)]
    assert offsets(axes, "trial") == [(1, 0.5), (2, 0.4), (5, 0.7)]
    assert offsets(axes, "best 0.7") == [(5, 0.7)]
    assert axes.get_title(loc="right") == "5 trials, 1 infeasible, 1 failed"
    figure: Any = plot_parameters(result)
    assert "infeasible" in [each.get_text() for each in figure.legends[0].get_texts()]
    assert plot_parallel(result).get_title(loc="right") == "3 completed trials, 1 infeasible left out"
    lay_out_all(result)


def test_without_a_feasible_trial_there_is_a_figure_without_a_best(make_result: MakeResult) -> None:
    result = constrained(make_result([0.5, 0.4, 0.9]), "accuracy > 0.95")
    axes: Any = plot_objective(result)
    assert len(offsets(axes, "infeasible")) == 3
    assert "best so far" not in [each.get_label() for each in axes.get_lines()]
    for plot in (plot_parameters, plot_timeline):
        drawn: Any = plot(result)
        (drawn if hasattr(drawn, "savefig") else drawn.figure).draw_without_rendering()
    with pytest.raises(SearchError, match="meets the constraints"):
        plot_parallel(result)


def test_a_far_off_value_is_marked_at_the_edge_and_does_not_set_the_scale(make_result: MakeResult) -> None:
    values = [1.0 + 0.01 * i for i in range(20)]
    axes: Any = plot_objective(make_result([*values, 1e9], direction="minimize"))
    assert axes.get_ylim()[1] < 2.0
    ((x, y),) = offsets(axes, "off the scale")
    assert x == 21
    assert y > 0.9  # of the axes' height: above, where the value is


def test_given_axes_are_drawn_on(make_result: MakeResult) -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert plot_objective(make_result([0.5]), axes) is axes
    assert plot_timeline(make_result([0.5]), axes) is axes


def test_limits_hold_all_values_that_lie_near() -> None:
    up, down = Objective("a", "maximize"), Objective("a", "minimize")
    values = [0.1 * i for i in range(10)]
    for objective in (up, down):
        limits = value_limits(values, objective)
        assert limits is not None
        assert limits[0] < 0.0 < 0.9 < limits[1]
    assert value_limits([], up) is None
    assert value_limits([3.0, 3.0], up) is None
    cut = value_limits([*values, -1e6], up)
    assert cut is not None
    assert -2.0 < cut[0] < cut[1] < 2.0
    # The far-off value is the best: it is never cut.
    kept = value_limits([*values, 1e6], up)
    assert kept is not None
    assert kept[1] > 1e6


# Timeline ----------------------------------------------------------------------------------------


def test_the_timeline_has_a_row_per_worker_and_no_two_bars_at_once(make_result: MakeResult) -> None:
    result = make_result([0.5] * 20 + ["failed"], n_workers=3)
    bars = attempt_bars(result)
    assert sorted(each.trial_id for each in bars) == list(range(21))
    by_worker: dict[str, list[Any]] = {}
    for bar in bars:
        by_worker.setdefault(bar.worker, []).append(bar)
    assert len(by_worker) == 3
    for own in by_worker.values():
        own.sort(key=lambda each: each.begin_s)
        assert all(before.end_s <= after.begin_s for before, after in itertools.pairwise(own))
    assert bars[0].begin_s == pytest.approx(5.0)
    axes: Any = plot_timeline(result)
    assert len(axes.patches) == 21
    assert axes.get_xlabel() == "seconds since the session began"
    assert [each.get_text() for each in axes.get_yticklabels()] == ["4000", "4001", "4002"]


@pytest.mark.parametrize(("trial_s", "unit"), [(100.0, "minutes"), (3000.0, "hours"), (100_000.0, "days")])
def test_time_has_the_unit_that_suits(make_result: MakeResult, trial_s: float, unit: str) -> None:
    axes: Any = plot_timeline(make_result([0.5] * 12, duration_s=lambda _: trial_s))
    assert axes.get_xlabel().startswith(unit)


def test_an_instant_failure_can_be_seen(make_result: MakeResult) -> None:
    axes: Any = plot_timeline(make_result([0.5, "failed", 0.6, 0.7]))
    width = axes.get_xlim()[1]
    assert min(each.get_width() for each in axes.patches) >= 0.002 * width


def test_a_session_that_is_not_there_is_refused(make_result: MakeResult) -> None:
    with pytest.raises(SearchError, match="1 session"):
        plot_timeline(make_result([0.5]), session=3)


# Parameters ---------------------------------------------------------------------------------------


def test_each_parameter_has_its_own_scale(make_result: MakeResult) -> None:
    figure: Any = plot_parameters(make_result(MIXED))
    pictures = {each.get_xlabel().partition(" ")[0]: each for each in figure.axes if each.get_visible()}
    assert list(pictures) == ["learning_rate", "batch_size", "epochs", "optimizer", "momentum", "batch_norm"]
    assert pictures["learning_rate"].get_xscale() == "log"
    assert pictures["batch_size"].get_xscale() == "log"
    assert pictures["epochs"].get_xscale() == "linear"
    assert [each.get_text() for each in pictures["optimizer"].get_xticklabels()] == ["sgd", "adam", "rmsprop"]
    assert [each.get_text() for each in pictures["batch_size"].get_xticklabels()] == [str(8 * 2**i) for i in range(7)]
    assert len({tuple(each.get_ylim()) for each in pictures.values()}) == 1


def test_a_trial_without_a_parameter_is_not_in_its_picture(make_result: MakeResult) -> None:
    result = make_result([0.5 + 0.01 * i for i in range(20)])
    n_sgd = sum("momentum" in each.config for each in result.trials)
    figure: Any = plot_parameters(result, ["momentum"])
    (axes,) = figure.axes
    assert 0 < n_sgd < 20
    assert axes.get_xlabel() == f"momentum  ({n_sgd} of 20)"
    assert len(axes.collections[0].get_offsets()) == n_sgd


def test_an_unknown_parameter_is_named(make_result: MakeResult) -> None:
    with pytest.raises(SearchError, match="there is no parameter 'momentun'"):
        plot_parameters(make_result([0.5]), ["momentun"])


@pytest.mark.parametrize(
    ("parameter", "logarithmic", "named"),
    [
        (Float(1e-3, 1.0, log=True), True, None),
        (Float(0.0, 1.0), False, None),
        (Integer(1, 100, log=True), True, None),
        (Ordinal.geometric(8, 64, 2), False, None),
        (Ordinal.geometric(8, 512, 2), True, None),
        (Ordinal([0, 10, 100]), False, None),
        (Ordinal(["low", "high"]), False, ["low", "high"]),
        (Categorical([1, 2, 3]), False, [1, 2, 3]),
        (Categorical([True, False]), False, [True, False]),
    ],
)
def test_a_parameter_says_how_it_is_drawn(parameter: Any, logarithmic: bool, named: list[Any] | None) -> None:
    assert is_log(parameter) is logarithmic
    assert places(parameter) == named


# Parallel -----------------------------------------------------------------------------------------


def test_parallel_draws_the_best_of_the_full_budget_among_lower_losses_of_small_ones() -> None:
    study = Study(SearchSpace({"x": Float(0.0, 1.0)}), searcher="random", seed=1, budget=Budget("epochs", 1, 9))
    for i in range(30):
        asked = study.ask()
        study.record.trials[asked.trial_id] = dataclasses.replace(asked, budget=None if i == 0 else 1.0)
        study.tell(asked, 10.0 if i == 0 else 0.01 * i)
    axes: Any = plot_parallel(study.result, max_lines=5)
    assert "trial 0" in axes.get_legend_handles_labels()[1][0]


def test_parallel_has_a_line_per_completed_config_and_an_axis_per_parameter(make_result: MakeResult) -> None:
    result = make_result(MIXED)
    axes: Any = plot_parallel(result)
    (lines,) = axes.collections
    n_completed = sum(each.status is TrialStatus.COMPLETED for each in result.trials)
    assert len(lines.get_segments()) == n_completed
    assert len(axes.get_xticks()) == len(result.space)
    best = next(each for each in axes.get_lines() if str(each.get_label()).startswith("best 0.95"))
    assert len(best.get_xdata()) == len(result.space)


def test_of_many_configs_the_best_are_drawn(make_result: MakeResult) -> None:
    axes: Any = plot_parallel(make_result([0.001 * i for i in range(50)]), max_lines=20)
    (lines,) = axes.collections
    assert len(lines.get_segments()) == 20
    assert axes.get_title(loc="right") == "the best 20 of 50 completed trials"


def test_a_space_of_one_value_is_drawn(make_result: MakeResult) -> None:
    lay_out_all(make_result([0.5, 0.6], space=SearchSpace({"x": Constant(3)})))


def test_values_are_marked_where_they_are_on_the_scale(make_result: MakeResult) -> None:
    axes: Any = plot_parallel(make_result([0.5, 0.6, 0.7]))
    texts = {each.get_text(): each.xy for each in axes.texts}
    assert texts["1e-05"] == (0, 0.0)
    assert texts["0.001"] == (0, 0.5)  # the middle of a logarithmic scale
    assert texts["0.1"] == (0, 1.0)
    assert math.isclose(texts["512"][1], 6.5 / 7)
    assert texts["off"][0] == 4

"""Drawings of networks: nodes in layers, none over another, edges from source to target."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dhflow.nas import ArchitectureSpace, Dense, dense_with_skips, nasbench201
from dhflow.plot import plot_architecture
from dhflow.plot.layout import layered

EDGES = [("x", "a"), ("x", "b"), ("a", "c"), ("b", "c"), ("x", "c"), ("c", "d"), ("x", "d")]


def test_nodes_lie_below_their_inputs_and_long_edges_bend_in_every_layer() -> None:
    layout = layered(["x", "a", "b", "c", "d"], EDGES)
    assert {name: y for name, (_, y) in layout.nodes.items()} == {"x": 0, "a": 1, "b": 1, "c": 2, "d": 3}
    for (source, target), points in zip(EDGES, layout.edges, strict=True):
        assert points[0] == layout.nodes[source]
        assert points[-1] == layout.nodes[target]
        assert [y for _, y in points] == list(range(points[0][1], points[-1][1] + 1))


@pytest.mark.parametrize("seed", range(5))
def test_no_box_lies_over_another(seed: int) -> None:
    space = dense_with_skips((9,), (2,), n_layers=6)
    architecture = space.freeze(space.sample(1, np.random.default_rng(seed))[0])
    layout = layered(
        [each.name for each in architecture.nodes],
        [(each, node.name) for node in architecture.nodes for each in node.inputs],
    )
    rows: dict[int, list[float]] = {}
    for x, y in layout.nodes.values():
        rows.setdefault(y, []).append(x)
    assert min(x for row in rows.values() for x in row) >= 0.0
    for row in rows.values():
        row.sort()
        assert all(after - before > 0.99 for before, after in itertools.pairwise(row))


def test_a_drawing_names_every_operation_and_shape() -> None:
    space = ArchitectureSpace({"left": (4,), "right": (4,)}, (1,))
    tower = space.constant(Dense(8, "relu"), "tower")
    twin = space.mirror(tower, "twin")
    head = space.constant(Dense(1), "head")
    space.connect(space.inputs["left"], tower, head, space.output)
    space.connect(space.inputs["right"], twin, head)
    architecture = space.freeze({})
    axes: Any = plot_architecture(architecture, title="towers")
    texts = [each.get_text() for each in axes.texts]
    assert texts.count("Dense(8, relu)") == 2
    assert "twin  ·  8" in texts
    assert axes.get_title(loc="left") == f"towers\n{architecture.parameter_count:,} parameters"
    n_edges = sum(len(each.inputs) for each in architecture.nodes)
    assert len(axes.patches) == len(architecture) + n_edges
    axes.figure.draw_without_rendering()


def test_a_large_network_is_scaled_down() -> None:
    space = nasbench201()
    axes: Any = plot_architecture(space.freeze(space.sample(1, np.random.default_rng(0))[0]))
    assert max(axes.figure.get_size_inches()) <= 60.0

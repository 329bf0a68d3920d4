"""Where the nodes of a directed acyclic graph go in a drawing: in layers, with few crossings and short edges.

In the manner of Sugiyama, Tagawa and Toda (1981): a node lies one layer below the lowest of its inputs; an edge over
several layers gets a bend in each; layers are put in the order of the mean places of their neighbours, to and fro.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SWEEPS = 8
_BEND_WIDTH = 0.35
"""Of the room that a node takes."""


@dataclass(frozen=True)
class Layout:
    """Places in units of nodes, the first layer at the top.

    Parameters
    ----------
    nodes : mapping
        Node to (x, layer).
    edges : list
        Points (x, layer) of each edge from its source to its target, in the order given.
    """

    nodes: Mapping[str, tuple[float, int]]
    edges: list[list[tuple[float, int]]]


def layered(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Return the layout of `nodes`, which come in topological order."""
    return _Layers(nodes, edges).layout()


class _Layers:
    def __init__(self, nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> None:
        self._names = list(nodes)
        number = {name: i for i, name in enumerate(nodes)}
        self._layer = [0] * len(nodes)
        for source, target in sorted(edges, key=lambda each: number[each[1]]):
            at = number[target]
            self._layer[at] = max(self._layer[at], self._layer[number[source]] + 1)
        self._before: list[list[int]] = [[] for _ in nodes]
        self._after: list[list[int]] = [[] for _ in nodes]
        self._paths = [self._path(number[source], number[target]) for source, target in edges]
        self._rows: list[list[int]] = [[] for _ in range(max(self._layer, default=0) + 1)]
        for i, layer in enumerate(self._layer):
            self._rows[layer].append(i)
        self._x = [0.0] * len(self._layer)

    def layout(self) -> Layout:
        """Order the layers, then give every node its place."""
        for row in self._rows:
            self._spread(row)
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            rows, near = (self._rows, self._before) if down else (self._rows[::-1], self._after)
            for row in rows:
                wanted = {i: self._mean(near[i], self._x[i]) for i in row}
                row.sort(key=wanted.__getitem__)
                self._place(row, wanted)
        left = min(self._x, default=0.0)
        places = [(x - left, layer) for x, layer in zip(self._x, self._layer, strict=True)]
        edges = [[places[i] for i in path] for path in self._paths]
        return Layout({name: places[i] for i, name in enumerate(self._names)}, edges)

    def _path(self, source: int, target: int) -> list[int]:
        """Return the nodes and bends that an edge goes along."""
        path = [source]
        for layer in range(self._layer[source] + 1, self._layer[target]):
            self._layer.append(layer)
            self._before.append([])
            self._after.append([])
            path.append(len(self._layer) - 1)
        path.append(target)
        for first, second in itertools.pairwise(path):
            self._after[first].append(second)
            self._before[second].append(first)
        return path

    def _mean(self, near: list[int], usual: float) -> float:
        return sum(self._x[i] for i in near) / len(near) if near else usual

    def _room(self, i: int) -> float:
        return 1.0 if i < len(self._names) else _BEND_WIDTH

    def _spread(self, row: list[int]) -> None:
        self._place(row, dict.fromkeys(row, 0.0))

    def _place(self, row: list[int], wanted: Mapping[int, float]) -> None:
        """Put a row near to where its nodes want to be, none over another."""
        end = float("-inf")
        for i in row:
            self._x[i] = max(wanted[i], end + self._room(i) / 2)
            end = self._x[i] + self._room(i) / 2
        # Pushing went to the right only; the row as a whole goes back.
        shift = sum(self._x[i] - wanted[i] for i in row) / max(len(row), 1)
        for i in row:
            self._x[i] -= shift

"""What it costs to build a network of 30 nodes from its architecture, beside the same layers written by hand in Keras.

    python tests/benchmarks/build_cost.py [--pairs 30]

In turn in one process, either one first in every other pair; the ratio of each pair's CPU times, as the median and
the quartiles. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from dhflow.nas import Architecture, ArchitectureSpace, Dense, Dropout
from dhflow.train import build
from dhflow.train.network.framework import load_keras

N_BLOCKS = 9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=30)
    chosen = parser.parse_args()
    keras = load_keras()
    architecture = make_architecture()
    ours, by_hand = build(architecture), write_by_hand(keras)
    assert [each.name for each in ours.layers] == [each.name for each in by_hand.layers]
    assert ours.count_params() == by_hand.count_params() == architecture.parameter_count
    ratios, times = [], []
    ways: list[Callable[[], Any]] = [lambda: write_by_hand(keras), lambda: build(architecture)]
    for i in range(chosen.pairs):
        took: dict[int, float] = {}
        for which in (0, 1) if i % 2 else (1, 0):
            keras.backend.clear_session()  # as before each trial; it also collects what the other way has left
            took[which] = measured(ways[which])
        ratios.append(took[1] / took[0])
        times.append(took[0])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"a network of {len(architecture)} nodes, by hand: {1e3 * statistics.median(times):.0f} ms (CPU time)")
    print(f"built from its architecture: {middle:.2f} times that (quartiles {low:.2f} to {high:.2f})")


def make_architecture() -> Architecture:
    """Return blocks of a dense layer, a sum with what came before, and dropout."""
    space = ArchitectureSpace((64,), (10,))
    before = space.constant(Dense(48, "relu"), name="stem")
    space.connect(space.input, before)
    for i in range(N_BLOCKS):
        dense = space.constant(Dense(48, "relu"), name=f"dense_{i}")
        end = space.constant(Dropout(0.1), name=f"end_{i}")
        space.connect(before, dense, end)
        space.connect(before, end)
        before = end
    space.connect(before, space.constant(Dense(10, "softmax"), name="head"), space.output)
    return space.freeze({})


def write_by_hand(keras: Any) -> Any:
    """Return the same network as anybody writes it in Keras."""
    inputs = keras.Input((64,), name="input")
    x = keras.layers.Dense(48, "relu", name="stem")(inputs)
    for i in range(N_BLOCKS):
        y = keras.layers.Dense(48, "relu", name=f"dense_{i}")(x)
        y = keras.layers.Add(name=f"end_{i}.add")([y, x])
        x = keras.layers.Dropout(0.1, name=f"end_{i}")(y)
    return keras.Model(inputs, keras.layers.Dense(10, "softmax", name="head")(x), name="network")


def measured(make: Callable[[], Any]) -> float:
    """Return the CPU seconds of a call."""
    began = time.process_time()
    make()
    return time.process_time() - began


if __name__ == "__main__":
    main()

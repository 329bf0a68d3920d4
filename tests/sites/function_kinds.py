"""Objectives of every kind that a script or a notebook defines in itself, each searched on real workers.

Run by test_function_kinds.py as ``__main__`` and as a cell of a notebook; ``FUNCTION_KINDS_SITE`` holds
the site and its arguments. Prints the names of those whose trials all came out as in this process.
"""

import functools
import json
import math
import os

import parsl

from dhflow import Float, SearchSpace, load_site, search

OFFSET = 2.0


class Model:
    scale = 3.0

    def __init__(self, shift):
        self.shift = shift

    def value(self, config):
        return self.scale * config["x"] + self.shift


class Callable(Model):
    def __call__(self, config, trial=None):
        return super().value(config) + OFFSET


def of_a_global(config):
    return math.cos(config["x"]) + helper(config["x"])


def helper(x):
    return x + OFFSET


def of_a_class(config):
    return Model(shift=1.5).value(config)


def make_closure(shift):
    def closure(config):
        return config["x"] + shift

    return closure


def with_two(factor, config):
    return factor * config["x"]


KINDS = {
    "global": of_a_global,
    "class": of_a_class,
    "closure": make_closure(5.0),
    "lambda": lambda config: config["x"] * OFFSET,
    "instance": Callable(0.5),
    "method": Model(0.25).value,
    "partial": functools.partial(with_two, 4.0),
}


def run_all(site, arguments):
    right = []
    with parsl.load(load_site(site, **arguments)) as kernel:
        for name, function in KINDS.items():
            space = SearchSpace({"x": Float(0.0, 1.0)})
            result = search(function, space, site=kernel, workers=2, searcher="random", seed=1, max_trials=3)
            if [each.objective for each in result.trials] == [function(each.config) for each in result.trials]:
                right.append(name)
    return " ".join(right)


if __name__ == "__main__":
    print("right:", run_all(*json.loads(os.environ["FUNCTION_KINDS_SITE"])))

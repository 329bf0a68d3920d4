"""Data: loaded once, shuffled the same way for the same seed, whole in every epoch."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from dhflow.errors import ObjectiveError
from dhflow.train import TrainingData, load_once


class Part(NamedTuple):
    x: np.ndarray
    y: np.ndarray


class Loader:
    def __init__(self):
        self.calls = []

    def __call__(self, split_seed=0):
        self.calls.append(split_seed)
        return [split_seed]


def seen(batches) -> list[list[float]]:
    return [np.asarray(x)[:, 0].tolist() for x, _ in batches]


def flat(batches: list[list[float]]) -> list[float]:
    return [each for batch in batches for each in batch]


@pytest.fixture
def part() -> Part:
    return Part(np.arange(10.0).reshape(10, 1), np.arange(10) % 2)


def test_a_loader_is_called_once_for_the_same_arguments():
    loader = Loader()
    first = load_once(loader)
    assert load_once(loader) is first
    assert load_once(partial(loader, 3)) == [3] == load_once(partial(loader, 3))
    assert load_once(loader, split_seed=4) == load_once(partial(loader, split_seed=4)) == [4]
    assert loader.calls == [0, 3, 4]


def test_only_so_many_data_sets_are_remembered():
    loaders = [Loader() for _ in range(5)]
    for each in loaders:
        load_once(each)
    load_once(loaders[-1])
    load_once(loaders[0])
    assert [len(each.calls) for each in loaders] == [2, 1, 1, 1, 1]


def test_a_loader_that_fails_is_tried_again():
    outcomes = iter([OSError("not there yet"), None])

    def loader():
        error = next(outcomes)
        if error is not None:
            raise error
        return 7

    with pytest.raises(OSError, match="not there yet"):
        load_once(loader)
    assert load_once(loader) == 7


def test_batches_are_shuffled_by_a_seed(keras, part):
    data = TrainingData(part)
    assert [len(each) for each in seen(data.batches("train", 4))] == [4, 4, 2]
    assert flat(seen(data.batches("train", 4))) == list(range(10))
    first, again, other = (seen(data.batches("train", 4, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(flat(first)) == list(range(10))
    repeated = data.batches("train", 4, seed=1)
    assert seen(repeated) != seen(repeated)


def test_several_inputs_and_weights(keras):
    x = {"a": np.arange(6.0), "b": np.arange(12.0).reshape(6, 2)}
    data = TrainingData((x, [np.arange(6), np.arange(6)], np.ones(6)))
    (inputs, outputs, weights), *_ = data.batches("train", 3)
    assert data.size("train") == 6
    assert {name: tuple(each.shape) for name, each in inputs.items()} == {"a": (3,), "b": (3, 2)}
    assert len(outputs) == 2
    assert weights.shape == (3,)


def test_a_dataset_of_tensorflow(keras, part):
    import tensorflow as tf

    whole = tf.data.Dataset.from_tensor_slices((part.x, part.y))
    data = TrainingData(whole, whole.take(4))
    assert (data.size("train"), data.size("validation")) == (10, 4)
    assert seen(data.batches("validation", 3)) == [[0.0, 1.0, 2.0], [3.0]]
    assert sorted(flat(seen(data.batches("train", 4, seed=1)))) == list(range(10))
    endless = TrainingData(whole.filter(lambda x, y: y > 0))
    with pytest.raises(ObjectiveError, match="does not say how many"):
        endless.size("train")
    with pytest.raises(ObjectiveError, match="needs arrays"):
        data.balanced_weights()


def test_what_has_parts_is_taken_as_data(part):
    class Own(NamedTuple):
        train: Part
        validation: Part

    assert TrainingData.of(Own(part, part)).size("validation") == 10
    assert TrainingData.of({"train": part}).validation is None
    with pytest.raises(ObjectiveError, match="not NoneType"):
        TrainingData.of(None)


def test_balanced_weights_of_labels_and_one_hot_codes():
    y = np.array([0, 0, 0, 2])
    expected = {0: pytest.approx(4 / 6), 2: pytest.approx(2.0)}
    assert TrainingData((y[:, None], y)).balanced_weights() == expected
    assert TrainingData((y[:, None], np.eye(3)[y])).balanced_weights() == expected
    with pytest.raises(ObjectiveError, match="whole number"):
        TrainingData((y[:, None], y + 0.5)).balanced_weights()
    for labels in (y.astype(str), {"kind": y}, np.where(y > 0, np.nan, 0.0)):
        with pytest.raises(ObjectiveError, match="whole number"):
            TrainingData((y[:, None], labels)).balanced_weights()

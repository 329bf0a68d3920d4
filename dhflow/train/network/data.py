"""Data of a training: loaded once per worker, handed to Keras in shuffled batches by ``tf.data``."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dhflow.errors import ObjectiveError
from dhflow.train.network.framework import load_tensorflow

_MAX_REMEMBERED = 4
"""Data sets kept per process, as for ``per_worker``."""

_loaded: OrderedDict[Any, Any] = OrderedDict()
_lock = threading.RLock()


def load_once(loader: Callable[..., Any], **arguments: Any) -> Any:
    """Return what a loader returns, calling it the first time in this process.

    Parameters
    ----------
    loader : callable
    **arguments
        Its keyword arguments; the same loader with others is another data set.

    Raises
    ------
    Exception
        Whatever the loader raises; it is then called again the next time.
    """
    function, positional = loader, ()
    named: dict[str, Any] = {}
    while isinstance(function, functools.partial):  # two partials of one function are never equal
        positional, named = (*function.args, *positional), {**function.keywords, **named}
        function = function.func
    key = (function, repr(positional), repr(sorted({**named, **arguments}.items())))
    with _lock:
        if key not in _loaded:
            value = loader(**arguments)
            while len(_loaded) >= _MAX_REMEMBERED:
                _loaded.popitem(last=False)
            _loaded[key] = value
        _loaded.move_to_end(key)
        return _loaded[key]


@dataclass(eq=False)
class TrainingData:
    """Parts of a data set.

    Parameters
    ----------
    train, validation : pair, triple or tf.data.Dataset
        ``(x, y)`` or ``(x, y, weights)``, of arrays whose first axis are the examples; x (and y) of several inputs
        (outputs) is a mapping from their names, or a list in their order. A ``Dataset`` gives single examples,
        knows how many there are, and is kept in memory once it was read.
    test : the same, optional
        Only measured.
    """

    train: Any
    validation: Any = None
    test: Any = None
    _sources: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, given: Any) -> TrainingData:
        """Return `given`, or what has ``train``, ``validation`` and perhaps ``test`` of its own, as this class.

        Raises
        ------
        ObjectiveError
            If it has not.
        """
        if isinstance(given, cls):
            return given
        parts = (
            given
            if isinstance(given, Mapping)
            else {n: getattr(given, n, None) for n in ("train", "validation", "test")}
        )
        if parts.get("train") is None:
            raise ObjectiveError(
                f"data of a training are a TrainingData(train=(x, y), validation=(x, y)), not {type(given).__name__}: "
                "what does the loader (or the study's per_worker function) return?"
            )
        return cls(parts["train"], parts.get("validation"), parts.get("test"))

    def size(self, part: str) -> int:
        """Return how many examples a part has.

        Raises
        ------
        ObjectiveError
            If a ``Dataset`` does not know.
        """
        given = getattr(self, part)
        if hasattr(given, "cardinality"):
            n = int(given.cardinality())
            if n < 0:
                raise ObjectiveError(
                    f"the {part} Dataset does not say how many examples it has: "
                    "apply tf.data.experimental.assert_cardinality(n)"
                )
            return n
        return len(_first_array(given))

    def batches(self, part: str, batch_size: int, *, seed: int | None = None) -> Any:
        """Return a part as a ``Dataset`` of batches.

        Parameters
        ----------
        part : {"train", "validation", "test"}
        batch_size : int
        seed : int, optional
            Shuffles the examples anew in every epoch, always in the same way; None: their own order.
        """
        tf = load_tensorflow()
        given, n = getattr(self, part), self.size(part)
        if part not in self._sources:
            is_dataset = hasattr(given, "cardinality")
            self._sources[part] = given.cache() if is_dataset else tf.nest.map_structure(tf.constant, plain(given))
        source = self._sources[part]
        if hasattr(source, "cardinality"):
            examples = source if seed is None else source.shuffle(n, seed=seed)
            return examples.batch(batch_size).prefetch(2)
        # Numbers of examples are shuffled, and a batch is gathered at once: examples one by one cost far more.
        numbers = tf.data.Dataset.range(n)
        if seed is not None:
            numbers = numbers.shuffle(n, seed=seed)

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def gathered(chosen: Any) -> Any:
            return tf.nest.map_structure(lambda each: tf.gather(each, chosen), source)

        return numbers.batch(batch_size).map(gathered).prefetch(2)

    def balanced_weights(self) -> dict[int, float]:
        """Return for each class of the training data how much it weighs when all classes weigh the same together.

        Raises
        ------
        ObjectiveError
            If the training data are no arrays with one label, or one row of a one-hot code, per example.
        """
        import numpy as np

        labels = np.array([""]) if hasattr(self.train, "cardinality") else np.asarray(plain(self.train)[1])
        if labels.ndim == 2 and labels.shape[1] > 1:
            labels = labels.argmax(axis=1)
        if labels.dtype.kind not in "iubf" or not np.array_equal(labels, np.rint(labels)):
            raise ObjectiveError('class_weight="balanced" needs arrays, with a whole number for each example\'s class')
        counts = np.bincount(labels.astype(int).ravel())
        n_classes = int((counts > 0).sum())
        return {int(i): labels.shape[0] / (n_classes * int(count)) for i, count in enumerate(counts) if count}


def plain(part: Any) -> tuple[Any, ...]:
    """Return a part of arrays as ``(x, y)`` or ``(x, y, weights)``, its lists as tuples."""
    # A named tuple would be a structure of its own to tf.data.
    x, y, *weights = part
    return (_unnamed(x), _unnamed(y), *weights)


def _unnamed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _first_array(part: Any) -> Any:
    value = part[0]
    while isinstance(value, Mapping | list | tuple):
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    return value

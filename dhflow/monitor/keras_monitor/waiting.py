"""How long steps wait for their input: told by when a batch was asked for, and when it was there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any


class InputClock:
    """Times the hand-over of batches from a ``tf.data.Dataset`` to the steps that take them.

    Keras asks for a batch inside its compiled step, where no callback can look. So the dataset itself notes when it
    hands a batch over, as its last stage, and the callback notes when the step began.

    Parameters
    ----------
    clock : callable, optional
        UTC epoch seconds, as TensorFlow's.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._handed_over: Any = None
        self._asked = math.nan
        self._waited_s, self._n = 0.0, 0

    def timed(self, dataset: Any) -> Any:
        """Return a dataset that notes when it hands over a batch."""
        import tensorflow as tf

        self._handed_over = noted = tf.Variable(0.0, dtype=tf.float64, trainable=False)

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def note(*batch: Any) -> Any:
            with tf.control_dependencies([noted.assign(tf.timestamp())]):
                marked = tf.nest.map_structure(tf.identity, batch)
            return marked if len(marked) > 1 else marked[0]

        # In the thread that asks for the batch, after whatever is prefetched.
        return dataset.map(note, num_parallel_calls=None)

    def begin_step(self) -> None:
        """Note that a step begins, which is when it asks for its batch."""
        if self._handed_over is None:
            return
        self._count()
        self._asked = self._clock()

    def _count(self) -> None:
        """Count how long the step before has waited."""
        if math.isnan(self._asked):
            return
        waited = float(self._handed_over.numpy()) - self._asked
        if waited >= 0:
            self._waited_s += waited
            self._n += 1

    def end_epoch(self) -> float:
        """Return the mean wait of the epoch's steps; NaN if none was timed."""
        if self._handed_over is None:
            return math.nan
        self._count()
        mean = self._waited_s / self._n if self._n else math.nan
        self._asked, self._waited_s, self._n = math.nan, 0.0, 0
        return mean

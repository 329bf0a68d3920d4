"""What watching costs: the monitor's share of trainings of a minute, by its own clock and by the processor's time.

    python tests/benchmarks/monitor_overhead.py [--quick] [--seconds 65]

Each network is trained for so long under a monitor with its defaults, and then for as many epochs without one, in the
same process. TensorFlow's tracing, the first epoch and the monitor's first look are left out of both. Processor time is
what a busy machine changes least; of two such trainings it differs by some percent without any monitor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

NETWORKS: dict[str, tuple[int, int, int]] = {
    "small: 2 x 32 units, 32 steps": (2, 32, 1024),
    "medium: 4 x 256 units, 128 steps": (4, 256, 4096),
}
"""Layers, units, samples."""

N_FEATURES = 20


def measured(n_layers: int, units: int, n_samples: int, seconds: float) -> dict[str, float]:
    """Train with and without a monitor."""
    import keras

    from dhflow.monitor import KerasMonitor

    class Timer(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        """Takes the times from the end of the first epoch on, and ends the training."""

        def __init__(self, limit: float | None) -> None:
            super().__init__()
            self.limit = limit
            self.epochs = 0
            self.wall = self.cpu = 0.0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                self.wall, self.cpu = -time.perf_counter(), -time.process_time()
            self.epochs = epoch + 1
            if self.limit is not None and epoch and self.wall + time.perf_counter() > self.limit:
                self.model.stop_training = True

        def on_train_end(self, logs: Any = None) -> None:
            self.wall += time.perf_counter()
            self.cpu += time.process_time()

    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_samples + 512, N_FEATURES)).astype("float32")
    y = (x[:, :10] ** 2).argmax(axis=1)
    train, validation = (x[:n_samples], y[:n_samples]), (x[n_samples:], y[n_samples:])

    def run(callbacks: list[Any], epochs: int) -> None:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(units, "relu") for _ in range(n_layers)]
        model = keras.Sequential([keras.Input((N_FEATURES,)), *layers, keras.layers.Dense(10, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
        model.fit(
            *train, batch_size=32, validation_data=validation, epochs=epochs, verbose=0, shuffle=False,
            callbacks=callbacks,
        )  # fmt: skip

    monitor = KerasMonitor(probe=validation, data=train)
    watched, plain = Timer(seconds), Timer(None)
    run([monitor, watched], 1_000_000)
    run([plain], watched.epochs)
    looks = {each.step for each in monitor.records.tensors}
    return {
        "wall_s": watched.wall,
        "epochs": watched.epochs,
        "looks": len(looks),
        "own_share": monitor.cost.own_s / monitor.cost.training_s,
        "first_s": monitor.cost.first_s,
        "cpu_ratio": watched.cpu / plain.cpu,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="some seconds each")
    parser.add_argument("--seconds", type=float, default=65.0)
    chosen = parser.parse_args(arguments)
    seconds = 8.0 if chosen.quick else chosen.seconds
    print("network".ljust(36) + "seconds  epochs  own time / training  processor time  first look (aim: < 3 %)")
    for name, (n_layers, units, n_samples) in NETWORKS.items():
        found = measured(n_layers, units, n_samples, seconds)
        print(
            f"{name:36}{found['wall_s']:7.0f}{found['epochs']:8.0f}{100 * found['own_share']:19.2f} %"
            f"{100 * (found['cpu_ratio'] - 1):+14.1f} %{found['first_s']:10.2f} s"
        )


if __name__ == "__main__":
    main()

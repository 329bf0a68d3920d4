"""Recorded runs as the monitor would have seen them, step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tables import shared_folder

from dhflow.monitor.record import Reading, Records

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run.

    Parameters
    ----------
    name : str
        Of the workload or task.
    curves : dict
        Metric to its readings (n,).
    metric : str
        The one that counts.
    maximised : bool
    """

    name: str
    curves: dict[str, FloatArray]
    metric: str = "val_loss"
    maximised: bool = False

    @property
    def n(self) -> int:
        """Readings."""
        return len(self.curves[self.metric])

    @property
    def losses(self) -> FloatArray:
        """What counts, minimised."""
        values = self.curves[self.metric]
        return -values if self.maximised else values

    @property
    def best(self) -> FloatArray:
        """The lowest loss up to each reading; infinite while there is none."""
        return np.minimum.accumulate(np.where(np.isfinite(self.losses), self.losses, np.inf))

    def records(self, k: int) -> Records:
        """Return what a monitor had seen after `k` readings."""
        columns = {name: values[:k].tolist() for name, values in self.curves.items()}
        return Records(tuple(Reading(i + 1, {name: values[i] for name, values in columns.items()}) for i in range(k)))


def _data(*parts: str) -> dict[str, npt.NDArray[np.generic]]:
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError("there is no folder shared/data above the checkout; DHFLOW_SHARED names another")
    with np.load(folder.joinpath("data", *parts), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def algoperf_runs() -> list[Run]:
    """Return professionally tuned runs whose losses are all finite."""
    data = _data("training_curves", "algoperf.npz")
    ends = data["offset"].astype(int)
    train, valid = data["train_loss"].astype(np.float64), data["valid_loss"].astype(np.float64)
    found = []
    for i, (first, last) in enumerate(itertools.pairwise(ends)):
        curves = {"loss": train[first:last], "val_loss": valid[first:last]}
        if all(np.isfinite(each).all() for each in curves.values()):
            found.append(Run(str(data["workload"][i]), curves))
    return found


def taskset_runs() -> dict[str, list[Run]]:
    """Return the runs of TaskSet by task."""
    data = _data("hpo_curves", "taskset_rnn.npz")
    train, valid = data["train_loss"].astype(np.float64), data["valid_loss"].astype(np.float64)
    return {
        str(task): [Run(str(task), {"loss": a, "val_loss": b}) for a, b in zip(train[t], valid[t], strict=True)]
        for t, task in enumerate(data["tasks"])
    }


def lcbench_runs() -> dict[str, list[Run]]:
    """Return the runs of the LCBench surrogate by task; accuracy in [0, 1] counts."""
    data = _data("hpo_curves", "lcbench_surrogate.npz")
    loss, accuracy = data["val_cross_entropy"].astype(np.float64), data["val_accuracy"].astype(np.float64) / 100
    return {
        str(task): [
            Run(str(task), {"val_loss": a, "val_accuracy": b}, "val_accuracy", maximised=True)
            for a, b in zip(loss[t], accuracy[t], strict=True)
        ]
        for t, task in enumerate(data["tasks"])
    }

"""Checkpoints of a training: all variables of a network and its optimizer, and how far it had come.

``checkpoint.npz`` in a trial's directory holds, by the names of layers, the variables after the last epoch
(``last/LAYER/NUMBER``) and after the best one (``best/…``), the optimizer's (``optimizer/NUMBER``), and ``progress``,
JSON. It is written aside and renamed, so that a killed trial leaves the one before.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECKPOINT = "checkpoint.npz"
MODEL = "model.keras"

Arrays = dict[str, NDArray[Any]]


@dataclass
class Progress:
    """How far a training has come.

    Parameters
    ----------
    epoch : int
        Epochs trained, those of the trials that it goes on from included.
    history : dict
        Name to its value after each of these epochs.
    best_epoch : int
        From 1; 0 before the first epoch.
    network : str
        Tells networks apart: an architecture's hash, or the shapes of all variables.
    optimizer : str
    """

    epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    network: str = ""
    optimizer: str = ""


@dataclass
class Checkpoint:
    """What :func:`read_checkpoint` finds."""

    progress: Progress
    last: Arrays
    best: Arrays
    optimizer: list[NDArray[Any]]


def array_of(variable: Any) -> NDArray[Any]:
    """Return a copy of a Keras variable's value; of replicas, the first one's."""
    return np.array(variable.value.numpy())


def variables_of(model: Any) -> Arrays:
    """Return copies of a model's variables under ``LAYER/NUMBER``, seeds of random layers included."""
    return {f"{layer.name}/{i}": array_of(each) for layer in model.layers for i, each in enumerate(layer.variables)}


def set_variables(model: Any, arrays: Mapping[str, NDArray[Any]]) -> int:
    """Give a model those variables that have a name and a shape of its own; return how many.

    Parameters
    ----------
    model : keras.Model
    arrays : mapping
        From :func:`variables_of`, of this model or another.
    """
    n = 0
    for layer in model.layers:
        for i, variable in enumerate(layer.variables):
            array = arrays.get(f"{layer.name}/{i}")
            if array is not None and tuple(array.shape) == tuple(variable.shape):
                variable.assign(array)
                n += 1
    return n


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint.npz``.

    Raises
    ------
    OSError
        If it cannot be written; the one before is still there.
    """
    arrays: Arrays = {f"last/{name}": each for name, each in checkpoint.last.items()}
    arrays |= {f"best/{name}": each for name, each in checkpoint.best.items()}
    arrays |= {f"optimizer/{i}": each for i, each in enumerate(checkpoint.optimizer)}
    arrays["progress"] = np.array(json.dumps(asdict(checkpoint.progress)))
    aside = directory / f"{CHECKPOINT}.{os.getpid()}.tmp"
    try:
        with aside.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        aside.replace(directory / CHECKPOINT)
    finally:
        aside.unlink(missing_ok=True)


def read_checkpoint(directory: Path | None) -> Checkpoint | None:
    """Return the checkpoint in a trial's directory; None if there is none, or none that can be read."""
    if directory is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        # Opened here: NumPy leaves a torn file open.
        with (directory / CHECKPOINT).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        progress = Progress(**json.loads(str(arrays["progress"])))
        n_optimizer = sum(name.startswith("optimizer/") for name in arrays)
        return Checkpoint(
            progress,
            {name.removeprefix("last/"): each for name, each in arrays.items() if name.startswith("last/")},
            {name.removeprefix("best/"): each for name, each in arrays.items() if name.startswith("best/")},
            [arrays[f"optimizer/{i}"] for i in range(n_optimizer)],
        )
    return None

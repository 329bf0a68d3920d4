"""Handwritten digits: chains of convolutions, pooling and dense layers, searched with how they are trained.

Of the 1,797 digits that scikit-learn ships, 600 are for training, 600 for validation and 597 for the
test. The search maximises validation accuracy after 10 epochs; the test accuracy is only recorded. Run it from
anywhere::

    dhflow search apps/digits_architecture/problem.py --searcher agebo --max-trials 40 --history digits.h5
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from dhflow import Budget, Float, Ordinal, Problem, SearchSpace
from dhflow.nas import chain_config, cnn_chain
from dhflow.train import NetworkObjective, TrainingData, TrainingSettings

N_TRAIN, N_VALIDATION = 600, 600
EPOCHS = 10
SPLIT_SEED = 0

space = cnn_chain(
    (8, 8, 1),
    (10,),
    lower="C(3,8)+FC(10)",
    upper="C(5,32)+C(5,32)+P(3,2)+C(5,32)+C(5,32)+P(3,2)+FC(128)+FC(128)+FC(10)",
    dropout=(0.0, 0.2, 0.4),
)
hyperparameters = SearchSpace(
    {"learning_rate": Float(1e-4, 1e-1, log=True), "batch_size": Ordinal.geometric(8, 128, 2)}
)
settings = TrainingSettings("val_accuracy", metrics=["accuracy"], epochs=EPOCHS, keep_model=True)

# What one would write down without a search: two small convolutions, each with pooling, one dense layer, and Keras's
# own defaults for Adam and the batch size.
HAND_MADE = "C(3,16)+P(2,2)+C(3,32)+P(2,2)+FC(64)+FC(10)"
hand_made = {
    **chain_config(space, HAND_MADE),
    "dropout": "Dropout(0.2)",
    "learning_rate": 1e-3,
    "batch_size": 32,
}


def load_data(split_seed: int = SPLIT_SEED) -> TrainingData:
    """Load and split the data; once per worker, and with it TensorFlow, so that no trial's time counts either."""
    # A search runs one small network per core: no GPU is looked for.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras  # noqa: F401
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    images = (pixels / 16).astype("float32").reshape(-1, 8, 8, 1)
    train_images, rest_images, train_digits, rest_digits = train_test_split(
        images, digits, train_size=N_TRAIN, stratify=digits, random_state=split_seed
    )
    validation_images, test_images, validation_digits, test_digits = train_test_split(
        rest_images, rest_digits, train_size=N_VALIDATION, stratify=rest_digits, random_state=split_seed
    )
    return TrainingData(
        (train_images, train_digits), (validation_images, validation_digits), (test_images, test_digits)
    )


def make_problem(split_seed: int = SPLIT_SEED) -> Problem:
    """Return the problem on one split of the digits."""
    return Problem(
        space * hyperparameters,
        NetworkObjective(space, settings),
        direction={"val_accuracy": "maximize"},
        budget=Budget("epochs", 1, EPOCHS),
        defaults=hand_made,
        per_worker=partial(load_data, split_seed),
        name="digits-architecture",
        resample=make_problem,
    )


def describe(config: dict[str, Any]) -> str:
    """Return a config's network in the notation ``C(k,n)+P(k,s)+FC(n)``."""
    from dhflow.nas import chain_of

    return str(chain_of(space.freeze(config)))


problem = make_problem()

"""Handwritten digits with few labels: a Keras network whose hyperparameters are searched.

Of the 1,797 digits that scikit-learn ships, 300 are for training, 600 for validation and the
other 897 for the test. The search maximises validation accuracy; the test accuracy is only
recorded with each trial. Run it from anywhere::

    dhflow search apps/digits/problem.py --site laptop --max-trials 30 --history digits.h5
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from dhflow import Categorical, Float, Integer, Ordinal, Problem, SearchSpace, TrialContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

N_TRAIN, N_VALIDATION = 300, 600
SPLIT_SEED = 0
"""Of the split alone, the same in every trial; what a trial draws comes from its own seed.
`dhflow compare --resample-split` takes other ones."""


class Split(NamedTuple):
    """Images (n, 8, 8, 1) with pixels in [0, 1], and their digits (n,)."""

    images: NDArray[np.float32]
    digits: NDArray[np.int64]


class Data(NamedTuple):
    """The three parts of the data set, each with the same share of every digit."""

    train: Split
    validation: Split
    test: Split


space = SearchSpace(
    {
        "conv_layers": Integer(0, 2),
        "filters": Ordinal.geometric(8, 32, 2, when={"conv_layers": [1, 2]}),
        "units": Ordinal.geometric(16, 256, 2),
        "activation": Categorical(["relu", "gelu", "tanh"]),
        "dropout": Float(0.0, 0.6),
        "batch_size": Ordinal.geometric(8, 128, 2),
        "epochs": Integer(10, 50),
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "optimizer": Categorical(["adam", "rmsprop", "sgd"]),
        "momentum": Float(0.0, 0.99, when={"optimizer": "sgd"}),
    }
)

# What one would write down first: one small layer of each kind, Keras's own defaults for Adam and the batch size.
default = {
    "conv_layers": 1,
    "filters": 16,
    "units": 64,
    "activation": "relu",
    "dropout": 0.2,
    "batch_size": 32,
    "epochs": 20,
    "learning_rate": 1e-3,
    "optimizer": "adam",
}


def load_data(split_seed: int = SPLIT_SEED) -> Data:
    """Load and split the data; once per worker, and with it TensorFlow, so that no trial's time counts either."""
    _quiet_tensorflow()
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
    return Data(
        Split(train_images, train_digits), Split(validation_images, validation_digits), Split(test_images, test_digits)
    )


def objective(config: dict[str, Any], trial: TrialContext) -> dict[str, float]:
    """Train one network.

    Parameters
    ----------
    config : dict
    trial : TrialContext
        Its ``prepared`` holds the :class:`Data`; each epoch reports ``loss``, ``accuracy``,
        ``val_loss`` and ``val_accuracy``.

    Returns
    -------
    dict
        ``val_accuracy`` after the last epoch (what is searched for), ``test_accuracy``, the number of
        parameters and the seconds of training.
    """
    import keras

    data: Data = trial.prepared
    keras.backend.clear_session()  # a worker trains many networks
    keras.utils.set_random_seed(trial.seed)
    model = build_model(config)
    model.compile(
        optimizer=make_optimizer(config),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    def after_epoch(epoch: int, logs: dict[str, float]) -> None:
        trial.report(epoch + 1, **logs)
        if trial.should_stop():
            model.stop_training = True

    began = time.perf_counter()
    fitted = model.fit(
        *data.train,
        batch_size=config["batch_size"],
        epochs=config["epochs"],
        validation_data=data.validation,
        validation_batch_size=N_VALIDATION,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=after_epoch)],
        verbose=0,
    )
    train_s = time.perf_counter() - began
    _, test_accuracy = model.evaluate(*data.test, batch_size=len(data.test.digits), verbose=0)
    return {
        "val_accuracy": fitted.history["val_accuracy"][-1],
        "test_accuracy": test_accuracy,
        "n_parameters": model.count_params(),
        "train_s": train_s,
    }


def build_model(config: dict[str, Any]) -> Any:
    """Return the untrained network of a config: convolutions, each followed by pooling, then one dense layer."""
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1))])
    for depth in range(config["conv_layers"]):
        model.add(keras.layers.Conv2D(config["filters"] << depth, 3, padding="same", activation=config["activation"]))
        model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dropout(config["dropout"]))
    model.add(keras.layers.Dense(config["units"], activation=config["activation"]))
    model.add(keras.layers.Dropout(config["dropout"]))
    model.add(keras.layers.Dense(10))
    return model


def make_optimizer(config: dict[str, Any]) -> Any:
    """Return the optimizer of a config; ``momentum`` is there only with SGD."""
    import keras

    kind = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}
    more = {"momentum": config["momentum"]} if config["optimizer"] == "sgd" else {}
    return kind[config["optimizer"]](config["learning_rate"], **more)


def _quiet_tensorflow() -> None:
    # Read when TensorFlow is loaded. A search runs one small network per core: no GPU is looked for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def make_problem(split_seed: int = SPLIT_SEED) -> Problem:
    """Return the problem on one split of the digits."""
    return Problem(
        space,
        objective,
        direction={"val_accuracy": "maximize"},
        defaults=default,
        per_worker=partial(load_data, split_seed),
        name="digits",
        resample=make_problem,
    )


problem = make_problem()

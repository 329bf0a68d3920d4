"""Breast cancer, benign or malignant: scikit-learn's histogram gradient boosting, searched in seconds.

The 569 tumours that scikit-learn ships are split into 426 for cross-validation and 143 for the
test. The search minimises the log loss over five folds; a budget counts folds, so a searcher may
give up on a config after fewer. Needs neither TensorFlow nor a network::

    dhflow search apps/breast_cancer/problem.py --site laptop --max-trials 40 --history cancer.h5
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from dhflow import Budget, Categorical, Float, Integer, Ordinal, Problem, SearchSpace, TrialContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

N_FOLDS = 5
N_TEST = 143
SPLIT_SEED = 0
"""Of the split and of the folds, the same in every trial; `dhflow compare --resample-split` takes other ones."""


class Data(NamedTuple):
    """Measurements (n, 30) and whether each tumour is benign (n,)."""

    X: NDArray[np.float64]
    y: NDArray[np.int64]
    X_test: NDArray[np.float64]
    y_test: NDArray[np.int64]
    split_seed: int = SPLIT_SEED


space = SearchSpace(
    {
        "learning_rate": Float(1e-2, 1.0, log=True),
        "max_iter": Ordinal.geometric(16, 256, 2),
        "growth": Categorical(["leaves", "depth"]),
        "max_leaf_nodes": Ordinal.geometric(4, 64, 2, when={"growth": "leaves"}),
        "max_depth": Integer(1, 8, when={"growth": "depth"}),
        "min_samples_leaf": Integer(2, 60),
        "l2_regularization": Float(1e-6, 10.0, log=True),
        "max_features": Float(0.1, 1.0),
    }
)

# scikit-learn's own defaults, as near as the space has them: 100 iterations, 31 leaves, no penalty.
default = {
    "learning_rate": 0.1,
    "max_iter": 128,
    "growth": "leaves",
    "max_leaf_nodes": 32,
    "min_samples_leaf": 20,
    "l2_regularization": 1e-6,
    "max_features": 1.0,
}


def load_data(split_seed: int = SPLIT_SEED) -> Data:
    """Load and split the data; once per worker."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=N_TEST, stratify=y, random_state=split_seed)
    return Data(X_train, y_train, X_test, y_test, split_seed)


def objective(config: dict[str, Any], trial: TrialContext) -> dict[str, float]:
    """Cross-validate one config.

    Parameters
    ----------
    config : dict
    trial : TrialContext
        Its ``prepared`` holds the :class:`Data`, its ``budget`` the number of folds (all by default);
        each fold reports its ``log_loss`` and ``accuracy``.

    Returns
    -------
    dict
        ``log_loss``, the mean over the folds; with all folds done also ``test_log_loss`` and
        ``test_accuracy`` of a model fitted on the data of all folds.
    """
    import numpy as np
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.model_selection import StratifiedKFold

    data: Data = trial.prepared
    n_folds = round(trial.budget or N_FOLDS)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=data.split_seed).split(data.X, data.y)
    losses: list[float] = []
    for number, (fitted_on, held_out) in enumerate(folds, start=1):
        model = make_model(config, trial.seed).fit(data.X[fitted_on], data.y[fitted_on])
        probabilities = model.predict_proba(data.X[held_out])
        losses.append(log_loss(data.y[held_out], probabilities))
        accuracy = accuracy_score(data.y[held_out], probabilities.argmax(axis=1))
        trial.report(number, log_loss=losses[-1], accuracy=accuracy)
        if number >= n_folds or trial.should_stop():
            break
    values = {"log_loss": float(np.mean(losses))}
    if len(losses) == N_FOLDS:
        probabilities = make_model(config, trial.seed).fit(data.X, data.y).predict_proba(data.X_test)
        values["test_log_loss"] = log_loss(data.y_test, probabilities)
        values["test_accuracy"] = accuracy_score(data.y_test, probabilities.argmax(axis=1))
    return values


def make_model(config: dict[str, Any], seed: int) -> Any:
    """Return the untrained classifier of a config; trees grow to a number of leaves or to a depth."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    limits = {name: config.get(name) for name in ("max_leaf_nodes", "max_depth")}
    rest = {name: config[name] for name in config if name not in (*limits, "growth")}
    return HistGradientBoostingClassifier(**rest, **limits, early_stopping=False, random_state=seed)


def make_problem(split_seed: int = SPLIT_SEED) -> Problem:
    """Return the problem on one split of the tumours."""
    return Problem(
        space,
        objective,
        direction={"log_loss": "minimize"},
        budget=Budget("folds", 1, N_FOLDS),
        defaults=default,
        per_worker=partial(load_data, split_seed),
        name="breast_cancer",
        resample=make_problem,
    )


problem = make_problem()

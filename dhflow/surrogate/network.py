r"""A small Bayesian neural network: learned features, and exact Bayesian linear regression on them.

Notation
--------
m : training points;  p : features;  h : hidden units of the last layer;  :math:`\Phi` (m, h + 1): their outputs and 1;
alpha, beta : precisions of the weights' prior and of the noise;  k : candidates.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.array import FloatArray
from dhflow.surrogate.belief import Places
from dhflow.surrogate.refit import Refitted

HIDDEN = (32, 32)
MAX_ITERATIONS = 150
N_EVIDENCE_STEPS = 30
_WEIGHT_DECAY = 1e-3


class BayesianNetwork(Refitted):
    """A network whose last layer is Bayesian.

    Parameters
    ----------
    training : TrainingSet
    seed : int

    Notes
    -----
    Snoek et al. (2015), *Scalable Bayesian optimization using deep neural networks* ("DNGO"): a network with tanh units
    is trained as usual (here by scikit-learn, with L-BFGS), then its last layer is replaced by Bayesian linear
    regression, eqs. 3 to 6. Departures: both precisions maximise the evidence (MacKay 1992) instead of being
    sampled, and there is no quadratic prior mean. Lies are taken in exactly, by rank-one updates. A fit takes
    some 0.1 to 1 s of CPU.
    """

    def belief(self) -> LinearBelief:
        """Return the posterior of the last layer's weights."""
        return LinearBelief(self)

    def basis(self, features: npt.NDArray[np.floating]) -> FloatArray:
        """Return the outputs of the last hidden layer, and 1, at points (k, p): (k, h + 1)."""
        hidden = 2 * np.asarray(features, dtype=np.float64) - 1
        for weights, bias in zip(self._weights, self._biases, strict=True):
            hidden = np.tanh(hidden @ weights + bias)
        return np.hstack([hidden, np.ones((len(hidden), 1))])

    def _fit(self, X: FloatArray, y: FloatArray, seed: list[int]) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        state = int(np.random.default_rng(np.random.SeedSequence(seed)).integers(2**31))
        network = MLPRegressor(
            hidden_layer_sizes=HIDDEN,
            activation="tanh",
            solver="lbfgs",
            alpha=_WEIGHT_DECAY,
            max_iter=MAX_ITERATIONS,
            random_state=state,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it need not converge to have useful features
            network.fit(2 * X - 1, y)
        self._weights, self._biases = network.coefs_[:-1], network.intercepts_[:-1]
        self._alpha, self._beta = evidence_precisions(self.basis(X), y)

    def posterior(self) -> tuple[FloatArray, FloatArray, float]:
        """Return mean (h + 1,) and covariance (h + 1, h + 1) of the weights given the current targets, and beta."""
        basis = self.basis(self.training.X[self.rows])
        precision = self._beta * basis.T @ basis + self._alpha * np.eye(basis.shape[1])
        covariance: FloatArray = np.linalg.inv(precision)
        mean: FloatArray = self._beta * covariance @ (basis.T @ self.targets)
        return mean, covariance, self._beta


def evidence_precisions(basis: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return the precisions of prior and noise that maximise the evidence of y (m,) on a basis (m, h + 1).

    Notes
    -----
    MacKay (1992), *Bayesian interpolation*, the fixed point of eqs. 4.9 and 4.10; both are kept within bounds where few
    points would drive them to infinity.
    """
    alpha, beta = 1.0, 10.0
    eigenvalues, vectors = np.linalg.eigh(basis.T @ basis)
    projected = vectors.T @ (basis.T @ y)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    square = float(y @ y)
    for _ in range(N_EVIDENCE_STEPS):
        weights = beta * projected / (alpha + beta * eigenvalues)
        effective = float((beta * eigenvalues / (alpha + beta * eigenvalues)).sum())
        residual = square - 2 * float(weights @ projected) + float((eigenvalues * weights**2).sum())
        alpha = float(np.clip(effective / max(float(weights @ weights), 1e-9), 1e-3, 1e3))
        beta = float(np.clip((len(y) - effective) / max(residual, 1e-9), 1.0, 1e4))
    return alpha, beta


class LinearBelief:
    """Normal weights of a linear model on a network's features.

    Parameters
    ----------
    network : BayesianNetwork
    """

    def __init__(self, network: BayesianNetwork) -> None:
        self._network = network
        self._mean, self._covariance, self._beta = network.posterior()

    def add(self, places: Places, y: FloatArray) -> None:
        """Condition on targets `y` (k,) at points."""
        basis = self._network.basis(places.features)
        gain = self._covariance @ basis.T
        noisy = basis @ gain + np.eye(len(basis)) / self._beta
        weights = np.linalg.solve(noisy, gain.T).T
        self._mean = self._mean + weights @ (y - basis @ self._mean)
        self._covariance = self._covariance - weights @ gain.T

    def mean(self, places: Places) -> FloatArray:
        """Return the predictions (k,) at points."""
        mean: FloatArray = self._network.basis(places.features) @ self._mean
        return mean

    def moments(self, places: Places) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (k,) of the noise-free target at points."""
        basis = self._network.basis(places.features)
        variance = np.einsum("kh,hg,kg->k", basis, self._covariance, basis)
        return basis @ self._mean, np.sqrt(np.maximum(variance, 0.0))

"""Searches whose trials train networks: rungs that carry weights on, children that inherit, networks that fail."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from dhflow import Budget, Float, Ordinal, Problem, SearchSpace, TrialStatus, search
from dhflow.nas import ArchitectureSpace, Dense, Identity, Layer
from dhflow.train import NetworkObjective, TrainingData, TrainingSettings
from dhflow.train.network.checkpoint import read_checkpoint

SETTINGS = TrainingSettings("val_accuracy", metrics=["accuracy"], epochs=4, batch_size=32)


def load_data() -> TrainingData:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 4)).astype("float32")
    y = (x[:, 0] > x[:, 1]).astype(int)
    return TrainingData((x[:64], y[:64]), (x[64:], y[64:]))


def unbuildable() -> None:
    raise RuntimeError("no such layer today")


def make_space(*more) -> ArchitectureSpace:
    space = ArchitectureSpace((4,), (2,))
    block = space.variable([Identity(), Dense(4, "relu"), Dense(8, "relu"), *more], name="block")
    space.connect(space.input, block, space.constant(Dense(2, "softmax"), name="head"), space.output)
    return space


@pytest.fixture
def pool():
    # One thread of this process, which has loaded TensorFlow already.
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_promoted_networks_go_on_from_their_rungs_checkpoint(eager, pool, tmp_path):
    space = make_space()
    problem = Problem(
        space * SearchSpace({"learning_rate": Float(1e-3, 1e-1, log=True)}),
        NetworkObjective(space, SETTINGS, load_data),
        direction={"val_accuracy": "maximize"},
        budget=Budget("epochs", 1, 4),
    )
    options = {"eta": 2}
    result = search(
        problem, searcher="asha", searcher_options=options, seed=1, max_trials=9, site=pool, history=tmp_path / "h.h5"
    )
    promoted = [each for each in result if each.parent_id is not None]
    assert promoted
    for trial in promoted:
        parent, budget = result.record.trials[trial.parent_id], trial.budget or 4
        steps = sorted({each.step for each in result.measurements(trial.trial_id)})
        assert steps == list(range(int(parent.budget) + 1, int(budget) + 1))
        assert trial.metrics["n_epochs"] == budget
        found = read_checkpoint(tmp_path / "h.h5.run" / "trials" / str(trial.trial_id) / "1")
        assert len(found.progress.history["loss"]) == budget


def test_children_of_evolution_begin_with_their_parents_weights(eager, pool, tmp_path):
    space = make_space(Dense(4, "tanh"), Dense(8, "tanh"))
    still = replace(SETTINGS, epochs=1, learning_rate=1e-12, inherit_weights=True)
    result = search(
        NetworkObjective(space, still, load_data),
        space.decisions() * SearchSpace({"note": Float(0.0, 1.0)}),
        direction={"val_accuracy": "maximize"},
        searcher="evolution",
        searcher_options={"n_initial": 2, "name_parents": True},
        seed=2,
        max_trials=6,
        site=pool,
        history=tmp_path / "h.h5",
    )

    def weights(trial_id: int, name: str) -> np.ndarray:
        return read_checkpoint(tmp_path / "h.h5.run" / "trials" / str(trial_id) / "1").last[name]

    children = [each for each in result if each.parent_id is not None]
    assert len(children) >= 3
    for child in children:
        own, parents = weights(child.trial_id, "head/0"), weights(child.parent_id, "head/0")
        assert own.shape != parents.shape or np.allclose(own, parents, atol=1e-6)
    assert any(weights(each.trial_id, "head/0").shape == weights(each.parent_id, "head/0").shape for each in children)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (
            Layer(unbuildable, shape="same", name="broken"),
            "block: broken cannot be built: RuntimeError: no such layer today",
        ),
        (Dense(10**12), "does not fit in memory"),
    ],
    ids=["unbuildable", "too large"],
)
def test_a_network_that_cannot_be_built_is_one_failed_trial_with_a_reason(eager, pool, operation, reason):
    space = make_space(operation)
    result = search(
        NetworkObjective(space, replace(SETTINGS, epochs=1), load_data),
        space.decisions(),
        direction={"val_accuracy": "maximize"},
        searcher="grid",
        max_trials=4,
        site=pool,
        abort_after=None,
    )
    (failed,) = (each for each in result if each.status is TrialStatus.FAILED)
    assert failed.config["block"] == operation.label
    assert failed.failure.kind == "BuildError"
    assert reason in failed.failure.message
    assert sum(each.status is TrialStatus.COMPLETED for each in result) == 3


@pytest.mark.integration
@pytest.mark.slow
def test_the_number_of_replicas_is_searched_in_workers_that_are_used_again(keras, tmp_path):
    """One worker process trains with one, two and four replicas, one after the other."""
    space = make_space()
    problem = Problem(
        space * SearchSpace({"replicas": Ordinal([1, 2, 4])}),
        NetworkObjective(space, replace(SETTINGS, epochs=2, batch_size=8, max_replicas=4), load_data),
        direction={"val_accuracy": "maximize"},
        defaults=[{"block": "Dense(4, relu)", "replicas": each} for each in (2, 1, 4)],
    )
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = search(problem, searcher="random", seed=1, max_trials=3, site=pool, history=tmp_path / "h.h5")
    assert [each.status for each in result] == [TrialStatus.COMPLETED] * 3
    rates = {each.config["replicas"]: each.metrics.get("learning_rate") for each in result}
    # After 2 of 5 epochs of warm-up, from 1e-3 to n times that; one replica has no warm-up, and reports no rate.
    assert rates[1] is None
    assert [rates[2], rates[4]] == [pytest.approx(1.4e-3, rel=1e-3), pytest.approx(2.2e-3, rel=1e-3)]
    assert len({attempt.worker for each in result for attempt in each.attempts}) == 1

"""One trial's training: built, compiled, fitted, checkpointed, and summed up in one number."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from dhflow.errors import BuildError
from dhflow.nas import Architecture, ArchitectureSpace
from dhflow.train.network.build import build
from dhflow.train.network.checkpoint import MODEL
from dhflow.train.network.compiling import compile_model
from dhflow.train.network.data import TrainingData, load_once
from dhflow.train.network.framework import is_out_of_memory, load_keras, load_tensorflow
from dhflow.train.network.memory import check_memory
from dhflow.train.network.monitored import make_monitor
from dhflow.train.network.progress import Handle, Run, make_callback
from dhflow.train.network.replicas import prepare_replicas, scaled, strategy_for
from dhflow.train.network.settings import TrainingSettings
from dhflow.train.user_module import module_name, user_folder

Network = Architecture | Callable[[], Any]


def train_and_validate(network: Network, data: Any, trial: Handle, settings: TrainingSettings) -> dict[str, float]:
    """Train a network as one trial and return what an objective returns.

    Parameters
    ----------
    network : Architecture or callable
        What is trained; a function returns a new Keras model, not compiled.
    data : TrainingData
        Or anything with ``train``, ``validation`` and perhaps ``test``, such as the study's ``trial.prepared``.
    trial : TrialContext
        Each epoch is reported. Training ends early when ``trial.should_stop()``, or when the time left does not
        suffice for another epoch. A trial that goes on from one of the same network carries on its weights,
        its optimizer and its epochs.
    settings : TrainingSettings

    Returns
    -------
    dict
        The objective under its name, summed up as asked; what else the epoch that counts has reported;
        ``test_…`` where there are test data; ``n_parameters``, ``n_epochs``, ``best_epoch`` and ``train_s``.

    Raises
    ------
    BuildError
        If the network cannot be built, or does not fit in memory.
    ObjectiveError
        If training diverges, or the data do not fit the settings.

    Notes
    -----
    All that is drawn comes from ``trial.seed``, through Keras's generators of the process: use worker processes, not
    threads.
    """
    keras = load_keras()
    data = TrainingData.of(data)
    whole = scaled(settings)
    strategy = strategy_for(settings)  # before anything else uses TensorFlow
    keras.backend.clear_session()  # a worker trains many networks
    keras.utils.set_random_seed(trial.seed)
    with _out_of_memory_explained():
        with nullcontext() if strategy is None else strategy.scope():
            model = _built(network, whole)
            epochs = whole.epochs if trial.budget is None else max(1, round(trial.budget))
            # A trial that is to be trained for longer than usual has a longer schedule, too.
            compile_model(model, replace(whole, epochs=max(whole.epochs, epochs)), data.size("train"))
            run = Run(model, whole, trial, epochs, _signature(network, model))
        began = time.perf_counter()
        _fit(run, data, trial)
        train_s = time.perf_counter() - began
        run.save()
        run.choose()
        measured = _tested(model, data, whole.batch_size)
    if settings.keep_model:
        _keep(model, network, settings, trial)
    return {
        **_values_at(run, run.chosen_epoch()),
        **measured,
        settings.objective: run.value(),
        "n_parameters": model.count_params(),
        "n_epochs": run.progress.epoch,
        "best_epoch": run.progress.best_epoch,
        "train_s": train_s,
    }


@dataclass(frozen=True)
class NetworkObjective:
    """The objective of an architecture search: freezes a config, trains its network, returns the measurement.

    Parameters
    ----------
    space : ArchitectureSpace
    settings : TrainingSettings
        Hyperparameters of the same names in a config replace them, see
        :meth:`~dhflow.train.TrainingSettings.for_config`.
    load_data : callable, optional
        Returns a :class:`~dhflow.train.TrainingData`, and is called once per worker; None: the study's
        ``per_worker`` function does that.
    arguments : mapping
        Of `load_data`.

    Examples
    --------
    >>> from dhflow import Float, Problem, SearchSpace
    >>> from dhflow.nas import cnn_chain
    >>> from dhflow.train import NetworkObjective, TrainingSettings
    >>> space = cnn_chain((8, 8, 1), (10,))
    >>> hyperparameters = SearchSpace({"learning_rate": Float(1e-4, 1e-1, log=True)})
    >>> settings = TrainingSettings("val_accuracy", metrics=["accuracy"], epochs=10)
    >>> def load_data(): ...
    >>> problem = Problem(
    ...     space * hyperparameters, NetworkObjective(space, settings, load_data), direction="maximize"
    ... )
    """

    space: ArchitectureSpace
    settings: TrainingSettings
    load_data: Callable[..., Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whose files go along to the workers is told by an objective's module: the user's, not this one.
        own = next((each for each in self._parts() if user_folder(each) is not None), None)
        if own is not None:
            object.__setattr__(self, "__module__", module_name(own))

    def _parts(self) -> Iterator[Callable[..., Any]]:
        """Return what may be of the user's own making."""
        operations = [operation for node in self.space.nodes.values() for operation in node.operations]
        factories = [getattr(each, "factory", type(each)) for each in operations]
        given = [self.load_data, *factories, self.settings.loss]
        yield from (each for each in given if callable(each))

    def __call__(self, config: Mapping[str, Any], trial: Any) -> dict[str, float]:
        """Train the network of a config."""
        settings = self.settings.for_config(config)
        if settings.max_replicas is not None and settings.max_replicas > 1:
            prepare_replicas(settings.max_replicas)  # before data are loaded, perhaps with TensorFlow
        data = trial.prepared if self.load_data is None else load_once(self.load_data, **self.arguments)
        return train_and_validate(self.space.freeze(config), data, trial, settings)


def _built(network: Network, settings: TrainingSettings) -> Any:
    if not isinstance(network, Architecture):
        return network()
    has_gpu = bool(load_tensorflow().config.list_physical_devices("GPU"))
    if settings.max_memory_bytes is not None or not has_gpu:
        check_memory(network, settings.batch_size, settings.max_memory_bytes)
    return build(network, precision=settings.precision)


def _fit(run: Run, data: TrainingData, trial: Handle) -> None:
    batch_size, done = run.settings.batch_size, run.progress.epoch
    weights = run.settings.class_weight
    # A training that goes on must not see again the order in which it began.
    batches = data.batches("train", batch_size, seed=(trial.seed + done) % 2**31)
    callbacks = [make_callback(run)]
    monitor = make_monitor(run, data, trial)
    if monitor is not None:
        callbacks.insert(0, monitor)  # it has recorded an epoch before that may end the training with an error
        batches = batches if run.settings.replicas > 1 else monitor.timed(batches)
    run.model.fit(
        batches,
        validation_data=None if data.validation is None else data.batches("validation", batch_size),
        initial_epoch=done,
        epochs=run.epochs,
        class_weight=data.balanced_weights() if weights == "balanced" else weights,
        callbacks=callbacks,
        shuffle=False,  # done already
        verbose=0,
    )


def _tested(model: Any, data: TrainingData, batch_size: int) -> dict[str, float]:
    if data.test is None:
        return {}
    measured = model.evaluate(data.batches("test", batch_size), verbose=0, return_dict=True)
    return {f"test_{name}": float(value) for name, value in measured.items()}


def _values_at(run: Run, epoch: int) -> dict[str, float]:
    return {name: values[epoch - 1] for name, values in run.progress.history.items() if len(values) >= epoch}


def _signature(network: Network, model: Any) -> str:
    if isinstance(network, Architecture):
        return network.hash
    return ";".join(f"{each.path}{tuple(each.shape)}" for each in model.weights)


def _keep(model: Any, network: Network, settings: TrainingSettings, trial: Handle) -> None:
    # Without optimizer and loss: a file to predict with, that plain Keras reads.
    plain = build(network, precision=settings.precision) if isinstance(network, Architecture) else network()
    plain.set_weights(model.get_weights())
    plain.save(trial.dir / MODEL)


@contextmanager
def _out_of_memory_explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise BuildError(f"training the network needs more memory than there is: {error}"[:500]) from error
        raise

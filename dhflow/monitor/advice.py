"""Suggestions: what each change is, which parameter of the config it is, and whether the search space allows it.

A change is looked for in the trial's config under the names that people use for it, put on the nearest value that the
parameter can take, and checked with the whole config. Where there is no such parameter, or the space leaves less than a
useful part of the change, the suggestion is given in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dhflow.errors import SpaceError
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Suggestion
from dhflow.monitor.record import FloatArray, Records, TensorRecord

if TYPE_CHECKING:
    from dhflow.space import SearchSpace

ROLES: Mapping[str, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "lr", "base_lr", "learning_rate_init", "initial_learning_rate", "eta0"),
    "batch_size": ("batch_size", "batch", "minibatch_size", "train_batch_size"),
    "clip": (
        "global_clipnorm",
        "clip_gradients",
        "clipnorm",
        "clip_norm",
        "gradient_clip",
        "grad_clip",
        "max_grad_norm",
    ),
    "layers": ("n_layers", "num_layers", "n_hidden_layers", "hidden_layers", "layers", "depth", "n_blocks"),
    "units": ("units", "n_units", "num_units", "hidden_units", "max_units", "hidden_size", "width", "filters"),
    "activation": ("activation", "hidden_activation", "act"),
    "initializer": ("initializer", "kernel_initializer", "init", "weight_init"),
    "dropout": ("dropout", "dropout_rate", "max_dropout"),
    "weight_decay": ("weight_decay", "l2", "l2_regularization", "decay"),
}
CLIP_NORM = 0.1
"""Of the slides ("add clip gradient to 0.1"); Caffe's clip_gradients bounds the global norm too."""
LEARNING_RATE_STEP = 3.0
"""Half a decade: large enough to be seen, small enough not to step over the working range (Bengio 2012, sec. 3)."""
MOST_STEPS = 6
"""Steps at once, where the updates show that one would not do: a factor of 729."""
USEFUL_SHARE = 0.5
"""Of a change that a search space must leave for it to be offered: of the learning rate a factor of 1.7."""
UPDATE_RATIO = (3e-4, 1e-2)
"""Norm of an update over that of its weight between which a learning rate is in its working range (CS231n: 1e-3)."""


SMALL = ("bias", "beta", "gamma", "moving_mean", "moving_variance", "scale", "offset")
"""Tensors that say nothing about how a signal travels, or that start at zero or one by design."""


def is_matrix(name: str) -> bool:
    """Tell whether a tensor is a matrix or filters, by its name."""
    return not name.split(":", maxsplit=1)[0].endswith(SMALL)


def parameter_of(role: str, context: Context) -> str | None:
    """Return which parameter of the config, or of the space, plays a role; None if there is none."""
    names = [*context.config, *(context.space.names if context.space is not None else ())]
    plain = {name: name.lower().replace("-", "_") for name in names}
    for alias in ROLES[role]:
        ends = (f"_{alias}", f".{alias}", f":{alias}", f"/{alias}")
        exact = (name for name in names if plain[name] == alias)
        close = (name for name in names if plain[name].endswith(ends))
        found = next(exact, None) or next(close, None)
        if found is not None:
            return found
    return None


def change(
    role: str,
    new: Callable[[Any], Any],
    context: Context,
    *,
    name: str,
    text: str,
    reason: str,
    expected: str,
) -> Suggestion:
    """Return a suggestion to change one parameter, as a diff where config and space allow it and else in words.

    Parameters
    ----------
    role : str
        One of :data:`ROLES`.
    new : callable
        From the present value (None where the config has none) to the wanted one; None where there is none.
    context : Context
    name, text, reason, expected : str
        See :class:`~dhflow.monitor.finding.Suggestion`.
    """
    parameter = parameter_of(role, context)
    old = None if parameter is None else context.config.get(parameter)
    wanted = None if parameter is None else _wanted(new, old)
    if parameter is None or wanted is None or wanted == old:
        return Suggestion(name, "advice", text, reason, expected)
    value = wanted if context.space is None else _nearest(context.space, parameter, wanted, old)
    if value is None or (context.space is not None and {**context.config, parameter: value} not in context.space):
        return Suggestion(name, "advice", f"{text} (the search space has no such {parameter})", reason, expected)
    if _share_done(old, wanted, value) < USEFUL_SHARE:
        bound = f"the search space ends at {parameter} = {_show(value)}: widen it"
        return Suggestion(name, "advice", f"{text} ({bound})", reason, expected)
    shown = f"{parameter} = {_show(value)}" + ("" if old is None else f" instead of {_show(old)}")
    # What is promised is what is done: the space may allow only a part of it, or a value of a list beside it.
    shown = f"{text}: {shown}" if _is_near(value, wanted) else f"{shown}, in this search space the nearest to: {text}"
    return Suggestion(name, "change", shown, reason, expected, {parameter: value})


def _wanted(new: Callable[[Any], Any], old: Any) -> Any:
    try:
        return new(old)
    except TypeError:  # arithmetic on a text, or on nothing
        return None


def _share_done(old: Any, wanted: Any, value: Any) -> float:
    """Return which part of the change a value is, in magnitudes where there are such."""
    if not (_is_number(old) and _is_number(wanted) and _is_number(value)):
        return 1.0
    if min(old, wanted, value) > 0:
        return math.log(value / old) / math.log(wanted / old)
    return float((value - old) / (wanted - old))


def _is_near(value: Any, wanted: Any) -> bool:
    return math.isclose(value, wanted, rel_tol=0.02) if _is_number(value) and _is_number(wanted) else value == wanted


def _nearest(space: SearchSpace, name: str, wanted: Any, old: Any) -> Any:
    """Return the value nearest to the wanted one that the parameter takes, not beyond the old one; None if none."""
    parameter: Any = space.parameters.get(name)
    if parameter is None:
        return None
    if not _is_number(wanted):
        return wanted if _takes(parameter, wanted) else None
    listed = getattr(parameter, "listed", None)
    if listed is None:
        low, high = parameter.low, parameter.high
        bounded = min(max(wanted, low), high)
        return round(bounded) if isinstance(low, int) and isinstance(high, int) else float(bounded)
    numbers = [each for each in listed if _is_number(each)]
    if _is_number(old):
        numbers = [each for each in numbers if (each < old) == (wanted < old) and each != old]
    return min(numbers, key=lambda each: _apart(each, wanted), default=None)


def _takes(parameter: Any, value: Any) -> bool:
    try:
        parameter.check(value)
    except SpaceError:
        return False
    return True


def _apart(a: float, b: float) -> float:
    return abs(math.log(a / b)) if a > 0 and b > 0 else math.inf


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


# Changes ----------------------------------------------------------------------------------------------


def clip_gradients(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to bound the norm of the gradient."""
    return change(
        "clip", lambda old: CLIP_NORM if not old or old > CLIP_NORM else None, context,
        name="clip_gradients",
        text=f"clip the gradients to a global norm of {CLIP_NORM} (global_clipnorm={CLIP_NORM})",
        reason=reason,
        expected="steps stay bounded, so weights no longer overflow",
    )  # fmt: skip


def lower_learning_rate(context: Context, records: Records, reason: str) -> Suggestion:
    """Return the suggestion to divide the learning rate by three, or by a power of it where updates show how far."""
    factor = LEARNING_RATE_STEP ** _steps(_update_excess(records))
    rate = records.network.learning_rate
    known = f" (now {rate:.3g}: {_rounded(rate / factor):.3g})" if math.isfinite(rate) else ""
    return change(
        "learning_rate", lambda old: _rounded(old / factor), context,
        name="lower_learning_rate",
        text=f"divide the learning rate by {factor:.0f}{known}",
        reason=reason,
        expected="the loss falls more steadily",
    )  # fmt: skip


def raise_learning_rate(context: Context, records: Records, reason: str) -> Suggestion:
    """Return the suggestion to multiply the learning rate by three, or by a power of it where updates show how far."""
    ratios = _update_ratios(records, last=True)
    factor = LEARNING_RATE_STEP ** _steps(UPDATE_RATIO[0] / float(np.median(ratios)) if ratios.size else 1.0)
    rate = records.network.learning_rate
    known = f" (now {rate:.3g}: {_rounded(rate * factor):.3g})" if math.isfinite(rate) else ""
    return change(
        "learning_rate", lambda old: _rounded(old * factor), context,
        name="raise_learning_rate",
        text=f"multiply the learning rate by {factor:.0f}{known}",
        reason=reason,
        expected="the loss falls sooner",
    )  # fmt: skip


def _steps(excess: float) -> int:
    """Return by how many steps a learning rate is off, at least one."""
    if not excess > 1 or not math.isfinite(excess):
        return 1
    return min(max(round(math.log(excess, LEARNING_RATE_STEP)), 1), MOST_STEPS)


def _update_excess(records: Records) -> float:
    """Return by what factor updates were too large: at the worst, or judged by how weights grew in the first epoch."""
    ratios = _update_ratios(records, last=False)
    by_updates = float(ratios.max()) / UPDATE_RATIO[1] if ratios.size else 1.0
    growth = [
        rows[1].rms / rows[0].rms
        for (_, name), rows in records.tensors_of("weight").items()
        if is_matrix(name) and len(rows) > 1 and rows[0].step == 0 and rows[0].rms > 0
    ]
    finite = [each for each in growth if math.isfinite(each)]
    return max(by_updates, *finite, 1.0)


def _update_ratios(records: Records, *, last: bool) -> FloatArray:
    """Return the ratios of matrices' updates to their weights, of the last record of each or of all."""
    weights = records.tensors_of("weight")
    found = [
        each.norm / norms[each.step]
        for key, rows in records.tensors_of("update").items()
        if is_matrix(key[1]) and key in weights
        for norms in [_norms(weights[key])]
        for each in (rows[-1:] if last else rows)
        if norms.get(each.step, 0.0) > 0
    ]
    array = np.array(found, dtype=np.float64)
    return array[np.isfinite(array) & (array > 0)]


def _norms(rows: tuple[TensorRecord, ...]) -> dict[int, float]:
    return {each.step: each.norm for each in rows}


def halve_batch(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to halve the batch."""
    return change(
        "batch_size", lambda old: max(old // 2, 1), context,
        name="halve_batch", text="halve the batch", reason=reason,
        expected="more steps per epoch, with more noise in each, which helps out of flat places",
    )  # fmt: skip


def double_batch(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to double the batch."""
    return change(
        "batch_size", lambda old: old * 2, context,
        name="double_batch", text="double the batch", reason=reason, expected="less noise in each step",
    )  # fmt: skip


def more_layers(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to add a hidden layer."""
    return change(
        "layers", lambda old: old + 1, context,
        name="more_layers", text="add a hidden layer", reason=reason, expected="a network that can fit the data",
    )  # fmt: skip


def fewer_layers(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to take away a hidden layer."""
    return change(
        "layers", lambda old: old - 1 if old > 1 else None, context,
        name="fewer_layers", text="take away a hidden layer, or add residual connections and normalisation",
        reason=reason, expected="gradients reach the first layers",
    )  # fmt: skip


def more_units(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to double the units."""
    return change(
        "units", lambda old: old * 2, context,
        name="more_units", text="double the units of the hidden layers", reason=reason,
        expected="a network that can fit the data",
    )  # fmt: skip


def other_activation(context: Context, wanted: str, reason: str) -> Suggestion:
    """Return the suggestion to use another activation."""
    return change(
        "activation", lambda old: None if old == wanted else wanted, context,
        name="other_activation", text=f"use the activation {wanted}", reason=reason,
        expected="units that pass gradients on",
    )  # fmt: skip


def other_initializer(context: Context, wanted: str, reason: str) -> Suggestion:
    """Return the suggestion to start from other weights."""
    return change(
        "initializer", lambda old: None if old == wanted else wanted, context,
        name="other_initializer", text=f"start from {wanted} weights", reason=reason,
        expected="signals of the same size in every layer at the start",
    )  # fmt: skip


def more_dropout(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to drop more units."""
    return change(
        "dropout", lambda old: min((old or 0.0) + 0.2, 0.7), context,
        name="more_dropout", text="raise the dropout by 0.2", reason=reason,
        expected="a smaller gap between training and validation",
    )  # fmt: skip


def less_dropout(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to drop fewer units."""
    return change(
        "dropout", lambda old: old / 2 if old else None, context,
        name="less_dropout", text="halve the dropout", reason=reason, expected="a network that can fit the data",
    )  # fmt: skip


def more_weight_decay(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to decay weights more."""
    return change(
        "weight_decay", lambda old: old * 10 if old else 1e-4, context,
        name="more_weight_decay", text="raise the weight decay tenfold (1e-4 where there is none)", reason=reason,
        expected="a smaller gap between training and validation",
    )  # fmt: skip


def less_weight_decay(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to decay weights less."""
    return change(
        "weight_decay", lambda old: old / 10 if old else None, context,
        name="less_weight_decay", text="lower the weight decay to a tenth", reason=reason,
        expected="weights that may grow to what the data ask for",
    )  # fmt: skip


# What is no change of a parameter ---------------------------------------------------------------------


def stop(reason: str, expected: str = "the budget that is left goes to other trials") -> Suggestion:
    """Return the suggestion to stop the run."""
    return Suggestion("stop", "stop", "stop this run", reason, expected)


def search_around(context: Context, reason: str) -> Suggestion:
    """Return the suggestion to let a search choose the model and its hyperparameters."""
    action, where = ("search", " around this config") if context.space is not None else ("advice", "")
    text = f"use AutoML to select the model and its hyperparameters{where}"
    return Suggestion("automl", action, text, reason, "a config that fits the data")  # type: ignore[arg-type]


def words(name: str, text: str, reason: str, expected: str) -> Suggestion:
    """Return advice that no parameter of a config can express."""
    return Suggestion(name, "advice", text, reason, expected)

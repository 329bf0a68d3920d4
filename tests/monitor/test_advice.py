"""Suggestions: diffs on the config, checked against the space."""

from __future__ import annotations

import pytest

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.record import NetworkFacts, Records
from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace

SPACE = SearchSpace(
    {
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "batch_size": Ordinal([32, 64, 128]),
        "global_clipnorm": Ordinal([0.0, 0.1, 1.0]),
        "n_layers": Integer(1, 3),
        "activation": Categorical(["relu", "tanh"]),
    },
    forbidden=[{"n_layers": 3, "activation": "tanh"}],
)
CONFIG = {"learning_rate": 0.001, "batch_size": 128, "global_clipnorm": 0.0, "n_layers": 2, "activation": "tanh"}
AROUND = Context(config=CONFIG, space=SPACE)


def test_the_slides_changes():
    assert advice.lower_learning_rate(AROUND, Records(), "").changes == {"learning_rate": 0.000333}
    assert advice.halve_batch(AROUND, "").changes == {"batch_size": 64}
    clip = advice.clip_gradients(AROUND, "overflow")
    assert (clip.name, clip.action, clip.changes) == ("clip_gradients", "change", {"global_clipnorm": 0.1})
    assert clip.applied_to(CONFIG) == {**CONFIG, "global_clipnorm": 0.1}
    assert clip.applied_to(CONFIG) in SPACE


def test_outside_the_space_it_is_advice_in_words():
    least = Context(config={**CONFIG, "learning_rate": 1e-4}, space=SPACE)
    found = advice.lower_learning_rate(least, Records(), "")
    assert (found.action, dict(found.changes), found.is_applicable) == ("advice", {}, False)
    assert advice.more_units(AROUND, "").action == "advice"  # no such parameter
    assert advice.other_activation(AROUND, "leaky_relu", "").action == "advice"  # no such value
    more = advice.more_layers(AROUND, "")  # a forbidden combination
    assert (more.action, more.text) == ("advice", "add a hidden layer (the search space has no such n_layers)")


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (3e-4, "divide the learning rate by 3: learning_rate = 0.0001 instead of 0.0003"),
        (
            2e-4,
            "learning_rate = 0.0001 instead of 0.0002, in this search space the nearest to: "
            "divide the learning rate by 3",
        ),
        (1.485e-4, "divide the learning rate by 3 (the search space ends at learning_rate = 0.0001: widen it)"),
        (1e-4, "divide the learning rate by 3 (the search space ends at learning_rate = 0.0001: widen it)"),
    ],
)
def test_what_is_promised_is_what_the_space_allows(rate, text):
    found = advice.lower_learning_rate(Context(config={**CONFIG, "learning_rate": rate}, space=SPACE), Records(), "")
    assert found.text == text
    assert found.action == ("change" if rate > 1.5e-4 else "advice")


def test_a_change_of_which_little_is_left_is_not_tried():
    space = SearchSpace({"dropout": Float(0.0, 0.5), "units": Ordinal([16, 100]), "clipnorm": Float(2.0, 10.0)})
    around = Context(config={"dropout": 0.45, "units": 16, "clipnorm": 5.0}, space=space)
    assert advice.more_dropout(around, "").action == "advice"
    assert advice.clip_gradients(around, "").action == "advice"  # to 2 in place of 0.1
    assert advice.less_dropout(around, "").changes == {"dropout": 0.225}
    more = advice.more_units(around, "")
    assert more.text.startswith("units = 100 instead of 16, in this search space the nearest to: double")
    zero = Context(config={"dropout": 0.0}, space=SearchSpace({"dropout": Float(0.0, 0.5)}))
    assert advice.more_dropout(zero, "").changes == {"dropout": 0.2}


def test_a_value_is_put_on_the_nearest_that_the_parameter_takes():
    low = Context(config={**CONFIG, "learning_rate": 2e-4}, space=SPACE)
    assert advice.lower_learning_rate(low, Records(), "").changes == {"learning_rate": 1e-4}
    assert advice.double_batch(Context(config={**CONFIG, "batch_size": 64}, space=SPACE), "").changes == {
        "batch_size": 128
    }
    assert advice.double_batch(AROUND, "").action == "advice"


@pytest.mark.parametrize("name", ["lr", "base_lr", "optimizer.learning_rate", "adam_lr"])
def test_a_parameter_is_known_by_the_names_that_people_use(name):
    around = Context(config={name: 0.3})
    assert advice.parameter_of("learning_rate", around) == name
    assert advice.lower_learning_rate(around, Records(), "").changes == {name: 0.1}


def test_without_a_config_the_network_s_own_rate_is_named():
    records = Records(network=NetworkFacts(learning_rate=0.001))
    assert "0.000333" in advice.lower_learning_rate(Context(), records, "").text


def test_a_clipped_run_is_not_told_to_clip():
    assert advice.clip_gradients(Context(config={**CONFIG, "global_clipnorm": 0.1}, space=SPACE), "").action == "advice"


def test_automl_needs_a_space():
    assert advice.search_around(AROUND, "").action == "search"
    assert advice.search_around(Context(), "").action == "advice"

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import ExecutionError, ObjectiveError
from dhflow.train.command import parse_command, render

SCALARS = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00")), st.integers(), st.floats()
)


@pytest.mark.parametrize(
    ("template", "values", "command"),
    [
        ("train --lr {lr}", {"lr": 0.001}, "train --lr 0.001"),
        ("train --lr {lr} [--momentum {m}]", {"lr": 1, "m": 0.5}, "train --lr 1 --momentum 0.5"),
        ("train --lr {lr} [--momentum {m}]", {"lr": 1}, "train --lr 1 "),
        ("train[ --a {a} --b {b}]", {"a": 1}, "train"),
        ("train[ --a {a}][ --b {b}]", {"b": 1}, "train --b 1"),
        ("echo '{{}}' [[ -f x ]]", {}, "echo '{}' [ -f x ]"),
        ("[--x {x} [[1]]]", {"x": 2}, "--x 2 [1]"),
        ("train {name}", {"name": "a b; rm -rf /"}, "train 'a b; rm -rf /'"),
        ("train {a} {b} {c}", {"a": True, "b": False, "c": None}, "train true false null"),
        ("train { lr }", {"lr": 1e-7}, "train 1e-07"),
        ("true", {"unused": 1}, "true"),
    ],
)
def test_templates_are_filled_in(template: str, values: dict[str, Any], command: str) -> None:
    assert render(template, values) == command


@given(value=SCALARS)
def test_a_value_is_one_word_of_the_shell(value: Any) -> None:
    words = shlex.split(render("train --x {x} --end", {"x": value}))
    assert words == ["train", "--x", repr(value) if isinstance(value, float) else str(value), "--end"]


def test_an_inactive_parameter_outside_a_group_fails_the_trial() -> None:
    with pytest.raises(ObjectiveError, match=r"'m', which is inactive.*\[--m \{m\}\]"):
        render("train --momentum {m}", {"lr": 1})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("train {learning_rat}", r"did you mean \{learning_rate\}\?"),
        ("train {q}", "the space has: learning_rate, momentum"),
        ("train [--verbose]", r"holds no parameter; write \[\[--verbose\]\]"),
        ("train [--m {momentum}", r"a \[ without its \]"),
        ("train --m {momentum}]", r"a \] without its \["),
        ("train [a {momentum} [b]]", "holds no parameter|group within a group|without its"),
        ("train [a [--m {momentum}]", "group within a group"),
        ("train {momentum", r"a \{ without its partner"),
        ("train momentum}", r"a \} without its partner.*write \}\}"),
        ("train {momentum} {learning_rate}", "not active in every config"),
    ],
)
def test_a_bad_template_is_refused_before_the_study(template: str, message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        parse_command(template, ["learning_rate", "momentum"], conditional=["momentum"])


def test_a_parameter_that_is_left_out_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="does not use 'momentum'"):
        parse_command("train {learning_rate}", ["learning_rate", "momentum"])


def test_special_names_are_known_and_the_directory_is_absolute(tmp_path: Path) -> None:
    template = "train {x} {trial_id} {seed} [{budget}] {dir} {result}"
    source = parse_command(template, ["x"], cwd=tmp_path)
    assert (source.template, source.cwd) == (template, str(tmp_path))
    assert parse_command("train {x}", ["x"]).cwd == str(Path.cwd())

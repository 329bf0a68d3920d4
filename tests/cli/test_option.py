from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dhflow.cli.option import limit_options, parse_duration, parse_scalar, run_options, run_settings, scalars


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("0.5", 0.5),
        ("90s", 90.0),
        ("10m", 600.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("10:00", 600.0),
        ("01:00:00", 3600.0),
        ("00:00:07.5", 7.5),
        ("soon", None),
        ("", None),
        ("10x", None),
        ("-5", None),
        ("1h30", None),
        ("1:2:3:4", None),
        ("s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**6))
def test_a_duration_in_hours_minutes_and_seconds_is_read_back(seconds: int) -> None:
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1.5", 1.5), ("1e-3", 1e-3), ("true", True), ("False", False), ("None", None), ("null", None),
     ("lhs", "lhs"), ("[1, 2]", [1, 2]), ('"3"', "3"), ("", ""), ("{", "{")],
)  # fmt: skip
def test_values_of_settings(text: str, value: object) -> None:
    read = parse_scalar(text)
    assert read == value
    assert type(read) is type(value)


def test_settings_make_a_mapping() -> None:
    assert scalars([("kappa", "1.0"), ("initial", "sobol")]) == {"kappa": 1.0, "initial": "sobol"}


def parsed(*arguments: str) -> dict[str, Any]:
    """Return the settings that a line of options makes."""
    found: dict[str, Any] = {}

    @click.command()
    @limit_options
    @run_options
    def command(**options: Any) -> None:
        found.update(run_settings({**options, "figure": None, "progress": None}))

    result = CliRunner().invoke(command, arguments)
    if result.exit_code:
        raise click.UsageError(result.output)
    return found


def test_only_what_was_given_is_a_setting() -> None:
    assert parsed() == {}
    assert parsed("--max-trials", "30", "--wall-time", "10m", "--target", "-0.5") == {
        "max_trials": 30,
        "wall_time_s": 600.0,
        "target": -0.5,
    }


def test_none_switches_an_option_off() -> None:
    assert parsed("--abort-after", "none", "--max-trials", "none", "--timeout", "none") == {
        "abort_after": None,
        "max_trials": None,
        "timeout_s": None,
    }


def test_site_arguments_stay_text_and_labels_become_a_list() -> None:
    found = parsed(
        "--site-set", "workers=2", "--site-set", "cores-per-worker=1", "--executors", "a, b", "--keep", "none"
    )
    assert found == {
        "site_set": {"workers": "2", "cores_per_worker": "1"},
        "executors": ["a", "b"],
        "keep": "none",
    }


def test_a_site_file_is_remembered_by_its_whole_path(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parsed("--site", "mine.py") == {"site": str(tmp_path / "mine.py")}
    assert parsed("--site", "laptop") == {"site": "laptop"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--max-trials", "0"), "below 1"),
        (("--max-trials", "1.5"), "no whole number"),
        (("--wall-time", "soon"), "is no time"),
        (("--target", "high"), "no number"),
        (("--site-set", "workers"), "write name=value"),
        (("--keep", "some"), "all"),
        (("--plateau", "nan"), "no whole number"),
        (("--max-budget", "nan"), "below 0"),
    ],
)
def test_a_bad_value_says_what_is_wanted(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        parsed(*arguments)


def test_resources_are_a_mapping_with_numbers_and_names_of_parameters() -> None:
    assert parsed("--resource", "num_nodes=2", "--resource", "ranks-per-node=ranks") == {
        "resources": {"num_nodes": 2, "ranks_per_node": "ranks"}
    }

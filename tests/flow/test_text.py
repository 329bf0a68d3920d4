from __future__ import annotations

import pytest

from dhflow.flow.text import count, format_config, format_duration, format_rate, format_value


@pytest.mark.parametrize(
    ("seconds", "text", "whole"),
    [
        (0.0, "0.0 s", "0 s"),
        (-3.0, "0.0 s", "0 s"),
        (0.44, "0.4 s", "0 s"),
        (9.94, "9.9 s", "10 s"),
        (9.96, "10 s", "10 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1:00 min", "1:00 min"),
        (187.0, "3:07 min", "3:07 min"),
        (3599.7, "1:00:00 h", "1:00:00 h"),
        (7387.0, "2:03:07 h", "2:03:07 h"),
        (86400.0 + 7380.0, "1 d 02:03 h", "1 d 02:03 h"),
    ],
)
def test_durations_keep_the_digits_that_matter(seconds: float, text: str, whole: str) -> None:
    assert format_duration(seconds) == text
    assert format_duration(seconds, whole=True) == whole


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (1820.4, "1820/s"),
        (12.34, "12.3/s"),
        (1.0, "1/s"),
        (0.5, "30/min"),
        (1 / 60, "1/min"),
        (2.1 / 3600, "2.1/h"),
        (1 / 86400, "1/day"),
        (0.5 / 86400, "0.5/day"),
        (0.0, "0/day"),
    ],
)
def test_rates_take_the_unit_that_makes_them_one_or_more(per_second: float, text: str) -> None:
    assert format_rate(per_second) == text


def test_values_keep_their_kind() -> None:
    assert [format_value(each) for each in (0.1 + 0.2, 1e-7, 3, True, None, "adam")] == [
        "0.3",
        "1e-07",
        "3",
        "True",
        "None",
        "adam",
    ]
    assert format_config({"lr": 0.00123456789, "n": 3}) == "lr=0.00123457 n=3"
    assert (count(1, "trial"), count(2, "trial"), count(0, "trial")) == ("1 trial", "2 trials", "0 trials")

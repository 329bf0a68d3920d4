"""Columns give back what they were made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import HistoryCorruptError
from dhflow.history.column import Column, Nullable, Text, infer, narrow

GAP = object()
texts = st.text(st.characters(), max_size=4)
scalars = texts | st.integers() | st.floats() | st.booleans() | st.none()
of_one_kind = st.sampled_from([texts, st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans()])
cells = st.lists(scalars | st.just(GAP)) | of_one_kind.flatmap(lambda kind: st.lists(kind | st.just(GAP)))


def typed(values: list[Any]) -> list[tuple[type, str]]:
    return [(type(value), repr(value)) for value in values]


@given(cells)
def test_inferred_columns_are_lossless(values: list[Any]) -> None:
    column = infer(values, GAP)
    assert len(column) == len(values)
    assert typed(column.to_list(GAP)) == typed(values)


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([1, 2, GAP], Nullable, "int64"),
        ([0.5, GAP, float("nan")], Nullable, "float64"),
        ([True, GAP, False], Nullable, "bool"),
        (["sgd", GAP, "adam", "sgd"], Text, "int8"),
        ([GAP, GAP], Nullable, "float64"),
        ([], Nullable, "float64"),
    ],
)
def test_values_of_one_type_make_a_typed_column(values: list[Any], kind: type, dtype: str) -> None:
    column = infer(values, GAP)
    assert isinstance(column, kind)
    numbers = column.codes if isinstance(column, Text) else column.values
    assert numbers.dtype == dtype
    assert not getattr(column, "is_json", False)


@pytest.mark.parametrize("values", [[1, 0.5], [True, 1], ["a", None], [2**63], [None], [{"a": 1}]])
def test_other_values_are_kept_as_json(values: list[Any]) -> None:
    column = infer(values, GAP)
    assert isinstance(column, Text)
    assert column.is_json


def test_gaps_are_marked_and_filled_with_what_does_not_mislead() -> None:
    column = infer([0.5, GAP], GAP)
    assert isinstance(column, Nullable)
    assert column.mask.tolist() == [False, True]
    assert np.isnan(column.values[1])


@given(st.lists(st.none() | texts), st.lists(st.none() | texts), st.booleans(), st.booleans())
def test_text_columns_are_joined(first: list[Any], second: list[Any], one: bool, other: bool) -> None:
    def make(values: list[Any], is_json: bool) -> Text:
        return Text.of_json(values) if is_json else Text.of(values)

    joined = make(first, one).extended(make(second, other))
    assert joined.to_list() == first + second
    assert len(set(joined.categories)) == len(joined.categories)


@pytest.mark.parametrize(("n", "dtype"), [(0, "int8"), (128, "int8"), (129, "int16"), (32_769, "int32")])
def test_codes_are_as_small_as_can_be(n: int, dtype: str) -> None:
    codes = narrow(np.array([-1, max(n - 1, 0)]), n)
    assert codes.dtype == dtype
    assert codes.tolist() == [-1, max(n - 1, 0)]


@pytest.mark.parametrize("codes", [[0, 1], [-2]])
def test_codes_outside_the_categories_are_corrupt(codes: list[int]) -> None:
    with pytest.raises(HistoryCorruptError, match="category"):
        Text(np.array(codes), ["a"]).to_list()


def test_column_kinds_are_told_apart() -> None:
    columns: list[Column] = [infer([1], GAP), infer(["a"], GAP)]
    assert [type(each) for each in columns] == [Nullable, Text]

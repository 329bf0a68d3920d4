"""What architecture spaces refuse: circles, loose ends, impossible shapes; with the path of the node in the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas import (
    LSTM,
    Add,
    ArchitectureSpace,
    Cell,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Layer,
    Sequential,
    Skip,
)


def two_nodes() -> ArchitectureSpace:
    """Return input → a → head → output."""
    space = ArchitectureSpace((8,), (2,))
    a = space.variable([Dense(4), Identity()], name="a")
    space.connect(space.input, a, space.constant(Dense(2), "head"), space.output)
    return space


def bad(change: Callable[[ArchitectureSpace], Any]) -> SpaceError:
    space = ArchitectureSpace((8,), (2,))
    a = space.variable([Dense(4), Identity()], name="a")
    b = space.variable([Dense(4), Dense(5)], name="b")
    head = space.constant(Dense(2), name="head")
    space.connect(space.input, a, b, head, space.output)
    with pytest.raises(SpaceError) as caught:  # noqa: PT012 - some show when they are written, some when looked at
        change(space)
        space.check()
    return caught.value


@pytest.mark.parametrize(
    ("change", "path", "complaint"),
    [
        (lambda s: s.connect(s.nodes["b"], s.nodes["a"]), "b->a", "closes a circle: b → a → b"),
        (lambda s: s.connect(s.nodes["head"], s.nodes["a"]), "head->a", "head → a → b → head"),
        (lambda s: s.optional_connect(s.nodes["a"], s.nodes["a"]), "a->a", "circle"),
        (lambda s: s.connect(s.nodes["a"], s.nodes["b"]), "a->b", "connected already"),
        (lambda s: s.connect(s.nodes["a"], s.input), "a->input", "nothing goes into"),
        (lambda s: s.connect(s.output, s.nodes["a"]), "output->a", "nothing comes from"),
        (lambda s: s.connect(s.nodes["a"]), "connect", "two nodes"),
        (lambda s: s.connect("a", s.nodes["b"]), None, "is no node of this space"),
        (lambda s: s.connect(two_nodes().nodes["a"], s.nodes["b"]), "a", "another space"),
        (lambda s: s.constant(Dense(3), "lone"), "lone", "nothing goes into this constant node"),
        (lambda s: s.connect(s.input, s.constant(Dense(3), "lone")), "lone", "nothing takes what"),
        (lambda s: s.variable([Dense(3)], "c"), "c", "two operations or more"),
        (lambda s: s.variable([Dense(3), Dense(3)], "c"), "c", "two operations 'Dense(3)'"),
        (lambda s: s.variable(Dense(3), "c"), "c", "give a list"),
        (lambda s: s.variable([Dense, Identity()], "c"), "c[0]", "write Dense(…)"),
        (lambda s: s.variable([Identity(), 3], "c"), "c[1]", "it has no label"),
        (lambda s: s.variable([Identity(), Add()], "c"), "c[1]", "joins its inputs by merge"),
        (lambda s: s.variable([Identity(), Dense(2)], "c", default=Dense(3)), "c", "none of its operations"),
        (lambda s: s.variable([Dense(i) for i in range(1, 66)], "c"), "c", "upper bound is 64"),
        (lambda s: s.variable([Identity(), Dense(2)], "a"), "a", "of this name already"),
        (lambda s: s.variable([Identity(), Dense(2)], "a.b"), "a.b", "letters, digits"),
        (lambda s: s.constant(Dense(2), "zeros"), "zeros", "another name"),
        (lambda s: s.constant(Dense(2), "c", merge="stack"), "c.merge", "concatenate"),
        (lambda s: s.mirror(s.input), None, "no operation to take over"),
        (lambda s: s.nest(Cell(), choices="some"), "choices", '"own" or "shared"'),
        (lambda s: s.nest(Cell(), weights="shared"), "cell", "needs choices"),
        (lambda s: s.nest("cell"), None, "takes a Cell"),
        (lambda s: s.connect_one_of([s.nodes["a"]], s.nodes["head"]), "connect_one_of", "two nodes"),
        (lambda s: s.optional_connect(s.input, s.nodes["b"], name="a"), "a", "choice of this name"),
    ],
)
def test_what_is_badly_written_is_refused(change: Any, path: str | None, complaint: str) -> None:
    error = bad(change)
    assert complaint in error.message
    assert error.path == path


def test_skips_that_lead_nowhere() -> None:
    for target, complaint in (
        ("nowhere", "there is no such node"),
        ("input", "leads to the input"),
        ("b", "connected anyway"),
        ("a", "circle"),
    ):
        space = ArchitectureSpace((8,), (2,))
        a = space.variable([Dense(4), Skip(target)], name="a")
        b = space.constant(Dense(4), name="b")
        space.connect(space.input, a, b, space.constant(Dense(2), "head"), space.output)
        with pytest.raises(SpaceError, match=complaint) as caught:
            space.decisions()
        assert str(caught.value).startswith("a")


def test_a_node_of_optional_inputs_only() -> None:
    space = ArchitectureSpace((8,), (8,))
    node = space.constant(Dropout(0.1), "node")
    space.optional_connect(space.input, node)
    space.connect(node, space.output)
    with pytest.raises(SpaceError, match="node: every connection into it is optional"):
        space.check()


def test_impossible_shapes_are_found_with_the_choices_that_lead_there() -> None:
    space = ArchitectureSpace((8, 8, 3), (2,))
    first = space.variable([Conv2D(4, 3), Conv2D(4, 3, 4)], name="first")
    second = space.variable([Identity(), Conv2D(4, 3, padding="valid")], name="second")
    head = space.constant(Sequential([Flatten(), Dense(2)]), name="head")
    space.connect(space.input, first, second, head, space.output)
    with pytest.raises(SpaceError, match="does not fit onto an axis of 2") as caught:
        space.check()
    assert caught.value.path == "second"
    assert "with first = 'Conv2D(4, 3, strides=4)', second = 'Conv2D(4, 3, valid)'" in str(caught.value)


def test_impossible_sums_and_outputs_are_found() -> None:
    space = ArchitectureSpace((8, 3), (8, 2))
    first = space.variable([LSTM(4, return_sequences=True), LSTM(5)], name="first")
    space.connect(space.input, first, space.constant(Dense(2), "head"), space.output)
    with pytest.raises(SpaceError, match="gets a tensor of shape 2, and the space's output has 8×2") as caught:
        space.check()
    assert caught.value.path == "output"
    joined = ArchitectureSpace((8, 3), (4,))
    last = joined.variable([LSTM(4), LSTM(5)], name="last")
    end = joined.constant(Dense(4), "end", merge="concatenate")
    joined.connect(joined.input, last, end, joined.output)
    joined.optional_connect(joined.input, end)
    with pytest.raises(SpaceError, match=r"shapes 4 and 8×3 cannot be joined.*input->end = True"):
        joined.check()


def test_what_cannot_happen_is_no_error() -> None:
    # The twin chooses as its model does, so the two never differ and always add.
    space = ArchitectureSpace((8,), (2,))
    first = space.variable([Dense(4), Dense(5)], name="first")
    twin = space.mimic(first, name="twin")
    head = space.constant(Dense(2), "head", merge=Add("equal"))
    space.connect(space.input, first, head, space.output)
    space.connect(space.input, twin, head)
    space.check()
    assert space.freeze({"first": "Dense(5)"}).parameter_count == 2 * 45 + 12


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: {}, "this is no architecture space"),
        (lambda d: d | {"version": 2}, "reads version 1"),
        (lambda d: d | {"colour": "red"}, "unknown key 'colour'"),
        (lambda d: d | {"edges": [{"source": "x", "target": "a"}]}, "there is no node 'x'"),
        (lambda d: d | {"nodes": [{"name": "x"}]}, "does not fit"),
        (lambda d: {k: v for k, v in d.items() if k != "choices"}, "a choice that is not there"),
        (lambda d: d | {"inputs": {"other": [3]}}, "among the nodes"),
    ],
)
def test_bad_json_of_a_space(change: Any, complaint: str) -> None:
    with pytest.raises(SpaceError, match=complaint):
        ArchitectureSpace.from_json(change(two_nodes().to_json()))


def test_a_shape_that_nobody_could_foresee_is_an_error_of_freezing() -> None:
    space = ArchitectureSpace((3,), (2,))
    calls: list[Any] = []

    def grudging(shape: Any) -> Any:
        calls.append(shape)
        if len(calls) > 3:
            raise ShapeMismatchError("no more")
        return shape

    node = space.constant(Layer(lambda: None, shape=grudging, name="grudging"), "node")
    space.connect(space.input, node, space.constant(Dense(2), "head"), space.output)
    space.check()
    calls.extend([None] * 3)
    with pytest.raises(ShapeMismatchError, match="node: no more") as caught:
        space.freeze({})
    assert caught.value.node == "node"

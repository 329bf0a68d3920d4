"""Controls survive the way to a worker, and nonsense is refused."""

from __future__ import annotations

import pytest

from dhflow.errors import DhflowError
from dhflow.monitor.control import Control, control_from_line, control_to_line


@pytest.mark.parametrize(
    "control",
    [Control("stop", reason="overflow: the loss is nan"), Control("learning_rate", 3e-4), Control("checkpoint")],
)
def test_a_control_survives_its_line(control: Control) -> None:
    assert control_from_line(control_to_line(control)) == control


@pytest.mark.parametrize(("kind", "value"), [("pause", None), ("learning_rate", None), ("learning_rate", float("nan"))])
def test_nonsense_is_refused(kind: str, value: float | None) -> None:
    with pytest.raises(DhflowError, match=kind):
        Control(kind, value)  # type: ignore[arg-type]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"3", b'{"control":"fly"}', b'{"control":"learning_rate"}'])
def test_a_torn_or_foreign_line_is_no_control(line: bytes) -> None:
    assert control_from_line(line) is None

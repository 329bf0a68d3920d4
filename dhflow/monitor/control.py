"""Controls: what may be asked of a running trial, as lines of strict JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dhflow.errors import DhflowError

ControlKind = Literal["stop", "learning_rate", "checkpoint"]
KINDS: tuple[ControlKind, ...] = get_args(ControlKind)


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that a running trial is asked to do; it takes effect at the end of the epoch.

    Parameters
    ----------
    kind : {"stop", "learning_rate", "checkpoint"}
        End and return the value so far; train on with another learning rate; keep the weights now.
    value : float, optional
        Of ``"learning_rate"``: the new one.
    reason : str
        For people: the finding behind it.

    Raises
    ------
    DhflowError
        If the kind is unknown, or the learning rate is no positive number.
    """

    kind: ControlKind
    value: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DhflowError(f"there is no control {self.kind!r}; there are: {', '.join(KINDS)}")
        is_rate = self.kind == "learning_rate"
        if is_rate and not (self.value is not None and math.isfinite(self.value) and self.value > 0):
            raise DhflowError(f"control learning_rate: give a positive number, not {self.value!r}")


def control_to_line(control: Control) -> bytes:
    """Return a control as one line."""
    data: dict[str, Any] = {"control": control.kind, "reason": control.reason}
    if control.value is not None:
        data["value"] = control.value
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def control_from_line(line: bytes | str) -> Control | None:
    """Return the control in a line, or None if the line is torn or is no control."""
    try:
        data: Any = json.loads(line)
        value = data.get("value")
        return Control(data["control"], None if value is None else float(value), str(data.get("reason", "")))
    except (DhflowError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None

"""What every rule is: a pure function with a name, a family and thresholds of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dhflow.errors import SearchError
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity, Suggestion
from dhflow.monitor.record import Records

Check = Callable[[Records, Context, Any], Finding | None]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Parameters
    ----------
    name, family : str
    check : callable
        ``check(records, context, limits)``, pure.
    limits : dataclass instance
        The thresholds; a field's docstring says what it is and where it comes from.
    source : str
    """

    name: str
    family: str
    check: Check
    limits: Any
    source: str

    def __call__(self, records: Records, context: Context) -> Finding | None:
        """Return what the rule finds, or None."""
        found = self.check(records, context, self.limits)
        if found is None:
            return None
        return replace(found, rule=self.name, family=self.family, source=self.source, step=records.last_step)

    def with_limits(self, changes: Mapping[str, Any]) -> Rule:
        """Return the rule with other thresholds.

        Raises
        ------
        SearchError
            If the rule has no such threshold.
        """
        known = [each.name for each in fields(self.limits)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise SearchError(f"rule {self.name!r} has no threshold {unknown[0]!r}; it has: {', '.join(known)}")
        return replace(self, limits=replace(self.limits, **changes))


def found(
    severity: Severity,
    text: str,
    evidence: Mapping[str, Any],
    suggestions: Iterable[Suggestion] = (),
    *,
    probability: float = 1.0,
) -> Finding:
    """Return a finding; name, family, source and step are filled in by :class:`Rule`."""
    shown = {name: _plain(value) for name, value in evidence.items()}
    return Finding("", severity, text, shown, tuple(suggestions), probability=probability)


def _plain(value: Any) -> Any:
    """Return a value that strict JSON has: four digits of a float, a text for what is not finite."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    return value


def shown(value: float) -> str:
    """Return a number for a sentence."""
    return f"{value:.4g}"


def share(value: float) -> str:
    """Return a share for a sentence: ``"12 %"``."""
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.2g} %"


def names(items: Iterable[str], most: int = 4) -> str:
    """Return names for a sentence, not too many."""
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more

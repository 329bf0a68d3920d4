"""All rules, and their judgement of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dhflow.errors import SearchError
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Light, Suggestion, by_severity, light_of
from dhflow.monitor.record import Records
from dhflow.monitor.rules import (
    classes,
    convergence,
    divergence,
    gradients,
    initialisation,
    inputs,
    last_layer,
    machine,
    overfitting,
    overflow,
    siblings,
    underfitting,
    units,
    updates,
)
from dhflow.monitor.rules.base import Rule
from dhflow.monitor.trend.judgement import Trend, trend_of

_MODULES = (overflow, divergence, last_layer, inputs, initialisation, gradients, units, updates, classes, underfitting,
            overfitting, siblings, convergence, machine)  # fmt: skip

RULES: tuple[Rule, ...] = tuple(rule for module in _MODULES for rule in module.RULES)
"""In the order in which equally grave findings are shown: what explains others comes first."""

_EXPLAINS = {
    "overflow": {"divergence", "stuck_at_start", "underfitting", "converged", "dominated", "exploding_gradients"},
    "underfitting": {"converged", "stuck_at_start"},
    "dominated": {"converged"},
    "overfitting": {"converged"},
    "stuck_at_start": {"converged"},
}
"""What need not be said beside a finding: the same facts, seen from further away."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say about a run.

    Parameters
    ----------
    findings : tuple of Finding
        The gravest first.
    light : Light
    trend : Trend, optional
    """

    findings: tuple[Finding, ...]
    light: Light
    trend: Trend | None = None

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """What is suggested, the most promising first, each name once."""
        named: dict[str, Suggestion] = {}
        for each in self.findings:
            for suggestion in each.suggestions:
                named.setdefault(suggestion.name, suggestion)
        return tuple(named.values())

    @property
    def advises_stop(self) -> bool:
        """Whether any finding advises to stop."""
        return any(each.advises_stop for each in self.findings)


def judge(records: Records, context: Context | None = None, rules: Iterable[Rule] = RULES) -> Judgement:
    """Return what the rules say about a run so far.

    Parameters
    ----------
    records : Records
    context : Context, optional
    rules : iterable of Rule
        All by default; :func:`with_thresholds` returns them with others.

    Notes
    -----
    Takes about a millisecond for a run of 100 epochs with statistics of ten layers.
    """
    around = context or Context()
    trend = around.trend or trend_of(records, around)
    around = replace(around, trend=trend)
    every = [found for rule in rules if (found := rule(records, around)) is not None]
    hidden = set().union(*(_EXPLAINS.get(each.rule, set()) for each in every))
    findings = by_severity(each for each in every if each.rule not in hidden)
    return Judgement(findings, light_of(findings), trend)


def with_thresholds(changes: Mapping[str, Mapping[str, Any]], rules: Iterable[Rule] = RULES) -> tuple[Rule, ...]:
    """Return the rules with other thresholds: ``{"divergence": {"factor": 3.0}}``.

    Raises
    ------
    SearchError
        If there is no rule of that name, or it has no such threshold.
    """
    known = tuple(rules)
    unknown = sorted(set(changes) - {each.name for each in known})
    if unknown:
        listed = ", ".join(each.name for each in known)
        raise SearchError(f"there is no rule {unknown[0]!r}; there are: {listed}")
    return tuple(each.with_limits(changes.get(each.name, {})) for each in known)

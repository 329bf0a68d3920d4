"""All rules, and their judgement of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dhflow.errors import SearchError
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Light, Severity, Suggestion, by_severity, light_of
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
    reports,
    siblings,
    underfitting,
    units,
    updates,
)
from dhflow.monitor.rules.base import Rule
from dhflow.monitor.trend.judgement import Trend, trend_of

_MODULES = (overflow, divergence, last_layer, inputs, initialisation, gradients, units, updates, classes, underfitting,
            overfitting, siblings, convergence, machine, reports)  # fmt: skip

RULES: tuple[Rule, ...] = tuple(rule for module in _MODULES for rule in module.RULES)
"""In the order in which equally grave findings are shown: what explains others comes first."""

_SYMPTOMS = {"underfitting", "stuck_at_start", "converged", "dominated", "class_confusion"}
"""What a network that cannot learn shows, whatever the cause."""

_EXPLAINS: Mapping[str, set[str]] = {
    "bad_inputs": {"overflow", *_SYMPTOMS},
    "overflow": {"divergence", "exploding_gradients", *_SYMPTOMS},
    "divergence": {"class_confusion"},
    "wrong_last_layer": _SYMPTOMS,
    "zero_tensors": _SYMPTOMS,
    "dead_units": _SYMPTOMS,
    "vanishing_gradients": {"bad_update_ratio", "unchanged_tensors", *_SYMPTOMS},
    "unchanged_tensors": _SYMPTOMS,
    "over_regularised": {"bad_update_ratio", *_SYMPTOMS},
    "class_imbalance": {"class_confusion"},
    "underfitting": {"converged", "stuck_at_start", "class_confusion"},
    "dominated": {"converged"},
    "overfitting": {"converged", "class_confusion"},
    "stuck_at_start": {"converged", "class_confusion"},
}
"""What need not be said beside a finding: the same facts, seen from further away. Those of a cause that only warns are
as grave as the gravest that it explains. Of inputs, only such that are not finite explain an overflow."""


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
    findings = by_severity(_explained(every))
    return Judgement(findings, light_of(findings), trend)


def _explained(every: Sequence[Finding]) -> list[Finding]:
    """Leave out what is explained by a finding; that takes over its gravity, and the advice to stop."""
    kept: list[Finding] = []
    hidden = explained_by(every)
    for each in every:
        if each.rule in hidden:
            continue
        explained = [other for other in every if other.rule in _explains(each)]
        if any(other.severity is Severity.CRITICAL for other in explained):
            stops = [s for other in explained for s in other.suggestions if s.action == "stop"][:1]
            suggestions = (*each.suggestions, *(stops if not each.advises_stop else ()))
            each = replace(each, severity=Severity.CRITICAL, suggestions=suggestions)  # noqa: PLW2901
        kept.append(each)
    return kept


def explained_by(findings: Iterable[Finding]) -> set[str]:
    """Return the rules that need not speak beside these findings, which explain what they would say."""
    return set().union(*map(_explains, findings))


def _explains(finding: Finding) -> set[str]:
    if finding.severity is Severity.NOTE:
        return set()
    explained = _EXPLAINS.get(finding.rule, set())
    is_poor_scale = finding.rule == "bad_inputs" and finding.severity is not Severity.CRITICAL
    return explained - {"overflow"} if is_poor_scale else explained


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

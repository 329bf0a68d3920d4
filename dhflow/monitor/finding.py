"""What the rules say: findings with evidence, suggestions that a machine can apply, and the traffic light."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal["change", "stop", "search", "advice"]


class Severity(str, enum.Enum):
    """How much a finding matters."""

    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARNING = "warning"
    """The run can be expected to gain from a change."""
    CRITICAL = "critical"
    """Going on as it is spends budget on nothing."""


class Light(str, enum.Enum):
    """The traffic light of a run."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to do about a finding. Not a searcher's suggestion: it starts from a trial's config.

    Parameters
    ----------
    name : str
        Unique within a trial: ``dhflow accept HISTORY 17/clip_gradients``.
    action : {"change", "stop", "search", "advice"}
        Try the config with `changes`; stop the run; start a search around the config; or only the words.
    text : str
        What to do, in words.
    reason : str
    expected : str
        The expected effect.
    changes : mapping
        Parameter to its new value: a diff on the trial's config. Empty unless `action` is ``"change"``.
    """

    name: str
    action: Action
    text: str
    reason: str = ""
    expected: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_applicable(self) -> bool:
        """Whether a machine can do it."""
        return self.action != "advice"

    def applied_to(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config with the changes."""
        return {**config, **self.changes}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Parameters
    ----------
    rule : str
    severity : Severity
    text : str
        One sentence, with the numbers that matter.
    evidence : mapping
        The numbers by name, JSON values.
    suggestions : tuple of Suggestion
        The most promising first.
    source : str
        Where the rule and its thresholds come from.
    family : str
        The symptom family, of which a run has one cause at a time.
    step : int
        The last epoch that was seen.
    probability : float
        Of what the rule says, where it can tell; 1.0 for what was simply seen.
    """

    rule: str
    severity: Severity
    text: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    suggestions: tuple[Suggestion, ...] = ()
    source: str = ""
    family: str = ""
    step: int = 0
    probability: float = 1.0

    @property
    def advises_stop(self) -> bool:
        """Whether stopping is among the suggestions."""
        return any(each.action == "stop" for each in self.suggestions)


_ORDER = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def light_of(findings: Iterable[Finding]) -> Light:
    """Return the traffic light: red with a critical finding, amber with a warning, else green."""
    worst = min((_ORDER[each.severity] for each in findings), default=2)
    return (Light.RED, Light.AMBER, Light.GREEN)[worst]


def is_graver(finding: Finding, other: Finding) -> bool:
    """Tell whether a finding matters more than another."""
    return _ORDER[finding.severity] < _ORDER[other.severity]


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, the gravest first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda each: _ORDER[each.severity]))


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """Return the JSON form of a finding; :func:`finding_from_json` is its inverse."""
    data = asdict(finding)
    data["severity"] = finding.severity.value
    data["suggestions"] = [asdict(each) for each in finding.suggestions]
    return data


def finding_from_json(data: Mapping[str, Any]) -> Finding:
    """Return the finding that :func:`finding_to_json` wrote; keys that this version does not know are left aside."""
    known = {name: data[name] for name in Finding.__dataclass_fields__ if name in data}
    known["severity"] = Severity(known["severity"])
    known["suggestions"] = tuple(suggestion_from_json(each) for each in known.get("suggestions", ()))
    return Finding(**known)


def suggestion_from_json(data: Mapping[str, Any]) -> Suggestion:
    """Return the suggestion of a finding's JSON form."""
    return Suggestion(**{name: data[name] for name in Suggestion.__dataclass_fields__ if name in data})

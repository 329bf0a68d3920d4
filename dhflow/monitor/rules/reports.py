"""Reports: numbers of which nobody can tell which one the study is about."""

from __future__ import annotations

from dataclasses import dataclass

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, names

UNKNOWN_METRIC = "unknown_metric"


@dataclass(frozen=True)
class MetricLimits:
    """:func:`unknown_metric` has no thresholds."""


def unknown_metric(records: Records, context: Context, limits: MetricLimits) -> Finding | None:
    """Say that no number is known to be the objective, so that nothing can be judged by its curve."""
    del limits
    reported = [each for each in records.metric_names if each != "learning_rate"]
    if not reported or context.judged(records) in reported:
        return None
    why = f"none of {names(reported)} is known to be what the study is about ({context.metric})"
    advised = advice.words(
        "report",
        f"report it by its name, trial.report(step, {context.metric}=...), or as val_loss or loss",
        why,
        "trials are judged by their curves, and stoppers can stop them",
    )
    return found(Severity.NOTE, f"not judged: {why}", {"reported": reported}, [advised])


RULES = (Rule(UNKNOWN_METRIC, "reports", unknown_metric, MetricLimits(), "names of the metrics"),)

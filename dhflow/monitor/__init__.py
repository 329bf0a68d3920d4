"""The training monitor: what a run records, the rules that judge it, and what they suggest.

Runs on workers and in the driver alike; needs NumPy alone, and Keras for its callback. Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.lazy import lazy_names

if TYPE_CHECKING:
    from dhflow.monitor.channel import Channel as Channel
    from dhflow.monitor.context import Context as Context
    from dhflow.monitor.context import Sibling as Sibling
    from dhflow.monitor.control import Control as Control
    from dhflow.monitor.finding import Finding as Finding
    from dhflow.monitor.finding import Light as Light
    from dhflow.monitor.finding import Severity as Severity
    from dhflow.monitor.finding import Suggestion as Suggestion
    from dhflow.monitor.keras_monitor.callback import KerasMonitor as KerasMonitor
    from dhflow.monitor.record import Reading as Reading
    from dhflow.monitor.record import Records as Records
    from dhflow.monitor.rules import RULES as RULES
    from dhflow.monitor.rules import Judgement as Judgement
    from dhflow.monitor.rules import judge as judge
    from dhflow.monitor.rules import with_thresholds as with_thresholds
    from dhflow.monitor.trend.judgement import Trend as Trend
    from dhflow.monitor.trend.judgement import Verdict as Verdict
    from dhflow.monitor.trend.judgement import trend_of as trend_of

_HOMES = {
    "Channel": "channel",
    "Context": "context",
    "Control": "control",
    "Finding": "finding",
    "Judgement": "rules",
    "judge": "rules",
    "KerasMonitor": "keras_monitor.callback",
    "Light": "finding",
    "Reading": "record",
    "Records": "record",
    "RULES": "rules",
    "Severity": "finding",
    "Sibling": "context",
    "Suggestion": "finding",
    "Trend": "trend.judgement",
    "trend_of": "trend.judgement",
    "Verdict": "trend.judgement",
    "with_thresholds": "rules",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

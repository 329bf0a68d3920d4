"""Searchers compared on one problem: the same seeds for all, real searches, paired statistics.

The package is not called ``compare``: that would hide the function :func:`dhflow.compare`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.lazy import lazy_names

if TYPE_CHECKING:
    from dhflow.comparison.figure import draw_comparison as draw_comparison
    from dhflow.comparison.outcome import Comparison as Comparison
    from dhflow.comparison.outcome import Run as Run
    from dhflow.comparison.run import compare as compare
    from dhflow.comparison.spec import SearcherSpec as SearcherSpec
    from dhflow.comparison.spec import parse_searcher as parse_searcher
    from dhflow.comparison.spec import parse_searchers as parse_searchers

_HOMES = {
    "Comparison": "outcome",
    "Run": "outcome",
    "SearcherSpec": "spec",
    "compare": "run",
    "draw_comparison": "figure",
    "parse_searcher": "spec",
    "parse_searchers": "spec",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

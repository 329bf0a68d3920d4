"""Which trial next: pure ask and tell searchers."""

from __future__ import annotations

from dhflow.searcher.base import Searcher
from dhflow.searcher.registry import (
    make_searcher,
    register_searcher,
    searcher_class,
    searcher_names,
    searcher_options,
)

__all__ = ["Searcher", "make_searcher", "register_searcher", "searcher_class", "searcher_names", "searcher_options"]

"""Searchers as a comparison names them: ``ambs``, or ``ambs:n_initial=20:liar=mean`` with options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dhflow.errors import SearchError
from dhflow.searcher.registry import searcher_options

N_SHARED = 10
"""Random configs that those searchers of one repeat have in common which begin with random ones."""


@dataclass(frozen=True)
class SearcherSpec:
    """A searcher with its options, and what it is called in tables.

    Parameters
    ----------
    name : str
        Of a registered searcher.
    options : mapping
        Those that differ from the defaults.
    label : str
        ``name:option=value:…`` unless given.

    Raises
    ------
    SearchError
        If the searcher or an option is unknown.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        known = searcher_options(self.name)
        for each in self.options:
            if each not in known:
                there = f"its options are: {', '.join(known)}" if known else "it has no options"
                raise SearchError(f"searcher {self.name!r} has no option {each!r}; {there}")
        if not self.label:
            parts = [self.name, *(f"{name}={_text(value)}" for name, value in sorted(self.options.items()))]
            object.__setattr__(self, "label", ":".join(parts))

    @property
    def n_shared(self) -> int:
        """How many of its first configs may come from outside.

        Random ones, where it is ``random`` or says itself that its ``initial_design`` is random; none otherwise.
        """
        options = {**searcher_options(self.name), **self.options}
        is_random = self.name == "random" or options.get("initial_design") == "random"
        least = options.get("n_initial")
        return min(N_SHARED, least if isinstance(least, int) else N_SHARED) if is_random else 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"label": self.label, "name": self.name, "options": dict(self.options)}


def parse_searcher(text: str) -> SearcherSpec:
    """Return the searcher that ``name`` or ``name:option=value:…`` says.

    Raises
    ------
    SearchError
        If the searcher or an option is unknown, or a part is no ``option=value``.
    """
    name, *parts = [each.strip() for each in text.split(":")]
    options: dict[str, Any] = {}
    for part in parts:
        option, sign, value = part.partition("=")
        if not sign or not option:
            raise SearchError(f"{text!r}: write a searcher's options as name:option=value:option=value")
        options[option.strip().replace("-", "_")] = _value(value)
    return SearcherSpec(name, options)


def parse_searchers(searchers: str | Iterable[str | SearcherSpec] | Mapping[str, Any]) -> list[SearcherSpec]:
    """Return the searchers of a comparison.

    Parameters
    ----------
    searchers : str, iterable or mapping
        Texts for :func:`parse_searcher` (one text with commas between them, or several), specs, or a mapping
        from labels to either.

    Raises
    ------
    SearchError
        If one is unknown, or two have the same label, or there is none.
    """
    if isinstance(searchers, Mapping):
        found = [_labelled(label, each) for label, each in searchers.items()]
    else:
        given: Sequence[Any] = searchers.split(",") if isinstance(searchers, str) else list(searchers)
        found = [each if isinstance(each, SearcherSpec) else parse_searcher(each) for each in given]
    labels = [each.label for each in found]
    twice = next((each for each in labels if labels.count(each) > 1), None)
    if twice is not None:
        raise SearchError(f"the searcher {twice!r} is named twice")
    if not found:
        raise SearchError("name at least one searcher")
    return found


def _labelled(label: str, given: str | SearcherSpec) -> SearcherSpec:
    spec = given if isinstance(given, SearcherSpec) else parse_searcher(given)
    return SearcherSpec(spec.name, spec.options, label)


def _value(text: str) -> Any:
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)

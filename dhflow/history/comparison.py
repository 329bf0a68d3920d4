"""Whether a study may go on with a history: the same space, objectives, constraints and budget, or what differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dhflow.errors import HistoryFormatError
from dhflow.history.event import StudyHeader

# Starting points are trials by the time a study is resumed.
_FREE = frozenset({"parameters", "starting_points"})
_SHOWN = 3


def check_same_study(recorded: StudyHeader, wanted: StudyHeader, path: Path | str = "the history") -> None:
    """Compare what a history is of with what is to go on in it.

    Parameters
    ----------
    recorded, wanted : StudyHeader
        Study, seed and time of creation may differ.
    path : path
        For the message.

    Raises
    ------
    HistoryFormatError
        If space, objectives, constraints or budget differ; the message names the parameters and what became of them.
    """
    differences = [*differences_between(recorded, wanted)]
    if differences:
        shown = "; ".join(differences[:_SHOWN])
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise HistoryFormatError(
            f"{path} belongs to another search: {shown}{more}. Go on with the search as it was, or choose another file"
        )


def differences_between(recorded: StudyHeader, wanted: StudyHeader) -> Iterator[str]:
    """Yield, in words, what `wanted` has otherwise than `recorded`."""
    yield from _space_differences(recorded.space, wanted.space)
    before = {each.name: each.direction for each in recorded.objectives}
    after = {each.name: each.direction for each in wanted.objectives}
    yield from _changes("objective", before, after)
    if list(before) != list(after) and set(before) == set(after):
        yield f"the objectives come in another order: {_show(list(before))}, now {_show(list(after))}"
    yield from _changes("constraint", _themselves(recorded.constraints), _themselves(wanted.constraints))
    if not _same(recorded.budget, wanted.budget):
        yield f"the budget was {_show(recorded.budget)}, it is {_show(wanted.budget)} now"


def _space_differences(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    before, after = _by_name(recorded), _by_name(wanted)
    yield from _changes("parameter", before, after)
    if list(before) != list(after) and set(before) == set(after):
        yield f"the parameters come in another order: {_show(list(before))}, now {_show(list(after))}"
    for key in sorted({*recorded, *wanted} - _FREE):
        if not _same(recorded.get(key), wanted.get(key)):
            yield f"{key} of the space was {_show(recorded.get(key))}, it is {_show(wanted.get(key))} now"


def _by_name(space: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["name"]: each for each in space.get("parameters", ())}


def _themselves(texts: Iterable[str]) -> dict[str, str]:
    return {each: each for each in texts}


def _changes(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name, value in before.items():
        if name not in after:
            yield f"{what} {name!r} was removed"
        elif not _same(value, after[name]):
            yield f"{what} {name!r} was changed: {_detail(value, after[name])}"
    for name in after:
        if name not in before:
            yield f"{what} {name!r} was added"


def _detail(before: Any, after: Any) -> str:
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return f"it was {_show(before)}, it is {_show(after)} now"
    keys = [key for key in {**before, **after} if not _same(before.get(key), after.get(key))]
    return ", ".join(f"{key} was {_show(before.get(key))}, it is {_show(after.get(key))} now" for key in keys)


def _same(first: Any, second: Any) -> bool:
    # By text: in Python True == 1 == 1.0, in a search space they are three.
    return _show(first, limit=None) == _show(second, limit=None)


def _show(value: Any, limit: int | None = 120) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if limit is None or len(text) <= limit else text[:limit] + "…"

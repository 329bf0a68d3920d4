"""``dhflow resume``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli.option import DEFAULT_SEARCHER, Setting, Verb, limit_options, run_options, run_settings, scalars
from dhflow.errors import SearchError

if TYPE_CHECKING:
    from dhflow.cli.problem import Reference
    from dhflow.history.event import StudyRecord


@click.command(cls=Verb, examples=["resume digits.h5", "resume digits.h5 --max-trials 60 --site-set workers=4"])
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--problem", help="The problem's file, where it cannot be found by itself.")
@click.option("--searcher", help="Another searcher from here on.")
@click.option("--searcher-set", multiple=True, type=Setting(), help="Option of the searcher, e.g. n_initial=20.")
@limit_options
@run_options
def command(
    history: Path,
    *,
    problem: str | None,
    searcher: str | None,
    searcher_set: Sequence[tuple[str, str]],
    figure: str | None,
    progress: bool,
    **options: Any,
) -> None:
    """Go on with HISTORY: with its problem, site, searcher and limits, unless they are given anew.

    A limit given here replaces that limit alone; `none` lifts it. Trials that were running run again.
    """
    from dhflow.cli.problem import Reference, load_problem, warn_if_changed
    from dhflow.cli.run import Plan, run
    from dhflow.history import load_record

    before = last_plan(load_record(history))
    known = Reference.from_json(before.get("problem", {}))
    found, reference = load_problem(Reference.parse(problem) if problem else find_problem(before, history))
    warn_if_changed(known, reference)
    chosen = searcher or before.get("searcher", DEFAULT_SEARCHER)
    same_searcher = chosen == before.get("searcher")
    run(
        Plan(
            found,
            reference,
            history,
            resume=True,
            searcher=chosen,
            searcher_options={
                **(before.get("searcher_options", {}) if same_searcher else {}),
                **scalars(searcher_set),
            },
            constraints=before.get("constraints", ()),
            options=_with_withheld(_merged(before.get("options", {}), run_settings(options)), history),
            figure=figure,
            progress=progress,
        )
    )


def last_plan(record: StudyRecord) -> dict[str, Any]:
    """Return what a history says of its last search: as the command line put it, or as the library did."""
    info = record.sessions[-1][0].info if record.sessions else {}
    plan = info.get("reference")
    if isinstance(plan, dict) and plan:
        return plan
    searcher = info.get("searcher")
    known = dict(searcher) if isinstance(searcher, Mapping) else {}
    return {
        "searcher": known.get("name", DEFAULT_SEARCHER),
        "searcher_options": known.get("options", {}),
        "constraints": record.header.constraints if record.header else (),
        "options": {name: value for name, value in info.get("limits", {}).items() if value is not None},
        "objective": info.get("objective", ""),
    }


def find_problem(plan: Mapping[str, Any], history: Path) -> Reference:
    """Return where the problem of a history is now.

    Raises
    ------
    SearchError
        If it cannot be found; asks for ``--problem``.
    """
    from dhflow.cli.problem import Reference, find_again

    known = Reference.from_json(plan.get("problem", {}))
    found = find_again(known, history)
    if found is not None:
        return found
    if known.file:
        raise SearchError(
            f"the problem of {history} was in {known.file}, which is not there any more: give --problem FILE.py"
        )
    objective = f"; its objective was {plan['objective']}" if plan.get("objective") else ""
    raise SearchError(f"{history} does not say in which file its problem is{objective}: give --problem FILE.py")


def _merged(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of before, overruled by those of now; arguments belong to their site."""
    merged = {**before, **now}
    if "site_set" in now and now.get("site", before.get("site")) == before.get("site"):
        merged["site_set"] = {**before.get("site_set", {}), **now["site_set"]}
    elif "site" in now and now["site"] != before.get("site") and "site_set" not in now:
        merged.pop("site_set", None)
    return merged


def _with_withheld(options: dict[str, Any], history: Path) -> dict[str, Any]:
    """Return the options with those arguments of the site that the history itself does not keep."""
    from dhflow.flow.confidential import restored
    from dhflow.flow.run_directory import run_path

    if "site_set" in options:
        options["site_set"] = restored(options["site_set"], run_path(history))
    return options

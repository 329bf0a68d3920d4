"""Running a search for the verbs `search` and `resume`, and what is said when it ends."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli.option import DEFAULT_SEARCHER, DEFAULT_SITE, LIMITS
from dhflow.cli.problem import Reference
from dhflow.errors import DhflowError, HistoryError, MissingExtraError

if TYPE_CHECKING:
    from dhflow.problem import Problem
    from dhflow.result import Result
    from dhflow.study import Study


@dataclass(frozen=True, slots=True)
class Plan:
    """A search as the command line puts it.

    Parameters
    ----------
    problem : Problem
    reference : Reference
    history : Path
    resume : bool
        Go on from `history` if it is there.
    searcher : str
    searcher_options : mapping
    constraints : sequence of str
        Beside the problem's.
    seed : int, optional
    options : mapping
        Of :class:`~dhflow.flow.session.RunSettings`, JSON values only.
    figure : str, optional
        File to draw the result into.
    progress : bool
    """

    problem: Problem
    reference: Reference
    history: Path
    resume: bool = False
    searcher: str = DEFAULT_SEARCHER
    searcher_options: Mapping[str, Any] = field(default_factory=dict)
    constraints: Sequence[str] = ()
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    figure: str | None = None
    progress: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what the history keeps, so that `dhflow resume` finds it again."""
        from dhflow.flow.confidential import for_history

        options = dict(self.options)
        if "site_set" in options:
            options["site_set"] = for_history(options["site_set"])
        return {
            "problem": self.reference.to_json(),
            "searcher": self.searcher,
            "searcher_options": dict(self.searcher_options),
            "constraints": list(self.constraints),
            "options": options,
        }


def run(plan: Plan) -> None:
    """Run the search and say what came out.

    Raises
    ------
    DhflowError
        Of the search; what to do next is among its notes.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, with everything recorded; its text says how to go on.
    """
    from dhflow.history import exists

    _check_limits(plan.options)
    is_new = not exists(plan.history)
    if not is_new and not plan.resume:
        raise HistoryError(
            f"{plan.history} exists already. To go on with it: {resume_command(plan.history)}, or this command "
            "with --resume, which also starts a search that is not there yet; to start anew, choose another --history "
            "or remove it"
        )
    if not is_new and _is_done(plan):
        return
    if plan.progress:
        click.echo(_opening(plan, is_new=is_new), err=True)
    result = _run_study(plan)
    from dhflow.cli.report import report

    report(result, plan.history, keep=str(plan.options.get("keep", "all")), figure=_draw(plan, result))


def resume_command(history: Path, *more: str) -> str:
    """Return the command that goes on with a history."""
    return shlex.join(["dhflow", "resume", str(history), *more])


def _run_study(plan: Plan) -> Result:
    from dhflow.study import Study

    study: Study | None = None
    try:
        with Study(
            plan.problem,
            searcher=plan.searcher,
            searcher_options=plan.searcher_options,
            constraints=plan.constraints,
            seed=plan.seed,
            history=plan.history,
            resume=plan.resume,
        ) as study:
            options: Any = {"site": DEFAULT_SITE, **plan.options}
            return study.run(progress=plan.progress, reference=plan.to_json(), **options)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_after_interrupt(plan, study, str(stop))) from None
    except DhflowError as error:
        if study is not None and study.trials:
            _add_note(error, f"{_standing(plan, study)}. When it is mended, go on with: {resume_command(plan.history)}")
        raise


def _check_limits(options: Mapping[str, Any]) -> None:
    if all(options.get(each) is None for each in LIMITS):
        raise click.UsageError("this search would never end: give --max-trials, --wall-time or another limit")


def _is_done(plan: Plan) -> bool:
    """Tell whether a history has all its trials already, before workers are started for nothing."""
    from dhflow.history import load_record
    from dhflow.trial import TrialSource

    limit = plan.options.get("max_trials")
    trials = [each for each in load_record(plan.history).trials.values() if each.source is not TrialSource.ADDED]
    if limit is None or len(trials) < limit or not all(each.is_finished for each in trials):
        return False
    click.echo(
        f"{plan.history} has {len(trials)} finished trials, and --max-trials is {limit}: nothing is left to do.\n"
        f"go on      {resume_command(plan.history, '--max-trials', str(2 * len(trials)))}"
    )
    return True


def _opening(plan: Plan, *, is_new: bool) -> str:
    where = plan.options.get("site", DEFAULT_SITE)
    what = "searching" if is_new else "going on with"
    return f"dhflow: {what} {plan.reference} with {plan.searcher} on {where}; history {plan.history}"


def _standing(plan: Plan, study: Study) -> str:
    n_ended = sum(each.is_finished for each in study.trials)
    n_open = len(study.trials) - n_ended
    again = f", {n_open} will run again" if n_open else ""
    return f"{n_ended} finished trials are in {plan.history}{again}"


def _after_interrupt(plan: Plan, study: Study | None, reason: str) -> str:
    reason = reason or "interrupted"
    if study is None or not study.trials:
        return f"{reason}, before the first trial"
    return f"{reason}. {_standing(plan, study)}.\ngo on with: {resume_command(plan.history)}"


def _draw(plan: Plan, result: Result) -> str | None:
    if plan.figure is None:
        return None
    from dhflow.plot import draw
    from dhflow.plot.figure import usual_kind

    try:
        return str(draw(result, usual_kind(result), plan.figure))
    except (MissingExtraError, OSError) as error:
        click.echo(f"dhflow: the figure was not drawn: {error}", err=True)
        return None


def _add_note(error: DhflowError, note: str) -> None:
    # What BaseException.add_note does, which is Python 3.11's.
    vars(error)["__notes__"] = [*getattr(error, "__notes__", ()), note]

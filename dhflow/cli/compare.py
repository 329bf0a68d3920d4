"""``dhflow compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli.option import DEFAULT_SITE, OFF, Duration, Number, Setting, Verb, run_settings
from dhflow.cli.report import columns
from dhflow.errors import MissingExtraError, SearchError
from dhflow.flow.text import count, format_value

if TYPE_CHECKING:
    from dhflow.comparison import Comparison, Run


@click.command(
    cls=Verb,
    examples=[
        "compare digits.py --searchers random,ambs --repeats 5 --trials 40 --out digits-compare",
        "compare digits.py --searchers ambs,ambs:acquisition=lcb:kappa=1,ambs:liar=mean --json liars.json",
        "compare digits.py --searchers random,ambs --wall-time 10m --resample-split --threshold 0.95",
    ],
)
@click.argument("problem")
@click.option(
    "--searchers",
    default="random,ambs",
    show_default=True,
    help="With commas between; options after colons: ambs:n_initial=20:liar=mean.",
)
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True, help="Runs of each searcher.")
@click.option("--trials", "max_trials", type=Number(int, low=1), help="Trials of each run.  [default: 100]")
@click.option("--wall-time", "wall_time_s", type=Duration(), help="Time of each run, in place of --trials: 10m.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Repeat k has seed SEED + k.")
@click.option("--baseline", default="first", show_default=True, help="Tested against: first, best, or a searcher.")
@click.option("--threshold", type=float, help="Report the share of trials that are at least as good.")
@click.option("--optimum", type=float, help="Errors count from it.  [default: the best value seen]")
@click.option("--resample-split", is_flag=True, help="A new split of the data in each repeat (Problem.resample).")
@click.option(
    "--no-shared-start", is_flag=True, help="Let also random and ambs draw their first random configs themselves."
)
@click.option("--site", help="Site's name or path of a site file (dhflow sites).  [default: laptop]")
@click.option("--site-set", multiple=True, type=Setting(), help="Argument of the site, e.g. workers=2.")
@click.option("--workers", type=click.IntRange(1), help="Trials at a time, where the site does not say.")
@click.option("--timeout", "timeout_s", type=Duration(), help="End a trial that runs longer: 90s, 10m.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Keeps histories, figures and results; "
              "the same command goes on from there.  [default: PROBLEM's name-compare]")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
@click.option("--progress/--no-progress", default=True, help="One line per run on standard error.")
def command(
    problem: str,
    *,
    searchers: str,
    repeats: int,
    seed: int,
    baseline: str,
    threshold: float | None,
    optimum: float | None,
    resample_split: bool,
    no_shared_start: bool,
    site_set: Sequence[tuple[str, str]],
    out: Path | None,
    json_file: Path | None,
    progress: bool,
    **options: Any,
) -> None:
    """Compare searchers on PROBLEM: each runs several times, with the same seeds as the others.

    PROBLEM is what `dhflow search` takes. Finished runs under --out are not repeated.
    """
    from dhflow.cli.problem import Reference, load_problem
    from dhflow.comparison import compare

    given = {name: value for name, value in options.items() if value is not OFF}
    if given.get("wall_time_s") is None and given.get("max_trials") is None:
        given["max_trials"] = 100
    found, where = load_problem(Reference.parse(problem))
    folder = out or Path(f"{where.stem}-compare")
    settings: Any = {"site": DEFAULT_SITE, **run_settings({**given, "site_set": site_set})}
    try:
        comparison = compare(
            found,
            searchers=searchers,
            repeats=repeats,
            seed=seed,
            baseline=baseline,
            threshold=threshold,
            optimum=optimum,
            resample_split=resample_split,
            shared_start=not no_shared_start,
            folder=folder,
            on_run=_Progress() if progress else None,
            **settings,
        )
    except KeyboardInterrupt as stop:
        reason = str(stop) or "interrupted"
        raise KeyboardInterrupt(f"{reason}. What is done is in {folder}: the same command goes on from there") from None
    figures = _draw(comparison, folder)
    text = json.dumps(comparison.to_json(), indent=1) + "\n"
    for path in {folder / "comparison.json", *([json_file] if json_file else [])}:
        path.write_text(text)
    click.echo("\n".join(["", *table_lines(comparison), ""]))
    facts = [("results", str(json_file or folder / "comparison.json")), ("histories", f"{folder}/SEARCHER/REPEAT.h5")]
    facts += [("figures", f"{folder}/{{{','.join(each.stem for each in figures)}}}.png")] if figures else []
    click.echo("\n".join(columns(facts)))


class _Progress:
    """Says each run as it ends."""

    def __init__(self) -> None:
        self._n = 0

    def __call__(self, run: Run) -> None:
        self._n += 1
        best = "no value" if run.final is None else f"best {format_value(run.final)}"
        failed = f", {run.n_failed} failed" if run.n_failed else ""
        failed += f", {run.n_infeasible} infeasible" if run.n_infeasible else ""
        trials = count(len(run.values), "trial")
        click.echo(f"dhflow: run {self._n}: {run.searcher}, repeat {run.repeat}: {best}, {trials}{failed}", err=True)


def table_lines(comparison: Comparison) -> list[str]:
    """Return a comparison's figures as lines for a terminal."""
    objective, rows = comparison.objective, comparison.summary()
    titles = ["", "rank", f"{objective.name} (mean ± sd)", "best", "error ratio (95 %)", "p (Holm)"]
    titles += ["good trials"] if comparison.threshold is not None else []
    titles += ["busy", "trials/h", "trials", "failed"]
    body = [_cells(each, is_base=each["searcher"] == comparison.base, comparison=comparison) for each in rows]
    if any(each["infeasible"] for each in rows):
        titles.append("infeasible")
        body = [[*cells, str(each["infeasible"])] for cells, each in zip(body, rows, strict=True)]
    has_budgets = any(each["full_trainings"] not in (None, each["trials"]) for each in rows)
    if has_budgets:
        titles.append("full trainings")
        body = [[*cells, _text(each["full_trainings"], "{:.1f}")] for cells, each in zip(body, rows, strict=True)]
    lines = columns([titles, *body])
    name = comparison.problem or "the problem"
    head = f"{name}: {count(len(comparison.repeats), 'repeat')}; {objective.name} is {objective.direction}d"
    notes = [f"rank: mean over the repeats, 1 is best; error ratio and p: against {comparison.base}"]
    if has_budgets:
        notes.append("full trainings: what a run's budgets come to, of trials of less than the full budget too")
    without = sum(each["n_without"] for each in rows)
    if without:
        notes.append(f"{count(without, 'run')} without a value rank last and count as the worst final value seen")
    spread = comparison.split_spread()
    if spread is not None:
        what = "splits and seeds" if comparison.settings.get("resample_split") else "seeds"
        rest = "" if spread["rest"] is None else f", {spread['rest']:.3g} beside that"
        notes.append(f"standard deviation between repeats ({what}): {spread['repeats']:.3g}{rest}")
    return [click.style(head, bold=True), *(f"  {each}" for each in [*lines, "", *notes])]


def _cells(row: dict[str, Any], *, is_base: bool, comparison: Comparison) -> list[str]:
    spread = "" if row["final_std"] is None else f" ± {row['final_std']:.2g}"
    cells = [
        row["searcher"],
        _text(row["mean_rank"], "{:.2f}"),
        _text(row["final_mean"], "{:.6g}") + spread,
        "-" if row["final_best"] is None else format_value(row["final_best"]),
        "1" if is_base else _ratio(row["error_ratio"]),
        "" if is_base else _text(row["p_holm"], "{:.3g}"),
    ]
    cells += [_text(row["share_above"], "{:.0%}")] if comparison.threshold is not None else []
    return [
        *cells,
        _text(row["utilisation"], "{:.0%}"),
        _text(row["per_hour"], "{:.0f}"),
        _text(row["trials"], "{:.0f}"),
        str(row["failed"]),
    ]


def _ratio(found: dict[str, float | None] | None) -> str:
    if found is None or found["value"] is None:
        return "-"
    ends = [_text(found[each], "{:.2f}") for each in ("low", "high")]
    return f"{found['value']:.2f} ({ends[0]} to {ends[1]})"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _draw(comparison: Comparison, folder: Path) -> list[Path]:
    from dhflow.comparison import draw_comparison

    try:
        return draw_comparison(comparison, folder)
    except (MissingExtraError, OSError, SearchError) as error:
        click.echo(f"dhflow: the figures were not drawn: {error}", err=True)
        return []

"""Faults put into small Keras trainings on purpose: found, named rightly, mended; and healthy ones left alone.

    python tests/benchmarks/monitor_faults.py [--quick] [--seeds 5] [--parts known,unseen]

Each kind of fault is trained with several seeds, and each healthy recipe too. The rules look at every epoch, as the
watcher of a study does; the judgement that counts is the first red one, at which a study with ``adapt="stop"`` ends
the run, else that after the last epoch.

*Named rightly*: its first finding is of a family that says what was put in, or what that does first.

*Mended*: the first suggestion that can be carried out is, by a machine where it is a change of the config, by hand
where it is words (``DONE_BY_HAND`` in ``monitor_trainings.py``), and the same training, run again with the same seed,
ends at a score on clean validation data that is better by 0.01 or more. A fault that is not repairable has no change of
its config that could do so.

Thresholds were chosen with seeds 0 to 4 in sight; the benchmark takes others. The second table is of kinds of faults
that no rule was chosen or changed by: what to expect where something is wrong that we have not thought of.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from monitor_trainings import (
    DONE_BY_HAND,
    EPOCHS,
    FAULTS,
    HEALTHY,
    UNSEEN_BY_HAND,
    UNSEEN_FAULTS,
    UNSEEN_HEALTHY,
    Config,
    Fault,
    Trained,
    config_of,
    train,
)

from dhflow.monitor import Context, Judgement, Light, Records, Severity, Suggestion, judge

FIRST_SEED = 10
FIRST_UNSEEN_SEED = 20
BETTER = 0.01
"""By how much a score is better."""


@dataclass(frozen=True)
class Seen:
    """What the rules said about one training.

    Parameters
    ----------
    judgement : Judgement
        The one that counts.
    step : int
        Its epoch.
    alarms : tuple of (int, str, str)
        Epoch, severity and rule of all warnings and critical findings, at any epoch.
    """

    judgement: Judgement
    step: int
    alarms: tuple[tuple[int, str, str], ...]

    @property
    def is_alarmed(self) -> bool:
        """Whether the light was amber or red at any look."""
        return bool(self.alarms)

    @property
    def family(self) -> str:
        """Family of the first finding that is no note; "" where there is none."""
        grave = [each for each in self.judgement.findings if each.severity is not Severity.NOTE]
        return grave[0].family if grave else ""


def until(records: Records, step: int) -> Records:
    """Return a run as it was after an epoch."""
    return Records(
        tuple(each for each in records.readings if each.step <= step),
        tuple(each for each in records.tensors if each.step <= step),
        tuple(each for each in records.machine if each.step <= step),
        tuple(each for each in records.classes if each.step <= step),
        (),
        records.network,
        records.data,
    )


def context_of(trained: Trained) -> Context:
    """Return what the rules know besides: the config, the metric, the budget. Neither siblings nor a target."""
    names = trained.records.metric_names
    metric = next((each for each in names if each.startswith("val_") and "accuracy" in each), "val_loss")
    return Context(config=trained.config, metric=metric, full_budget=float(EPOCHS))


def look_at(trained: Trained) -> Seen:
    """Judge a training after each of its epochs."""
    context = context_of(trained)
    alarms: list[tuple[int, str, str]] = []
    counts: tuple[Judgement, int] | None = None
    last = judge(Records(), context)
    for step in range(1, trained.records.last_step + 1):
        last = judge(until(trained.records, step), context)
        grave = [each for each in last.findings if each.severity is not Severity.NOTE]
        alarms += [(step, each.severity.value, each.rule) for each in grave]
        if counts is None and last.light is Light.RED:
            counts = last, step
    judgement, at = counts or (last, trained.records.last_step)
    return Seen(judgement, at, tuple(alarms))


def followed(
    suggestions: Sequence[Suggestion], config: Mapping[str, Any], by_hands: Mapping[str, Config] = DONE_BY_HAND
) -> tuple[str, Config] | None:
    """Return the first suggestion that can be carried out, and the config with it; None if there is none."""
    for each in suggestions:
        if each.action == "change":
            return each.name, each.applied_to(config)
        by_hand = by_hands.get(each.name)
        if by_hand is not None and any(config[name] != value for name, value in by_hand.items()):
            return each.name, {**config, **by_hand}
    return None


@dataclass(frozen=True)
class Row:
    """One training with a fault."""

    fault: Fault
    seed: int
    seen: Seen
    score: float
    suggestion: str = ""
    mended_score: float | None = None

    @property
    def is_named(self) -> bool:
        """Whether the first finding's family is one that fits."""
        return self.seen.family in self.fault.families

    @property
    def is_mended(self) -> bool:
        """Whether the first suggestion has made it better."""
        return self.mended_score is not None and self.mended_score >= self.score + BETTER


def faulty_row(fault: Fault, seed: int, by_hands: Mapping[str, Config] = DONE_BY_HAND) -> Row:
    """Train with a fault, judge, follow the first suggestion."""
    trained = train(config_of(fault.config), seed)
    seen = look_at(trained)
    change = followed(seen.judgement.suggestions, trained.config, by_hands) if fault.is_repairable else None
    if change is None:
        return Row(fault, seed, seen, trained.score)
    name, config = change
    return Row(fault, seed, seen, trained.score, name, train(config, seed).score)


def print_faults(rows: Sequence[Row], title: str = "Faults") -> None:
    """Print the table of faults, and the shares."""
    print(f"\n{title}".ljust(35) + "runs  detected  named  mended  score         first finding; suggestion followed")
    for fault in {each.fault.name: each.fault for each in rows}.values():
        own = [each for each in rows if each.fault is fault]
        mended = f"{sum(each.is_mended for each in own)}" if fault.is_repairable else "-"
        after = [each.mended_score for each in own if each.mended_score is not None]
        scores = f"{_mean([each.score for each in own]):.2f}" + (f" to {_mean(after):.2f}" if after else "")
        said = ", ".join(dict.fromkeys(each.seen.family or "nothing" for each in own))
        changes = ", ".join(dict.fromkeys(each.suggestion for each in own if each.suggestion))
        print(
            f"{fault.name:34}{len(own):5}{sum(each.seen.is_alarmed for each in own):10}"
            f"{sum(each.is_named for each in own):7}{mended:>8}  {scores:14}{said}; {changes}"
        )
    repairable = [each for each in rows if each.fault.is_repairable]
    print(f"detected {_share(each.seen.is_alarmed for each in rows)} (aim: 95 %), ", end="")
    print(f"right family {_share(each.is_named for each in rows)} (85 %), ", end="")
    print(f"better by the first suggestion {_share(each.is_mended for each in repairable)} of the repairable (70 %)")


def healthy_runs(
    recipes: Mapping[str, Mapping[str, Any]], seeds: Iterable[int]
) -> dict[tuple[str, int], tuple[float, Seen]]:
    """Train without a fault; return scores and what the rules said, by recipe and seed."""
    found = {}
    for name, seed in product(recipes, seeds):
        trained = train(config_of(recipes[name]), seed)
        found[name, seed] = trained.score, look_at(trained)
    return found


def print_healthy(seen: Mapping[tuple[str, int], tuple[float, Seen]], title: str = "Healthy runs") -> None:
    """Print which healthy runs were amber or red at any epoch."""
    print(f"\n{title}".ljust(35) + "runs  alarmed  score  by")
    for name in dict.fromkeys(name for name, _ in seen):
        own = [each for (of, _), each in seen.items() if of == name]
        rules = dict.fromkeys(f"{rule} at {step}" for _, each in own for step, _, rule in each.alarms[:1])
        n = sum(each.is_alarmed for _, each in own)
        print(f"{name:34}{len(own):5}{n:9}  {_mean([score for score, _ in own]):.2f}   {', '.join(rules)}")
    print(
        f"false alarms, amber or red at any epoch: {_share(each.is_alarmed for _, each in seen.values())} (at most 3 %)"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


def _share(flags: Any) -> str:
    listed = [bool(each) for each in flags]
    return f"{sum(listed)} of {len(listed)}, {100 * sum(listed) / max(len(listed), 1):.1f} %"


def fault_table(*, quick: bool, seeds: int = 5) -> None:
    """Train the known kinds and the healthy ones, judge and print."""
    chosen = range(FIRST_SEED, FIRST_SEED + (1 if quick else seeds))
    print_faults([faulty_row(fault, seed) for fault in FAULTS for seed in chosen])
    print_healthy(healthy_runs(HEALTHY, chosen))


def unseen_table(*, quick: bool, seeds: int = 5) -> None:
    """Train the kinds that nothing was tuned on, judge and print."""
    chosen = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + (1 if quick else min(seeds, 3)))
    rows = [faulty_row(fault, seed, UNSEEN_BY_HAND) for fault in UNSEEN_FAULTS for seed in chosen]
    print_faults(rows, "Unseen kinds")
    print_healthy(healthy_runs(UNSEEN_HEALTHY, chosen), "Healthy runs of unseen kinds")


PARTS: dict[str, Callable[..., None]] = {"known": fault_table, "unseen": unseen_table}


def timed(parts: Iterable[str], *, quick: bool, seeds: int) -> None:
    """Print the tables, and what they cost."""
    began = time.perf_counter(), time.process_time()
    for each in parts:
        PARTS[each](quick=quick, seeds=seeds)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    print(f"{wall:.0f} s, of which {cpu:.0f} s on the processor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    chosen = parser.parse_args(arguments)
    parts = chosen.parts.split(",")
    for each in parts:
        if each not in PARTS:
            parser.error(f"there is no part {each!r}; there are: {', '.join(PARTS)}")
    timed(parts, quick=chosen.quick, seeds=chosen.seeds)


if __name__ == "__main__":
    main()

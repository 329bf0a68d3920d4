"""Whole loops: no-op trials per second, and how busy 16 workers are kept, beside the peers' own runners.

Each case runs in a process of its own, the cases in turn, several rounds. dhflow's run here
(``throughput_case.py``), a peer's in the peer's environment, through ``shared/peers/loop_overhead.py``
(``throughput_peer.py``). The ratios are of dhflow's median to the best median of a peer in the same section.

    python tests/benchmarks/throughput.py                         everything, about ten minutes on two cores
    python tests/benchmarks/throughput.py --trials 200 --rounds 1 --peers optuna
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peer_searcher import environment_folder
from tables import shared_folder

HERE = Path(__file__).parent
NAP_S = 0.1
NAP_TRIALS = 400
"""However short the other runs are: in fewer trials the first ones, which start and end together, weigh too much."""
TIMEOUT_S = 240
ENVIRONMENTS = {
    "optuna": "venv_botorch_optuna",
    "deephyper": "venv_deephyper",
    "ray": "venv_ray",
    "hyperopt": "venv_hyperopt",
}
ONE, ONE_KEPT = "one trial at a time, nothing kept", "one trial at a time, kept"
TWO, TWO_KEPT = "2 workers, nothing kept", "2 workers, kept"
MANY, MANY_KEPT = "16 workers, nothing kept", "16 workers, kept"
BUSY = "16 workers, trials of 100 ms"
SECTIONS = (ONE, ONE_KEPT, TWO, TWO_KEPT, MANY, MANY_KEPT, BUSY)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Parameters
    ----------
    section : str
    title : str
    arguments : tuple of str
        Of the script that runs it.
    peer : str
        "" for dhflow itself.
    workers : int
    share : float
        Of the trials that a peer so slow gets.
    """

    section: str
    title: str
    arguments: tuple[str, ...]
    peer: str = ""
    workers: int = 1
    share: float = 1.0

    def n_trials(self, asked: int) -> int:
        """Return how many trials it runs when `asked` is what the fast cases run."""
        return max(30, int(self.share * (NAP_TRIALS if self.section == BUSY else asked)))


@dataclass
class Figures:
    """What the rounds found of each case, and what was left out."""

    found: dict[Case, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    skipped: dict[str, str] = field(default_factory=dict)

    def values(self, case: Case, name: str) -> list[float]:
        return sorted(each[name] for each in self.found.get(case, []) if each.get(name) is not None)

    def best_peer(self, section: str, name: str) -> float | None:
        """Return the highest median of a peer in a section."""
        lists = [self.values(case, name) for case in self.found if case.section == section and case.peer]
        return max((statistics.median(each) for each in lists if each), default=None)

    def ratio(self, case: Case, name: str) -> float | None:
        """Return a case's median over the best peer's."""
        own, best = self.values(case, name), self.best_peer(case.section, name)
        return statistics.median(own) / best if own and best and not case.peer else None


def our_cases() -> Iterable[Case]:
    """Return dhflow's cases."""
    yield Case(ONE, "dhflow, ask and tell", ("ask_tell",))
    yield Case(ONE_KEPT, "dhflow, ask and tell, history", ("ask_tell", "--history"))
    for workers, section, kept in ((2, TWO, TWO_KEPT), (16, MANY, MANY_KEPT)):
        yield Case(section, "dhflow, search on threads", ("search",), workers=workers)
        yield Case(kept, "dhflow, search on threads, history", ("search", "--history"), workers=workers)
    nap = ("search", "--history", "--nap", str(NAP_S))
    yield Case(BUSY, "dhflow, random", nap, workers=16)
    yield Case(BUSY, "dhflow, ambs", (*nap, "--searcher", "ambs"), workers=16)
    yield Case(BUSY, "dhflow, ambs, packages not loaded yet", (*nap, "--searcher", "ambs", "--cold"), workers=16)


def peer_cases() -> Iterable[Case]:
    """Return the peers' cases."""
    for workers, plain, kept in ((1, ONE, ONE_KEPT), (2, TWO, TWO_KEPT), (16, MANY, MANY_KEPT)):
        yield Case(plain, "Optuna, in memory", (f"optuna_mem_random_{workers}",), "optuna", workers)
        journal = f"optuna_journal_random_{workers}"
        yield Case(kept, "Optuna, journal file", (journal,), "optuna", workers, 0.1)
        yield Case(kept, "Optuna, journal file, fsync left out", (journal, "--no-sync"), "optuna", workers, 0.3)
        yield Case(kept, "Optuna, SQLite", (f"optuna_sqlite_random_{workers}",), "optuna", workers, 0.03)
    yield Case(ONE, "hyperopt, fmin", ("hyperopt_fmin_rand",), "hyperopt", share=0.5)
    yield Case(TWO_KEPT, "DeepHyper, threads", ("dh_thread_2_DUMMY",), "deephyper", 2, 0.2)
    yield Case(TWO_KEPT, "Ray Tune, actors used again", ("ray_random_reuse",), "ray", 2, 0.2)
    yield Case(MANY_KEPT, "DeepHyper, threads", ("dh_thread_16_DUMMY",), "deephyper", 16, 0.4)
    nap = ("--nap", str(NAP_S))
    yield Case(BUSY, "Optuna, in memory, TPE", ("optuna_mem_tpe_16", *nap), "optuna", 16)
    yield Case(BUSY, "DeepHyper, random", ("dh_thread_16_DUMMY", *nap), "deephyper", 16)
    yield Case(BUSY, "DeepHyper, extra trees, sampling", ("dh_thread_16_ET", *nap), "deephyper", 16, 0.5)


# Running ----------------------------------------------------------------------------------------------


def why_not(peer: str) -> str:
    """Return why a peer cannot run here, or ""."""
    if peer not in ENVIRONMENTS:
        return f"there is no such peer; there are: {', '.join(ENVIRONMENTS)}"
    folder = shared_folder()
    if folder is None or not (folder / "peers" / "loop_overhead.py").is_file():
        return "no shared/peers/loop_overhead.py above the checkout"
    python = environment_folder() / ENVIRONMENTS[peer] / "bin" / "python"
    return "" if python.is_file() else f"not installed: shared/peers/setup.sh {peer} makes {python.parents[1]}"


def measure(chosen: argparse.Namespace) -> Figures:
    """Run every case once a round, in turn, so that a busy minute of the machine does not meet one case alone."""
    figures = Figures()
    for peer in chosen.peers:
        if reason := why_not(peer):
            figures.skipped[peer] = reason
    cases = [*our_cases(), *(each for each in peer_cases() if each.peer in chosen.peers)]
    for number in range(chosen.rounds):
        for case in cases:
            name = f"{case.title} ({case.section})"
            if case.peer in figures.skipped or name in figures.skipped:
                continue
            say(f"round {number + 1} of {chosen.rounds}: {name}")
            try:
                figures.found[case].append(run_case(case, case.n_trials(chosen.trials)))
            except CaseError as error:
                figures.skipped[name] = str(error)
    say("")
    return figures


class CaseError(Exception):
    """A case that could not be measured; says why."""


def run_case(case: Case, n_trials: int) -> dict[str, Any]:
    """Run a case in a process of its own, with a folder for its files that is removed afterwards."""
    size = ["--trials", str(n_trials), "--workers", str(case.workers)]
    with tempfile.TemporaryDirectory(prefix="dhflow-through-", ignore_cleanup_errors=True) as folder:
        try:
            done = subprocess.run(
                [*command(case), *case.arguments, *size],
                env={**os.environ, **variables(case, folder)},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CaseError(f"took more than {TIMEOUT_S} s") from None
    if done.returncode != 0 or not done.stdout.strip():
        last = (done.stderr.strip() or "it printed nothing").splitlines()[-1]
        raise CaseError(f"ended with {done.returncode}: {last[:200]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def command(case: Case) -> list[str]:
    """Return what runs a case's script, but for its arguments."""
    if not case.peer:
        return [sys.executable, str(HERE / "throughput_case.py")]
    python = environment_folder() / ENVIRONMENTS[case.peer] / "bin" / "python"
    folder = shared_folder()
    return [str(python), "-B", str(HERE / "throughput_peer.py"), str(folder and folder / "peers")]


def variables(case: Case, folder: str) -> dict[str, str]:
    """Return environment variables: one thread for BLAS; a peer finds its harness, and leaves its results with us."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if not case.peer:
        return {**threads, "TMPDIR": folder}
    # Ray's workers find the harness by PYTHONPATH alone.
    path = command(case)[-1]
    return {**threads, "TMPDIR": folder, "PEERS_RESULTS": folder, "PYTHONPATH": path}


def say(line: str) -> None:
    """Show what is being done, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


# Printing ---------------------------------------------------------------------------------------------


def print_table(figures: Figures) -> None:
    """Print the sections, and what was left out."""
    head = f"{'trials per second':40} {'whole call':24} {'/ best':>7}   {'first to last trial':24} {'/ best':>7}"
    print(head.rstrip())
    for section in SECTIONS[:-1]:
        print_section(figures, section, "whole_per_s", "{:.0f}")
    print(f"\n{'':40} {'busy share of workers':24} {'/ best':>7}   {'trials per second':24} {'/ best':>7}")
    print_section(figures, BUSY, "utilisation", "{:.3f}")
    print_notes(figures)


def print_section(figures: Figures, section: str, first: str, form: str) -> None:
    """Print one section's rows, dhflow's first."""
    print(f"\n{section}")
    for case in (each for each in figures.found if each.section == section and figures.found[each]):
        cells = f"{spread(figures.values(case, first), form):24} {times(figures.ratio(case, first)):>7}"
        rate = figures.values(case, "steady_per_s")
        cells += f"   {spread(rate, '{:.0f}'):24} {times(figures.ratio(case, 'steady_per_s')):>7}"
        print(f"  {case.title:38} {cells}".rstrip())


def print_notes(figures: Figures) -> None:
    """Print dhflow's own account of utilisation, versions, the disk and what was left out."""
    print()
    for case in figures.found:
        if case.section == BUSY and not case.peer and figures.values(case, "result_utilisation"):
            own = spread(figures.values(case, "result_utilisation"), "{:.3f}")
            print(f"{case.title}: Result.utilisation says {own}; at least 0.95 is aimed at")
    print(f"appends with fsync on this disk: {syncs_per_s():.0f} per second")
    versions = {each["version"] for found in figures.found.values() for each in found}
    print(f"measured: {', '.join(sorted(versions))}")
    for name, reason in figures.skipped.items():
        print(f"left out: {name}: {reason}")


def spread(values: Sequence[float], form: str) -> str:
    """Return a median with minimum and maximum."""
    if not values:
        return "-"
    return f"{form.format(statistics.median(values))} ({form.format(values[0])} to {form.format(values[-1])})"


def times(ratio: float | None) -> str:
    """Return a ratio."""
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def syncs_per_s(n: int = 50) -> float:
    """Return how often a line can be put on the disk proper: what no runner that syncs every event can exceed."""
    with tempfile.TemporaryFile(prefix="dhflow-sync-") as file:
        began = time.perf_counter()
        for _ in range(n):
            file.write(b"." * 200)
            file.flush()
            os.fsync(file.fileno())
        return n / (time.perf_counter() - began)


def as_json(figures: Figures) -> dict[str, Any]:
    """Return every round's figures."""
    return {
        "cases": [
            {"section": case.section, "title": case.title, "workers": case.workers, "rounds": found}
            for case, found in figures.found.items()
        ],
        "skipped": figures.skipped,
    }


def names(text: str) -> list[str]:
    """Return names that commas separate."""
    return [each for each in text.split(",") if each]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000, help="of the fast cases; slow ones run a part of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=names, default=list(ENVIRONMENTS), help="some of " + ", ".join(ENVIRONMENTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    chosen = parser.parse_args()
    figures = measure(chosen)
    print_table(figures)
    if chosen.json:
        chosen.json.write_text(json.dumps(as_json(figures), indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How good searches are: regret on problems whose best value is known, beside random search and beside peers.

    python tests/benchmarks/quality.py --quick                       four problems, few seeds, two minutes
    python tests/benchmarks/quality.py --searchers random,ambs --seeds 10 --jobs 2
    python tests/benchmarks/quality.py --searchers random,ambs,ambs:kappa=1 --group fresh --compare ambs:kappa=1,ambs
    python tests/benchmarks/quality.py --searchers random,ambs,peer:optuna_tpe,recorded:optuna_gp

A searcher is a name with options (``ambs:kappa=1:liar=mean``), a peer that runs in its own environment
(``peer:NAME``, or ``peers`` for all that are installed), or a peer's recorded run (``recorded:NAME``).
Every finished run is one line of the file ``--cache``, keyed by problem, searcher, setting, seed and version of
the code, and is not run again. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import peer_searcher
from problems import GROUPS, QUICK, BenchmarkProblem, make_problem, problem_makers, why_missing
from tables import shared_folder

import dhflow
from dhflow.comparison import parse_searcher
from dhflow.errors import DhflowError
from dhflow.searcher import Searcher, make_searcher
from dhflow.testing.simulated import run_simulated
from dhflow.trial import Suggestion, Trial

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "quality.jsonl"
SETTINGS = ((200, 1), (200, 8))
"""Trials, and simulated asynchronous workers; what holds after 100 trials is read from the same runs."""

BASE = "random"
RECORDED_MODES = {1: "seq", 8: "async8"}


@dataclass(frozen=True)
class Run:
    """One run to do: the key of its result.

    Parameters
    ----------
    problem, searcher : str
    trials, workers, seed : int
    fingerprint : str
        Of the problem.
    code : str
        Of what searched.
    """

    problem: str
    searcher: str
    trials: int
    workers: int
    seed: int
    fingerprint: str = ""
    code: str = ""


Key = tuple[Any, ...]
Record = dict[str, Any]


def key_of(run: Mapping[str, Any]) -> Key:
    """Return what identifies a run."""
    return tuple(run[each] for each in Run.__dataclass_fields__)


# One run ----------------------------------------------------------------------------------------------


class Metered(Searcher):
    """A searcher whose CPU time in ask and tell is counted.

    Parameters
    ----------
    inner : Searcher
        A peer counts its own.
    """

    name: ClassVar[str] = "metered"

    def __init__(self, inner: Searcher) -> None:
        super().__init__(inner.space, seed=inner.seed)
        self.inner = inner
        self._cpu_s = 0.0

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far."""
        return float(getattr(self.inner, "cpu_s", self._cpu_s))

    @property
    def n_asks(self) -> int:
        """The inner searcher's."""
        return self.inner.n_asks

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Suggestion]:
        """Ask the inner searcher."""
        began = time.process_time()
        suggestions = self.inner.ask(n, pending)
        self._cpu_s += time.process_time() - began
        return suggestions

    def tell(self, trials: Iterable[Trial]) -> None:
        """Tell the inner searcher."""
        began = time.process_time()
        self.inner.tell(trials)
        self._cpu_s += time.process_time() - began

    def _ask(self, n: int, pending: Sequence[Trial], rng: object) -> list[Suggestion]:
        raise NotImplementedError


def do_run(run: Run) -> Record:
    """Run one search; return its key with the regret after each improvement, and what it cost.

    ``steps`` has pairs of the number of finished trials and the regret of the incumbent from there on; with
    noise the incumbent is the trial that looked best, and its regret that of its true value, which may rise.
    """
    problem = make_problem(run.problem)
    seen: list[tuple[float, float]] = []
    rng = np.random.default_rng(np.random.SeedSequence([run.seed, 0x4E]))

    def objective(config: dict[str, Any]) -> float:
        true = problem.loss(config)
        observed = true + problem.noise * rng.standard_normal() if problem.noise else true
        seen.append((observed, true))
        return observed

    record: Record = asdict(run)
    began = time.perf_counter()
    try:
        searcher = Metered(_make(run, problem))
        run_simulated(searcher, objective, n_trials=run.trials, n_workers=run.workers, seed=run.seed)
        record["cpu_s"] = round(searcher.cpu_s, 4)
    except DhflowError as error:
        record["error"] = str(error)
    return {**record, "steps": steps_of(problem, seen), "n": len(seen), "wall_s": round(time.perf_counter() - began, 2)}


def _make(run: Run, problem: BenchmarkProblem) -> Searcher:
    kind, _, name = run.searcher.partition(":")
    if kind == "peer":
        return peer_searcher.PeerSearcher(
            problem.space, peer=name, n_trials=run.trials, n_workers=run.workers, seed=run.seed
        )
    chosen = parse_searcher(run.searcher)
    return make_searcher(chosen.name, problem.space, seed=run.seed, **chosen.options)


def steps_of(problem: BenchmarkProblem, seen: Sequence[tuple[float, float]]) -> list[tuple[int, float]]:
    """Return (trials finished, regret of the incumbent) at each change of the incumbent."""
    steps: list[tuple[int, float]] = []
    best = math.inf
    for number, (observed, true) in enumerate(seen, start=1):
        if observed < best:
            best = observed
            steps.append((number, float(f"{problem.regret(true):.6g}")))
    return steps


# What is to be run ------------------------------------------------------------------------------------


@functools.cache
def code_version() -> str:
    """Return a hash of all code that decides what a search does."""
    package = Path(dhflow.__file__).parent
    rooms = [package / each for each in ("searcher", "surrogate", "space")]
    files = [each for room in rooms for each in sorted(room.glob("*.py"))]
    files += [package / "trial.py", package / "testing" / "simulated.py"]
    text = b"".join(each.read_bytes() for each in files)
    return hashlib.sha256(text).hexdigest()[:12]


def planned(searchers: Sequence[str], problems: Sequence[str], args: argparse.Namespace) -> list[Run]:
    """Return every run that the options ask for, the seeds outermost: what is stopped early is still balanced."""
    runs = []
    for seed in range(max(args.seeds, args.base_seeds)):
        for problem in problems:
            for trials, workers in args.settings:
                for searcher in searchers:
                    kind, _, name = searcher.partition(":")
                    most, code = trials, args.code or code_version()
                    if kind == "recorded" or (seed >= args.seeds and searcher != BASE):
                        continue
                    if kind == "peer":
                        peer = peer_searcher.PEERS[name]
                        if seed >= max(1, round(peer.share * args.seeds)):
                            continue
                        most, code = min(trials, peer.max_trials), peer_searcher.version(name)
                    print_of = make_problem(problem).fingerprint()
                    runs.append(Run(problem, searcher, most, workers, seed, print_of, code))
    return runs


def recorded_runs(searchers: Sequence[str], problems: Sequence[str], seeds: int) -> Iterator[Record]:
    """Yield the peers' recorded runs as records of ours; they hold every fifth trial."""
    wanted = {each.partition(":")[2] for each in searchers if each.startswith("recorded:")}
    folder = shared_folder()
    if not wanted or folder is None:
        return
    for line in (folder / "peers" / "recorded" / "quality.jsonl").read_text().splitlines():
        found = json.loads(line)
        if (
            found["name"] not in wanted
            or found["problem"] not in problems
            or found["seed"] >= seeds
            or "traj" not in found
        ):
            continue
        numbers = [*range(1, found["budget"] + 1, 5), found["budget"]]
        exact = {number: found[f"r{number}"] for number in (50, 100, 200) if found.get(f"r{number}") is not None}
        steps = sorted({**dict(zip(numbers, found["traj"], strict=False)), **exact}.items())
        workers = next(each for each, mode in RECORDED_MODES.items() if mode == found["mode"])
        run = Run(found["problem"], f"recorded:{found['name']}", found["budget"], workers, found["seed"])
        cpu = {"cpu_s": found["cpu_s"]} if "cpu_s" in found else {}
        yield {**asdict(run), "steps": steps, "n": found["budget"], **cpu}


class Cache:
    """Finished runs in a file of JSON lines; a torn last line is left out.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[Key, Record] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
                self.records[key_of(record)] = record
            except (ValueError, KeyError):
                continue

    def add(self, record: Record) -> None:
        """Append one run."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.records[key_of(record)] = record


def execute(runs: Sequence[Run], cache: Cache, *, jobs: int, retry: bool = False) -> None:
    """Do the runs that the cache lacks, several at a time in processes of their own."""
    known = {key for key, record in cache.records.items() if not (retry and "error" in record)}
    missing = [each for each in runs if key_of(asdict(each)) not in known]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} of them in {cache.path}", file=sys.stderr)
    if not missing:
        return
    began = time.perf_counter()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(do_run, each) for each in missing]
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                record = future.result()
                cache.add(record)
                _say_progress(number, len(missing), time.perf_counter() - began, record)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _say_progress(number: int, total: int, elapsed_s: float, record: Record) -> None:
    if "error" in record:
        print(f"  {record['searcher']} on {record['problem']}: {record['error']}", file=sys.stderr)
    if number % 50 == 0 or number == total:
        print(f"  {number}/{total} runs, {elapsed_s:.0f} s", file=sys.stderr, flush=True)


# Command line -----------------------------------------------------------------------------------------


def _settings(text: str) -> tuple[tuple[int, int], ...]:
    """Return settings from ``200x1,100x8``: trials and workers."""
    found = []
    for each in text.split(","):
        trials, _, workers = each.partition("x")
        found.append((int(trials), int(workers or 1)))
    return tuple(found)


def chosen_problems(args: argparse.Namespace) -> list[str]:
    """Return the names of the problems that were asked for and can be made here; the others' reasons are printed."""
    groups = {name: group for name, (group, _) in problem_makers().items()}
    names = args.problems.split(",") if args.problems else [n for n, g in groups.items() if args.group in ("all", g)]
    if args.quick and not args.problems:
        names = list(QUICK)
    for name in names:
        if name not in groups:
            raise SystemExit(f"there is no problem {name!r}; there are: {', '.join(groups)}")
    missing = {name: why_missing(name) for name in names}
    for name, reason in missing.items():
        if reason:
            print(f"skipped {name}: {reason}", file=sys.stderr)
    return [name for name in names if not missing[name]]


def chosen_searchers(text: str) -> list[str]:
    """Return the searchers of ``--searchers``, random search among them; peers that are not installed are left out."""
    names = [BASE]
    for each in text.split(","):
        names += [f"peer:{name}" for name in peer_searcher.PEERS] if each == "peers" else [each]
    found = []
    for each in dict.fromkeys(names):
        kind, _, name = each.partition(":")
        reason = peer_searcher.why_not(name) if kind == "peer" else ""
        if reason:
            print(f"skipped {each}: {reason}", file=sys.stderr)
        else:
            found.append(_label(each))
    return found


def chosen_pair(text: str | None, searchers: Sequence[str]) -> tuple[str, str] | None:
    """Return the two searchers of ``--compare``, which must be among those that run."""
    if text is None:
        return None
    pair = tuple(map(_label, text.split(",")))
    if len(pair) != 2 or not set(pair) <= set(searchers):
        raise SystemExit(f"--compare {text}: name two of {', '.join(searchers)}")
    return pair


def _label(name: str) -> str:
    return name if name.startswith(("peer:", "recorded:")) else parse_searcher(name).label


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--searchers", default="random,ambs", help="with commas between; `peers` for all installed peers")
    made.add_argument("--group", default="chosen", choices=[*GROUPS, "all"])
    made.add_argument("--problems", help="only these, with commas between")
    made.add_argument("--settings", type=_settings, default=SETTINGS, help="TRIALSxWORKERS,…  [200x1,200x8]")
    made.add_argument("--at", type=lambda text: [int(each) for each in text.split(",")], default=[100, 200],
                      help="trials after which regret is reported  [100,200]")  # fmt: skip
    made.add_argument("--seeds", type=int, default=10)
    made.add_argument(
        "--base-seeds", type=int, default=30, help="seeds of random search, by which all else is divided  [30]"
    )
    made.add_argument("--jobs", type=int, default=1, help="runs at a time")
    made.add_argument("--cache", type=Path, default=CACHE, help="[build/quality.jsonl]")
    made.add_argument("--code", help="a name for this version of the code, in place of its hash")
    made.add_argument("--compare", help="two searchers, with a comma between: a paired bootstrap of their ratio")
    made.add_argument("--report", action="store_true", help="run nothing, report what there is")
    made.add_argument("--retry", action="store_true", help="run again what ended with an error")
    made.add_argument("--json", type=Path, help="write the report's figures there")
    made.add_argument("--quick", action="store_true", help="few problems, three seeds, 60 trials")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and report."""
    import quality_report

    args = parser().parse_args(arguments)
    if args.quick:
        args.seeds, args.settings, args.at = min(args.seeds, 3), ((60, 1), (60, 8)), [60]
        args.base_seeds = 10
    problems, searchers = chosen_problems(args), chosen_searchers(args.searchers)
    pair = chosen_pair(args.compare, searchers)
    runs, cache = planned(searchers, problems, args), Cache(args.cache)
    if not args.report:
        execute(runs, cache, jobs=args.jobs, retry=args.retry)
    keys = [key_of(asdict(each)) for each in runs]
    found = [cache.records[key] for key in keys if key in cache.records]
    found += list(recorded_runs(searchers, problems, args.seeds))
    figures = quality_report.report(found, searchers, at=args.at, pair=pair)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    # As by Ctrl-C: the processes that compute are ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()

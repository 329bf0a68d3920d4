"""The site globus, with the real SDK and real endpoints over a stand-in for the web service."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, load, search
from dhflow.errors import ExecutionError, HistoryError
from dhflow.remote import find_search, submit_search
from dhflow.trial import Trial, TrialStatus

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.long]

StartEndpoint = Callable[..., contextlib.AbstractContextManager[str]]
SPACE = SearchSpace({"x": Float(0.0, 1.0)})


def run(objective: Any, endpoint: str, n_trials: int, **options: Any) -> list[Trial]:
    result = search(
        objective,
        SPACE,
        site="globus",
        site_set={"endpoint": endpoint, **options.pop("site_set", {"cap": 8})},
        searcher="random",
        seed=1,
        max_trials=n_trials,
        wall_time_s=100.0,
        **options,
    )
    return list(result.trials)


def attempt_of(trial: Trial) -> tuple[TrialStatus, ...]:
    return tuple(each.status for each in trial.attempts)


def test_sixty_trials_through_faults(
    endpoint: str, tmp_path: Path, submissions: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    killed = tmp_path / "killed"
    before = submissions()

    def faulty(config: dict[str, float], trial: Any) -> Any:
        trial.report(1, loss=config["x"])
        (trial.dir / "checkpoint").write_text("kept while the trial runs")
        match trial.trial_id:
            case 5:
                raise ZeroDivisionError("on purpose")
            case 15:
                return {"objective": 1.0, "log": "x" * (11 << 20)}
            case 25 if not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case 35 if trial.attempt <= 2:
                os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.1)
        return {"objective": config["x"] ** 2, "directory": str(trial.dir)}

    trials = run(faulty, endpoint, 60, max_attempts=2, history=tmp_path / "h.h5")
    assert [each.trial_id for each in trials] == list(range(60))
    ended = Counter(each.status.value for each in trials)
    assert ended == {"completed": 57, "failed": 2, "lost": 1}

    raised, oversized, killed_once, killed_always = (trials[i] for i in (5, 15, 25, 35))
    assert raised.failure is not None
    assert (raised.failure.kind, raised.failure.message) == ("ZeroDivisionError", "on purpose")
    assert 'raise ZeroDivisionError("on purpose")' in raised.failure.traceback
    assert Path(__file__).name in raised.failure.location
    assert oversized.failure is not None
    assert "11.5 MB, most of it 'log'" in oversized.failure.message
    assert "return its path" in oversized.failure.message
    assert attempt_of(killed_once) == (TrialStatus.LOST, TrialStatus.COMPLETED)
    assert killed_always.failure is not None
    assert attempt_of(killed_always) == (TrialStatus.LOST, TrialStatus.LOST)
    assert "loss of worker" in killed_always.failure.message
    assert "serializ" not in killed_always.failure.message

    # Nothing was shared: a trial's files lay on the worker's side alone, its learning curve came home.
    assert not list((tmp_path / "h.h5.run").glob("trials/*"))
    assert not list((tmp_path / "h.h5.run").glob("objective/*"))
    assert not any(Path(str(each.metrics["directory"])).exists() for each in trials if "directory" in each.metrics)
    with_curves = search_measurements(tmp_path / "h.h5")
    assert with_curves >= 57
    assert submissions() - before <= 45
    assert "rate-limit delay" not in caplog.text


def search_measurements(history: Path) -> int:
    """Return how many trials have a learning curve in a history."""
    import h5py

    with h5py.File(history) as file:
        return len({int(each) for each in file["measurements"]["trial_id"]})


def test_an_objective_that_is_too_large_is_refused_before_anything_is_sent(
    endpoint: str, submissions: Callable[[], int]
) -> None:
    table, before = os.urandom(8_000_000), submissions()
    with pytest.raises(ExecutionError, match=r"captures 8 MB, most of it 'table'.*give its path instead"):
        run(lambda config: float(len(table)), endpoint, 4)
    assert submissions() == before


def test_sixty_trials_on_nodes_of_slurm(slurm: Path, queue_left: None, start_endpoint: StartEndpoint) -> None:
    del slurm, queue_left
    options = {"queue": "debug", "nodes_per_block": 2, "walltime": "00:05:00"}

    def where(config: dict[str, float], trial: Any) -> dict[str, Any]:
        if trial.trial_id == 5:
            raise ZeroDivisionError("on purpose")
        if trial.trial_id == 25 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return {"objective": config["x"], "node": os.environ["SLURMD_NODENAME"]}

    with start_endpoint(3, options, "SlurmProvider") as on_slurm:
        trials = run(where, on_slurm, 60, max_attempts=2)
    assert Counter(each.status.value for each in trials) == {"completed": 59, "failed": 1}
    assert attempt_of(trials[25]) == (TrialStatus.LOST, TrialStatus.COMPLETED)
    by_node = Counter(each.metrics["node"] for each in trials if each.status is TrialStatus.COMPLETED)
    assert set(by_node) == {"n1", "n2"}
    assert min(by_node.values()) >= 10


def test_an_endpoint_goes_offline_and_comes_back(
    start_endpoint: StartEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AfterTen:
        """An observer that waits for the tenth trial."""

        def __init__(self) -> None:
            self.n_ended, self.came = 0, threading.Event()

        def trial_ended(self, trial: Trial) -> None:
            self.n_ended += 1
            if self.n_ended == 10:
                self.came.set()

        def tick(self, driver: Any) -> None: ...

    monkeypatch.setattr("dhflow.flow.call.UNHEARD_S", 1.0)
    observer = AfterTen()
    with contextlib.ExitStack() as running:
        flaky = running.enter_context(start_endpoint(4))

        def outage() -> None:
            observer.came.wait(60)
            running.close()
            time.sleep(2)
            running.enter_context(start_endpoint(4))

        thread = threading.Thread(target=outage)
        thread.start()

        def quick(config: dict[str, float]) -> float:
            time.sleep(0.2)
            return config["x"]

        # What runs when it stops is forgotten by the endpoint: nobody but dhflow will say that it is lost.
        options: dict[str, Any] = {"timeout_s": 2.0, "max_attempts": 3}
        trials = run(quick, flaky, 60, history=tmp_path / "h.h5", observers=[observer], **options)
        thread.join()
    assert [each.trial_id for each in trials] == list(range(60))
    assert {each.status for each in trials} == {TrialStatus.COMPLETED}
    forgotten = [each for each in trials if len(each.attempts) > 1]
    assert len(forgotten) <= 2 * 2
    assert all("no word of it" in each.attempts[0].failure.message for each in forgotten if each.attempts[0].failure)


def test_one_search_across_two_endpoints(endpoint: str, second_endpoint: str) -> None:
    def where(config: dict[str, float]) -> dict[str, Any]:
        time.sleep(0.2)
        return {"objective": config["x"], "endpoint": os.environ["ENDPOINT_NUMBER"]}

    trials = run(where, f"{endpoint},{second_endpoint}", 60, site_set={"cap": "2,6"})
    assert {each.status for each in trials} == {TrialStatus.COMPLETED}
    by_endpoint = {name: [each for each in trials if each.metrics["endpoint"] == name] for name in ("1", "2")}
    assert most_at_once(by_endpoint["1"]) <= 2
    assert 2 < most_at_once(by_endpoint["2"]) <= 6
    assert min(len(each) for each in by_endpoint.values()) >= 5


@pytest.mark.parametrize("site", ["laptop", "inside_job"])
def test_a_whole_search_runs_on_the_endpoints_side(endpoint: str, tmp_path: Path, site: str) -> None:
    offset = 2.0

    def slow(config: dict[str, float]) -> float:
        time.sleep(0.1)
        return config["x"] + offset

    history = str(tmp_path / "there" / "h.h5")
    site_set = {"workers": 2} if site == "laptop" else {"trials_per_node": 2}
    options: dict[str, Any] = {"site": site, "site_set": site_set, "searcher": "random"}
    with submit_search(slow, SPACE, endpoint=endpoint, history=history, max_trials=10_000, **options) as run:
        until = time.monotonic() + 60
        while run.progress().n_completed < 10:
            assert time.monotonic() < until
        assert run.progress().is_running
        assert len(load(run.fetch_history(tmp_path / "copy.h5"))) >= 10
        with find_search(history, endpoint=endpoint) as found:
            found.stop()
        result = run.result(timeout_s=30)
    assert result.reason == "stopped from afar"
    assert result.best.values["objective"] >= offset


def test_what_a_search_raises_on_the_endpoints_side_is_raised_here(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "h.h5").touch()
    options: dict[str, Any] = {"site": "laptop", "max_trials": 1}
    with (
        submit_search(lambda config: 0.0, SPACE, endpoint=endpoint, history=str(tmp_path / "h.h5"), **options) as run,
        pytest.raises(HistoryError, match=r"there is a history already.*h\.h5"),
    ):
        run.result(timeout_s=90)  # on a busy machine an endpoint's first workers take long to start


def most_at_once(trials: list[Trial]) -> int:
    """Return how many of trials were in flight at a time."""
    moments: list[tuple[float, int]] = []
    for each in trials:
        last = each.attempts[-1]
        assert last.submitted_at is not None
        assert last.received_at is not None
        moments += [(last.submitted_at, 1), (last.received_at, -1)]
    now = most = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


OPTIONS = {
    "account": "physics",
    "queue": "debug",
    "nodes_per_block": 2,
    "walltime": "01:00:00",
    "max_blocks": 3,
    "max_workers_per_node": 4,
    "worker_init": 'module load "mine"\nsource env/bin/activate',
}


@pytest.mark.parametrize("provider", ["LocalProvider", "SlurmProvider", "PBSProProvider"])
@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["nothing", "everything"])
def test_the_shipped_template_makes_an_endpoint(
    endpoint_yaml: Callable[..., str], provider: str, options: dict[str, Any]
) -> None:
    from globus_compute_endpoint.endpoint.config.utils import load_config_yaml

    text = endpoint_yaml(options, provider)
    assert not [each for each in ("uv ", "curl", "pip ", "http") if each in text]
    engine = load_config_yaml(text).engine
    try:
        made = engine.executor.provider
        assert type(made).__name__ == provider
        assert (made.nodes_per_block, made.max_blocks) == ((2, 3) if options else (1, 1))
        assert engine.executor.max_workers_per_node == (4 if options else 1)
        if options:
            assert OPTIONS["worker_init"] in made.worker_init
        if options and provider != "LocalProvider":
            assert (made.account, made.walltime) == ("physics", "01:00:00")
            assert (made.partition if provider == "SlurmProvider" else made.queue) == "debug"
    finally:
        engine.shutdown()


def test_the_shipped_schema_refuses_what_the_template_does_not_know(endpoint_yaml: Callable[..., str]) -> None:
    for options in ({"acount": "physics"}, {"nodes_per_block": 0}, {"walltime": "one hour"}):
        with pytest.raises(Exception, match=next(iter(options)).split("_")[0] + "|minimum|match"):
            endpoint_yaml(options)

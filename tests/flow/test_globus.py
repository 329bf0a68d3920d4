"""What a search does differently on Globus Compute, without it: limits, errors that come as text, routing, pacing."""

from __future__ import annotations

import importlib.util
import queue
import threading
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace
from dhflow.errors import ExecutionError
from dhflow.flow.globus import (
    is_globus,
    refuse_fatal,
    release,
    sdk_executor,
    text_of,
    too_large,
    wait_until_sent,
)
from dhflow.flow.overtaken import Overtaken
from dhflow.flow.pool import plan_pool
from dhflow.flow.routing import Route, RoutingExecutor
from dhflow.flow.site import site_folder
from dhflow.objective import Objective
from dhflow.train import EvaluationSettings, Task, make_source
from dhflow.train.packed import evaluate_packed, pack_settings, pack_task, unpack_result
from dhflow.trial import TrialStatus

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
ENDPOINTS = ("9a947ba5-f537-4681-acf3-cc66485aadec", "fd8b54bb-9452-411d-8e3a-09408156a886")


class TaskExecutionFailed(Exception):
    def __init__(self, remote_data: str) -> None:
        self.remote_data = remote_data

    def __str__(self) -> str:
        return f"\n {self.remote_data}\n\nThis appears to be an error with serialization."


def test_a_lost_worker_is_told_in_one_line() -> None:
    text = "+++++\nTraceback (most recent call last):\nparsl.WorkerLost: loss of worker 1 on host n1\n-----\n"
    assert text_of(TaskExecutionFailed(text)) == "parsl.WorkerLost: loss of worker 1 on host n1"
    assert text_of(ValueError("as it is")) == "as it is"
    refuse_fatal(TaskExecutionFailed(text))


@pytest.mark.parametrize("missing", ["dhflow", "parsl", "cloudpickle"])
def test_workers_that_lack_a_package_end_the_search(missing: str) -> None:
    error = TaskExecutionFailed(f"ModuleNotFoundError: No module named '{missing}'")
    with pytest.raises(ExecutionError, match=rf"workers have no {missing}: install dhflow .* worker_init"):
        refuse_fatal(error)


def test_a_service_that_refuses_ends_the_search() -> None:
    class RefusedError(Exception):
        __module__ = "globus_sdk.exc"

    for error in (RefusedError("413"), RuntimeError("Executor<> is shutdown; no new functions may be executed")):
        with pytest.raises(ExecutionError, match="Globus Compute takes no more trials"):
            refuse_fatal(error)
    refuse_fatal(ValueError("of a trial"))


def test_a_result_that_the_endpoint_refused_is_that_trials_failure() -> None:
    failure = too_large(TaskExecutionFailed("MaxResultSizeExceeded(15581691, 10485760)"))
    assert failure is not None
    assert failure.kind == "ObjectiveError"
    assert "return its path" in failure.message
    assert too_large(TaskExecutionFailed("WorkerLost")) is None


def task(objective: Any, **settings: Any) -> bytes:
    evaluation = EvaluationSettings((Objective("objective", "minimize"),), make_source(objective), **settings)
    return pack_task(Task(3, 1, {"x": 0.5}, None, 7, None, None, None, evaluation), pack_settings(evaluation))


def test_a_result_over_the_limit_stays_on_the_worker() -> None:
    def large(config: dict) -> dict:
        return {"objective": config["x"], "log": "x" * 2_000_000}

    result = unpack_result(evaluate_packed(task(large, result_limit_bytes=1_000_000)))
    assert result.status is TrialStatus.FAILED
    assert result.failure is not None
    assert result.failure.message == (
        "the trial's result weighs 2.0 MB, most of it 'log', and at most 1 MB come home: "
        "write large things to a file where the trial runs, and return its path"
    )
    assert unpack_result(evaluate_packed(task(large))).status is TrialStatus.COMPLETED


def test_without_files_a_trial_has_a_directory_all_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    def uses_all(config: dict, trial: Any) -> float:
        print("a line")
        trial.report(1, loss=0.25)
        (trial.dir / "checkpoint").write_text("c")
        return float(trial.continues is None and not trial.should_stop())

    result = unpack_result(evaluate_packed(task(uses_all)))
    assert (result.values, [each.value for each in result.measurements]) == ({"objective": 1.0}, [0.25])
    assert "a line" in capfd.readouterr().out


def test_an_objective_that_is_too_large_names_what_it_captures() -> None:
    table = b"x" * 3_000_000

    def captures(config: dict) -> float:
        return float(len(table))

    with pytest.raises(ExecutionError, match=r"captures 3 MB, most of it 'table' \(3 MB\).*at most 2.0 MB.*its path"):
        make_source(captures, limit_bytes=2_000_000)
    with pytest.raises(ExecutionError, match=r"captures 3 MB, most of it 'data'"):
        make_source(lambda config, data: 0.0, arguments={"data": table}, limit_bytes=2_000_000)
    with pytest.raises(ExecutionError, match="per_worker captures 3 MB"):
        make_source(lambda config: 0.0, per_worker=lambda: table, limit_bytes=2_000_000)


class Recording:
    """Executors whose calls end when the test says so."""

    def __init__(self) -> None:
        self.open: list[Future[Any]] = []
        self.most = 0

    def submit(self, *_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.open.append(future)
        self.most = max(self.most, len(self.open))
        return future


def test_each_executor_gets_trials_up_to_its_cap() -> None:
    small, large = Recording(), Recording()
    router = RoutingExecutor([Route(small, 2), Route(large, 6)])  # type: ignore[arg-type]
    for _ in range(4):
        router.submit(print)
    assert (len(small.open), len(large.open)) == (1, 3)
    for _ in range(4):
        router.submit(print)
    assert (len(small.open), len(large.open)) == (2, 6)
    for _ in range(50):
        large.open.pop(0).set_result(None)
        router.submit(print)
    assert (small.most, large.most) == (2, 6)


def test_a_call_that_is_refused_leaves_its_place() -> None:
    class Refusing(Recording):
        def submit(self, *_: Any) -> Future[Any]:
            raise RuntimeError("no")

    route = Route(Refusing(), 1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no"):
        RoutingExecutor([route]).submit(print)
    assert route.n_in_flight == 0


@pytest.mark.parametrize(
    ("cap", "workers", "n_slots"),
    [(None, None, 0), (None, 5, 5), (3, None, 6), ("4,2", None, 6), ([4, 2], 100, 6), ("4,2", 3, 3)],
)
def test_the_caps_say_how_many_trials_run_at_once(tmp_path: Path, cap: Any, workers: int | None, n_slots: int) -> None:
    pytest.importorskip("globus_compute_sdk")
    site_set = {"endpoint": list(ENDPOINTS)} if cap is None else {"endpoint": ",".join(ENDPOINTS), "cap": cap}
    plan = plan_pool("globus", site_set=site_set, workers=workers, run_directory=tmp_path)
    assert not plan.shares_files
    pool = plan.start()
    try:
        assert pool.n_slots == n_slots
        assert isinstance(pool.executor, RoutingExecutor)
    finally:
        pool.close()


def test_globus_is_known_by_its_classes() -> None:
    sdk = pytest.importorskip("globus_compute_sdk")
    assert is_globus(sdk.Executor.__new__(sdk.Executor))
    assert not is_globus(Recording())


def paced() -> Any:
    pytest.importorskip("globus_compute_sdk")
    spec = importlib.util.spec_from_file_location("paced", site_folder() / "_paced.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_submissions_keep_to_what_the_service_takes() -> None:
    module, clock = paced(), Clock()
    tasks = module.PacedQueue(weigh=lambda _: 1, clock=clock, sleep=clock.sleep)
    sent = []
    for i in range(100):
        tasks.put(i)
        tasks.get()
        sent.append(clock.now)
    assert sent[3] < 0.2
    assert max(sum(t <= each < t + 10 for each in sent) for t in sent) <= 20
    clock.sleep(60)
    tasks.put("after a pause")
    tasks.get()
    assert clock.now - sent[-1] < 60.1


def test_a_submission_carries_all_that_is_there_and_fits() -> None:
    module, clock = paced(), Clock()
    tasks = module.PacedQueue(weigh=len, clock=clock, sleep=clock.sleep)
    for size in (3_000_000, 3_000_000, 3_000_000, 10):
        tasks.put(b"x" * size)
    assert len(tasks.get()) == len(tasks.get(block=False)) == 3_000_000
    with pytest.raises(queue.Empty):
        tasks.get(block=False)
    emptied: list[bytes] = []

    def empty() -> None:  # as a shutdown in another thread does
        while True:
            try:
                emptied.append(tasks.get(block=False))
            except queue.Empty:
                return

    other = threading.Thread(target=empty)
    other.start()
    other.join()
    assert [len(each) for each in emptied] == [3_000_000, 10]


def test_executors_of_one_process_share_no_task_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("globus_compute_sdk")
    from dhflow import load_site

    # As after a first submission: whoever closes a group's watcher would close it for all that are in the group.
    monkeypatch.setattr(sdk.Executor, "_default_task_group_id", uuid.uuid4())
    monkeypatch.setattr(sdk.Client, "__init__", lambda *_, **__: None)
    site = load_site("globus", endpoint=ENDPOINTS[0], cap=2, run_dir=str(tmp_path)).executors[0].executor
    own = sdk_executor(uuid.UUID(ENDPOINTS[0]))
    try:
        assert (site.task_group_id, own.task_group_id) == (None, None)
    finally:
        site.shutdown(wait=False)
        release(own)
    assert not own._task_submitter.is_alive()


def test_a_search_that_the_service_does_not_take_is_said() -> None:
    class Waiting:
        task_group_id = None
        _task_submitter = threading.Thread()
        is_shut = False

        def shutdown(self, **_: Any) -> None:
            self.is_shut = True

    unsent: Future[Any] = Future()
    unsent.task_id = None  # type: ignore[attr-defined]
    executor: Any = Waiting()
    executor._task_submitter.start()
    with pytest.raises(ExecutionError, match=r"has not taken the search within 0\.05 s"):
        wait_until_sent(executor, unsent, 0.05)
    assert executor.is_shut
    wait_until_sent(executor, Future(), 0.0)  # of another executor


def test_futures_of_parsl_are_not_asked_for_what_they_lack() -> None:
    class Lifting(Future):  # type: ignore[type-arg]
        def __getattr__(self, name: str) -> Any:  # as an AppFuture, which submits a task for it
            raise AssertionError(name)

    Overtaken().submitted(1, 1, Lifting())
    wait_until_sent(None, Lifting(), 0.0)  # type: ignore[arg-type]


def test_an_attempt_is_overtaken_by_what_was_submitted_after_it_to_the_same_executor() -> None:
    clock = Clock()
    overtaken = Overtaken(clock)
    router = RoutingExecutor([Route(Recording(), 1), Route(Recording(), 1)])  # type: ignore[arg-type]
    for trial_id in range(4):  # they go to the two executors in turn
        overtaken.submitted(trial_id, 1, router.submit(print))
    clock.sleep(1.0)
    overtaken.ended(3, 1)
    clock.sleep(5.0)
    assert [overtaken.overtaken_for_s(each) for each in range(4)] == [0.0, 5.0, 0.0, 0.0]
    overtaken.ended(2, 2)  # of another attempt: nothing
    assert overtaken.overtaken_for_s(0) == 0.0
    overtaken.ended(2, 1)
    overtaken.submitted(1, 2, router.submit(print))  # run again: at the end of the line
    clock.sleep(2.0)
    assert [overtaken.overtaken_for_s(each) for each in range(2)] == [2.0, 0.0]


def test_the_sdks_executor_takes_from_the_paced_queue(tmp_path: Path) -> None:
    pytest.importorskip("globus_compute_sdk")
    from dhflow import load_site

    config = load_site("globus", endpoint=ENDPOINTS[0], cap=2, run_dir=str(tmp_path))
    executor = config.executors[0].executor
    try:
        for _ in range(200):
            if type(executor._tasks_to_send).__name__ == "PacedQueue":
                break
            threading.Event().wait(0.01)
        assert type(executor._tasks_to_send).__name__ == "PacedQueue"
        assert (executor.api_burst_limit, executor.api_burst_window_s) == (8, 1)
    finally:
        executor.shutdown(wait=False)
    executor._task_submitter.join(5)
    assert not executor._task_submitter.is_alive()

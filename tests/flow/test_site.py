from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from parsl.executors import HighThroughputExecutor
from parsl.executors import ThreadPoolExecutor as ParslThreads

from dhflow import load_site
from dhflow.errors import SiteError
from dhflow.flow.pool import plan_pool
from dhflow.flow.site import site_arguments, site_names, site_summary


def test_the_laptop_site_is_plain_parsl() -> None:
    config = load_site("laptop", workers=3)
    (executor,) = config.executors
    assert isinstance(executor, HighThroughputExecutor)
    assert executor.max_workers_per_node == 3
    assert config.retries == 0


def test_threads_are_an_option() -> None:
    (executor,) = load_site("laptop", executor="threads", workers=5).executors
    assert isinstance(executor, ParslThreads)
    assert executor.max_threads == 5


def test_libraries_are_held_to_the_cores_of_their_worker() -> None:
    (executor,) = load_site("laptop", workers=2, cores_per_worker=7).executors
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        assert f"{name}:-7" in executor.provider.worker_init


def test_strings_become_what_the_site_says() -> None:
    (executor,) = load_site("laptop", workers="4", heartbeat_s="3").executors
    assert (executor.max_workers_per_node, executor.heartbeat_period) == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "argument", "match"),
    [
        ({"worker": 2}, "worker", "did you mean 'workers'"),
        ({"workers": "many"}, "workers", "must be int or None"),
        ({"workers": True}, "workers", "must be int or None"),
        ({"executor": "fibres"}, "executor", "'processes' or 'threads'"),
    ],
)
def test_wrong_arguments_say_which_and_what(arguments: dict, argument: str, match: str) -> None:
    with pytest.raises(SiteError, match=match) as caught:
        load_site("laptop", **arguments)
    assert caught.value.argument == argument


def test_unknown_sites_are_errors_with_a_hint() -> None:
    with pytest.raises(SiteError, match="did you mean 'laptop'"):
        load_site("labtop")
    with pytest.raises(SiteError, match=r"no site file nowhere\.py"):
        load_site("nowhere.py")


def test_a_site_file_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '"""My cluster."""\n'
        "from parsl import Config\n"
        "from parsl.executors import ThreadPoolExecutor\n"
        "def make_config(*, account: str, nodes: int = 1) -> Config:\n"
        "    return Config(executors=[ThreadPoolExecutor(label=account, max_threads=nodes)])\n"
    )
    with pytest.raises(SiteError, match="needs 'account'"):
        load_site(file)
    (executor,) = load_site(file, account="physics", nodes="8").executors
    assert (executor.label, executor.max_threads) == ("physics", 8)
    assert [each.name for each in site_arguments(file) if each.is_required] == ["account"]
    assert site_summary(file) == "My cluster."


def test_a_site_file_that_fails_says_where(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import a_package_that_is_not_there\n")
    with pytest.raises(SiteError, match=r"broken\.py fails.*a_package_that_is_not_there"):
        load_site(file)
    file.write_text("x = 1\n")
    with pytest.raises(SiteError, match="no function make_config"):
        load_site(file)


def test_every_shipped_site_has_a_summary_and_annotated_arguments() -> None:
    assert "laptop" in site_names()
    for name in site_names():
        assert len(site_summary(name)) > 10
        assert all(each.annotation != "any" for each in site_arguments(name))


def test_pools_are_checked_before_they_start(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="at least 1"):
        plan_pool("laptop", workers=0, run_directory=tmp_path)
    with pytest.raises(SiteError, match="no executor 'gpu'"):
        plan_pool("laptop", executors=["gpu"], run_directory=tmp_path)
    with pytest.raises(SiteError, match="site must be"):
        plan_pool(42, run_directory=tmp_path)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as executor, pytest.raises(SiteError, match="site_set goes with"):
        plan_pool(executor, site_set={"workers": 2}, run_directory=tmp_path)


def test_pools_know_their_slots_and_what_they_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as executor:
        pool = plan_pool(executor, run_directory=tmp_path).open()
        assert (pool.n_slots, pool.owns, pool.is_in_process) == (3, False, True)
        pool.close()
        assert executor.submit(lambda: 1).result() == 1
    plan = plan_pool("laptop", site_set={"executor": "threads", "workers": 2}, run_directory=tmp_path / "logs")
    assert plan.is_in_process
    pool = plan.open()
    assert (pool.n_slots, pool.owns) == (2, True)
    assert pool.executor.submit(lambda: 7).result() == 7
    pool.close()
    assert pool.kernel.cleanup_called


def test_a_used_config_is_refused_with_what_to_do(tmp_path: Path) -> None:
    config = load_site("laptop", workers=1, run_dir=str(tmp_path))
    plan_pool(config, run_directory=tmp_path).open().close()
    from dhflow.errors import ExecutionError

    with pytest.raises(ExecutionError, match="used before"):
        plan_pool(config, run_directory=tmp_path).open()

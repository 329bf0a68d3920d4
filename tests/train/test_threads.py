from __future__ import annotations

import os

import pytest

from dhflow.train.threads import CORES_VARIABLE, VARIABLES, limit_threads, limit_threads_of_worker, thread_environment


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, CORES_VARIABLE):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def test_every_library_has_its_variable() -> None:
    environment = thread_environment(3)
    assert set(environment.values()) == {"3"}
    assert {"OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} <= set(environment)
    with pytest.raises(ValueError, match="at least 1"):
        thread_environment(0)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    limit_threads(1)
    assert os.environ["OMP_NUM_THREADS"] == "8"
    assert os.environ["MKL_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("cores", "threads"), [("2", "2"), ("", None), ("many", None), ("0", None)])
def test_a_site_tells_its_workers(monkeypatch: pytest.MonkeyPatch, cores: str, threads: str | None) -> None:
    monkeypatch.setenv(CORES_VARIABLE, cores)
    limit_threads_of_worker()
    assert os.environ.get("OMP_NUM_THREADS") == threads

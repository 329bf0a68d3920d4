from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dhflow
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


SHARE = """
import os
from dhflow.train import limit_threads

def seconds():
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        found.append(int(fields[11]) + int(fields[12]))
    return sorted(found, reverse=True)

limit_threads(1)
import tensorflow as tf
matrix = tf.random.normal((1500, 1500))
before = sum(seconds())
while sum(seconds()) < before + 150:
    tf.linalg.matmul(matrix, matrix).numpy()
print(len(os.listdir("/proc/self/task")), seconds())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_tensorflow_computes_in_one_thread() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(dhflow.__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", SHARE], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    ticks = json.loads(done.stdout.partition(" ")[2])
    # The importing thread and at most one that computes; OMP_NUM_THREADS alone leaves one per core.
    assert sum(each > 15 for each in ticks) <= 2

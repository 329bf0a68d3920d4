"""The numbers by which a worker finds its accelerators."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, load_site, search
from dhflow.train.accelerators import VENDOR_VARIABLE, number_accelerators_of_worker

SEEN = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("vendor", "given", "seen"),
    [
        ("amd", ("5", "5", None), ("0", "5", None)),
        ("amd", ("4,5", "4,5", "0,1,2,3,4,5,6,7"), ("0,1", "4,5", "0,1")),
        ("amd", ("5", None, None), ("5", None, None)),
        ("", ("5", "5", "5"), ("5", "5", "5")),
    ],
)
def test_hip_counts_among_what_rocm_leaves(
    monkeypatch: pytest.MonkeyPatch,
    vendor: str,
    given: tuple[str | None, ...],
    seen: tuple[str | None, ...],
) -> None:
    for name, value in zip((*SEEN, VENDOR_VARIABLE), (*given, vendor), strict=True):
        monkeypatch.setenv(name, value or "")  # so that it is put back
        if value is None:
            monkeypatch.delenv(name)
    number_accelerators_of_worker()
    assert tuple(map(os.environ.get, SEEN)) == seen
    number_accelerators_of_worker()
    assert tuple(map(os.environ.get, SEEN)) == seen


@pytest.mark.parametrize(
    ("site", "arguments"),
    [
        ("frontier", {"account": "physics"}),
        ("slurm", {"gpus_per_node": 4, "gpu_vendor": "amd"}),
        ("pbs", {"gpus_per_node": 4, "gpu_vendor": "amd"}),
        ("inside_job", {"gpus_per_node": 4, "gpu_vendor": "amd"}),
    ],
)
def test_sites_with_amds_accelerators_say_so_to_their_workers(site: str, arguments: dict[str, Any]) -> None:
    line = f"export {VENDOR_VARIABLE}=amd"
    assert line in load_site(site, **arguments).executors[0].provider.worker_init
    assert line not in load_site("polaris", account="physics").executors[0].provider.worker_init


@pytest.mark.integration
@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_each_worker_has_one_accelerator_of_amd_and_it_is_its_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 1\n")  # Parsl asks it where there is one
    (tmp_path / "nvidia-smi").chmod(0o755)

    def look(config: dict[str, Any]) -> dict[str, Any]:
        import os
        import time

        time.sleep(0.3)
        return {"objective": config["x"], **{name: os.environ[name] for name in SEEN[:2]}}

    result = search(
        look,
        SearchSpace({"x": Float(0.0, 1.0)}),
        site="inside_job",
        site_set={"gpus_per_node": 2, "gpu_vendor": vendor, "launcher": "none", "heartbeat_s": 2},
        searcher="random",
        max_trials=8,
        wall_time_s=60.0,
    )
    pairs = {(each.metrics["ROCR_VISIBLE_DEVICES"], each.metrics["CUDA_VISIBLE_DEVICES"]) for each in result.trials}
    assert pairs == ({("0", "0"), ("1", "0")} if vendor == "amd" else {("0", "0"), ("1", "1")})

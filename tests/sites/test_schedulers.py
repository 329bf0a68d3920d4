"""Sites with a scheduler, run for real on a private Slurm, and over PBS commands in front of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, load, search
from dhflow.cli.check_site import check_site

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.usefixtures("queue_left")]

QUICK = {"walltime": "00:05:00", "poll_s": 2, "heartbeat_s": 2}
SEEN = ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the launcher leaves the list of a job's nodes here


def run(site: str, n_trials: int, trial_s: float, **arguments: Any) -> list[dict[str, str]]:
    """Run a search; return what each trial saw of its place."""

    def look(config: dict[str, Any]) -> dict[str, Any]:
        time.sleep(trial_s)
        return {"objective": config["x"], **{name: os.environ.get(name, "") for name in SEEN}}

    result = search(
        look,
        SearchSpace({"x": Float(0.0, 1.0)}),
        site=site,
        site_set={**QUICK, **arguments},
        searcher="random",
        max_trials=n_trials,
        history="h.h5",
        wall_time_s=50.0,
    )
    assert [each.status.value for each in result.trials] == ["completed"] * n_trials
    return [{name: str(each.metrics[name]) for name in SEEN} for each in result.trials]


def places(seen: list[dict[str, str]], variable: str) -> Counter[tuple[str, str]]:
    return Counter((each["SLURMD_NODENAME"], each[variable]) for each in seen)


def test_a_search_fills_two_nodes_of_slurm() -> None:
    seen = run("slurm", 24, 0.3, queue="debug", nodes=2, trials_per_node=2)
    by_node = Counter(each["SLURMD_NODENAME"] for each in seen)
    assert set(by_node) == {"n1", "n2"}
    assert min(by_node.values()) >= 6


@pytest.mark.usefixtures("pbs")
def test_trials_are_spread_evenly_over_the_accelerators_of_polaris() -> None:
    found = places(run("polaris", 80, 0.3, account="A", nodes=2, cpu_affinity="none"), "CUDA_VISIBLE_DEVICES")
    assert set(found) == {(node, str(i)) for node in ("n1", "n2") for i in range(4)}
    assert min(found.values()) >= 6
    assert max(found.values()) <= 14


@pytest.mark.usefixtures("pbs")
def test_trials_are_spread_evenly_over_the_tiles_of_aurora() -> None:
    arguments = {"account": "A", "nodes": 2, "cpu_affinity": "none", "accelerators_per_trial": 3}
    found = places(run("aurora", 80, 0.3, **arguments), "ZE_AFFINITY_MASK")
    slots = ("0,1,2", "3,4,5", "6,7,8", "9,10,11")
    assert set(found) == {(node, each) for node in ("n1", "n2") for each in slots}
    assert min(found.values()) >= 6
    assert max(found.values()) <= 14


@pytest.mark.usefixtures("pbs")
def test_two_trials_share_an_accelerator_where_parsl_finds_nvidia_smi(tmp_path: Path) -> None:
    smi = tmp_path / "shims" / "nvidia-smi"
    smi.write_text("#!/bin/sh\nfor i in 0 1 2 3; do echo GPU $i; done\n")
    smi.chmod(0o755)
    arguments = {"account": "A", "cpu_affinity": "none", "trials_per_accelerator": 2}
    found = places(run("polaris", 64, 0.5, **arguments), "CUDA_VISIBLE_DEVICES")
    assert {each for _, each in found} == {"0", "1", "2", "3"}
    assert min(found.values()) >= 8


def test_the_preflight_runs_on_slurm(tmp_path: Path) -> None:
    found = {each.name: each for each in check_site("slurm", {**QUICK, "queue": "debug"}, tmp_path, 50.0)}
    assert {each.level for each in found.values()} == {"ok"}
    assert set(found) == {"reachable", "worker", "locks there", "versions there"}
    assert not list(tmp_path.glob(".dhflow*"))


def test_the_preflight_says_where_the_output_of_a_failing_block_lies(tmp_path: Path) -> None:
    arguments = {**QUICK, "queue": "debug", "worker_init": "export PATH=/usr/bin:/bin"}
    found = {each.name: each for each in check_site("slurm", arguments, tmp_path, 50.0)}
    assert found["reachable"].level == "fail"
    assert Path(found["block's stderr"].text).is_file()
    assert "submit_scripts" in found["block's stderr"].text


def test_a_queue_that_does_not_exist_is_said(tmp_path: Path) -> None:
    found = {each.name: each for each in check_site("slurm", {**QUICK, "queue": "nowhere"}, tmp_path, 50.0)}
    assert found["reachable"].level == "fail"
    assert "invalid partition" in found["reachable"].text


def test_a_search_runs_inside_a_job(tmp_path: Path) -> None:
    (tmp_path / "inside.py").write_text(
        textwrap.dedent(
            """
            import os, time
            from dhflow import Float, SearchSpace, search

            def look(config):
                time.sleep(0.3)
                return {"objective": config["x"], "node": os.environ["SLURMD_NODENAME"]}

            if __name__ == "__main__":
                result = search(look, SearchSpace({"x": Float(0, 1)}), site="inside_job", searcher="random",
                                site_set={"trials_per_node": 2, "heartbeat_s": 2}, max_trials=16, wall_time_s=40.0)
                print(len(result), sorted({each.metrics["node"] for each in result.trials}))
            """
        )
    )
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n{sys.executable} inside.py\n")
    options = "--wait --partition=debug --nodes=2 --ntasks-per-node=1 --exclusive --time=5 --output=out --error=err"
    done = subprocess.run(["sbatch", *options.split(), str(script)], check=False, timeout=60, capture_output=True)
    assert (tmp_path / "out").read_text().strip() == "16 ['n1', 'n2']", (tmp_path / "err").read_text()
    assert done.returncode == 0


def test_chained_jobs_take_a_search_up_where_the_one_before_has_left_it(tmp_path: Path) -> None:
    (tmp_path / "problem.py").write_text(
        textwrap.dedent(
            """
            import time
            from dhflow import Float, Problem, SearchSpace

            def objective(config):
                time.sleep(0.5)
                return config["x"]

            problem = Problem(SearchSpace({"x": Float(0, 1)}), objective)
            """
        )
    )
    # Each job has time for some of the trials; how many, the machine says.
    search_line = (
        "-m dhflow search problem.py --history h.h5 --resume --searcher random --max-trials 30 --wall-time 12s"
    )
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH --partition=debug --nodes=1 --exclusive --time=2 --output=%j.out\n"
        f"{sys.executable} {search_line} --site inside_job --site-set heartbeat_s=2 --no-progress\n"
    )
    chain = Path(__file__).parents[2] / "site_configs" / "chain.sh"
    done = subprocess.run([chain, "3", script], check=True, timeout=30, capture_output=True, text=True)
    jobs = done.stdout.split()
    assert len(jobs) == 3
    until = time.monotonic() + 100
    asked = ["squeue", "--noheader", f"--jobs={','.join(jobs)}"]
    while time.monotonic() < until and subprocess.run(asked, capture_output=True, check=False).stdout.strip():
        time.sleep(0.5)
    said = [(tmp_path / f"{each}.out").read_text() for each in jobs]
    result = load(tmp_path / "h.h5")
    assert [each.trial_id for each in result] == list(range(len(result))), said
    sessions = [(begin.at, end.at) for begin, end in result.record.sessions if end is not None]
    assert len(sessions) >= 2, said
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(sessions))
    ended = [each.attempts[-1].ended_at for each in result if each.status.value == "completed"]
    assert sum(any(begin <= each <= end for each in ended) for begin, end in sessions) >= 2, said


@pytest.mark.usefixtures("pbs")
def test_a_search_inside_a_job_of_pbs_knows_its_end(tmp_path: Path) -> None:
    # The shim's qstat says nothing of walltimes: this one adds what PBS Pro says of the same job.
    shim = tmp_path / "shims" / "qstat"
    (tmp_path / "bare").mkdir()
    bare = shim.rename(tmp_path / "bare" / "qstat")
    shim.write_text(
        textwrap.dedent(
            f"""\
            #!{sys.executable}
            import json, os, re, subprocess, sys, time
            said = json.loads(subprocess.check_output([{str(bare)!r}, *sys.argv[1:]]))
            for name, job in said["Jobs"].items():
                shown = subprocess.check_output(["scontrol", "show", "job", name.split(".")[0]], text=True)
                began = re.search(r"StartTime=(\\S+)", shown)[1]
                job["stime"] = time.strftime("%a %b %d %H:%M:%S %Y", time.strptime(began, "%Y-%m-%dT%H:%M:%S"))
                job["Resource_List"] = {{"walltime": re.search(r"TimeLimit=(\\S+)", shown)[1]}}
            print(json.dumps(said))
            """
        )
    )
    shim.chmod(0o755)
    (tmp_path / "inside.py").write_text(
        textwrap.dedent(
            """
            from dhflow import Float, SearchSpace, search

            def left(config, trial):
                return {"objective": config["x"], "left_s": trial.time_left_s}

            if __name__ == "__main__":
                result = search(left, SearchSpace({"x": Float(0, 1)}), site="inside_job", searcher="random",
                                site_set={"heartbeat_s": 2, "longest_trial_s": 10}, max_trials=4)
                print(min(each.metrics["left_s"] for each in result.trials),
                      max(each.metrics["left_s"] for each in result.trials))
            """
        )
    )
    script = tmp_path / "job.sh"
    lines = ["-l select=2", "-l walltime=00:05:00", f"-o {tmp_path}/out", f"-e {tmp_path}/err", "-N inside"]
    text = "\n".join(f"#PBS {each}" for each in lines)
    script.write_text(f"#!/bin/bash\n{text}\n{sys.executable} inside.py\n")
    subprocess.run(["qsub", str(script)], check=True, timeout=30, capture_output=True)
    until = time.monotonic() + 50
    while time.monotonic() < until and not ((tmp_path / "out").exists() and (tmp_path / "out").read_text().strip()):
        time.sleep(0.5)
    least, most = map(float, (tmp_path / "out").read_text().split())
    assert 200 < least <= most <= 300, (tmp_path / "err").read_text()


def test_a_site_file_serves_a_script_without_dhflow_on_slurm(tmp_path: Path) -> None:
    site = Path(__file__).parents[2] / "site_configs" / "slurm.py"
    script = tmp_path / "plain.py"
    script.write_text(
        "import runpy, sys, parsl\n"
        f"fresh_config = runpy.run_path({str(site)!r})['fresh_config']\n"
        "with parsl.load(fresh_config()):\n"
        "    print(parsl.python_app(abs)(-7).result(), 'dhflow' in sys.modules)\n"
    )
    asked = {"DHFLOW_SITE_QUEUE": "debug", "DHFLOW_SITE_POLL_S": "2", "DHFLOW_SITE_HEARTBEAT_S": "2"}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **asked},
    )
    assert done.stdout.split() == ["7", "False"], done.stderr

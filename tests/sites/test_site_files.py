"""Every site file builds a configuration off its machine, and refuses what its machine would refuse."""

from __future__ import annotations

import json
import logging
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parsl.executors import HighThroughputExecutor

from dhflow import load_site
from dhflow.errors import SiteError
from dhflow.flow.channel_server import PORTS
from dhflow.flow.pool import plan_pool, size_of
from dhflow.flow.site import site_arguments, site_folder, site_names

ENDPOINT = "9a947ba5-f537-4681-acf3-cc66485aadec"
LEADERSHIP = ("polaris", "aurora", "perlmutter", "frontier")
RETIRED = ("theta", "cooley")
REQUIRED: dict[str, dict[str, Any]] = {
    **{each: {"account": "physics"} for each in LEADERSHIP},
    "globus": {"endpoint": ENDPOINT},
}
block = SimpleNamespace(**runpy.run_path(str(site_folder() / "_block.py")))


def executor_of(site: str, **arguments: Any) -> HighThroughputExecutor:
    (executor,) = load_site(site, **{**REQUIRED.get(site, {}), **arguments}).executors
    return executor


def test_all_sites_are_there() -> None:
    wanted = {"laptop", "slurm", "pbs", "inside_job", "globus", *LEADERSHIP, *RETIRED}
    assert set(site_names()) == wanted


@pytest.mark.parametrize("site", sorted(set(site_names()) - {"globus", *RETIRED}))
def test_what_all_configurations_have_in_common(site: str, tmp_path: Path) -> None:
    config = load_site(site, **REQUIRED.get(site, {}), run_dir=str(tmp_path))
    (executor,) = config.executors
    assert (config.retries, config.usage_tracking, config.run_dir) == (0, 0, str(tmp_path))
    assert (executor.label, executor.prefetch_capacity) == (site, 0)
    assert "setsid" in executor.interchange_launch_cmd
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("site", site_names())
def test_each_file_says_for_which_machine_what_must_be_set_and_how_it_was_verified(site: str) -> None:
    module = runpy.run_path(str(site_folder() / f"{site}.py"))
    for heading in ("\nFor:", "\nSet:", "\nVerified:"):
        assert heading in module["__doc__"]
    for each in site_arguments(site):
        assert each.name in module["make_config"].__doc__


@pytest.mark.parametrize(
    ("site", "n_slots"), [("polaris", 4), ("aurora", 12), ("perlmutter", 4), ("frontier", 8), ("slurm", 1), ("pbs", 1)]
)
def test_one_trial_for_each_accelerator_by_default(site: str, n_slots: int) -> None:
    executor = executor_of(site, nodes="2", max_blocks="3", min_blocks="1")
    provider = executor.provider
    assert size_of(executor) == (n_slots * 6, 6)
    assert (provider.nodes_per_block, provider.init_blocks, provider.min_blocks, provider.max_blocks) == (2, 1, 1, 3)
    if n_slots > 1:
        assert executor.available_accelerators == [str(i) for i in range(n_slots)]
        assert len(executor.cpu_affinity.split(":")) == 1 + n_slots


@pytest.mark.parametrize("site", LEADERSHIP)
def test_no_core_serves_two_trials(site: str) -> None:
    for sharing in ({}, {"trials_per_accelerator": 2}, {"accelerators_per_trial": 2}):
        _, *shares = executor_of(site, **sharing).cpu_affinity.split(":")
        threads: list[int] = []
        for each in ",".join(shares).split(","):
            low, _, high = each.partition("-")
            threads += range(int(low), int(high) + 1)
        assert len(set(threads)) == len(threads)


def test_several_trials_share_an_accelerator() -> None:
    # Parsl divides these numbers where it finds nvidia-smi, and nowhere else.
    polaris = executor_of("polaris", trials_per_accelerator=2)
    assert polaris.available_accelerators == [str(i) for i in range(8)]
    assert polaris.cpu_affinity.startswith("list:24-27,56-59:28-31,60-63:16-19,48-51:")
    frontier = executor_of("frontier", trials_per_accelerator=2)
    assert frontier.available_accelerators == [str(i // 2) for i in range(16)]
    assert size_of(frontier) == (16, 1)


def test_a_trial_gets_several_accelerators() -> None:
    aurora = executor_of("aurora", accelerators_per_trial=3)
    assert aurora.available_accelerators == ["0,1,2", "3,4,5", "6,7,8", "9,10,11"]
    assert aurora.cpu_affinity.startswith("list:1-8,105-112,9-16,113-120,17-24,121-128:25-32")
    assert executor_of("slurm", gpus_per_node=4, accelerators_per_trial=2).available_accelerators == ["0,1", "2,3"]
    assert load_site("slurm", gpus_per_node=4, accelerators_per_trial=2).notes == []


def test_accelerators_that_no_trial_gets_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_site("aurora", account="physics", accelerators_per_trial=5)
    assert config.notes == [
        "2 of the 12 accelerators of a node are left idle: accelerators_per_trial=5 does not divide them"
    ]
    plan_pool("slurm", site_set={"gpus_per_node": 4, "accelerators_per_trial": 3}, run_directory=tmp_path)
    assert "site 'slurm': 1 of the 4 accelerators of a node is left idle: accelerators_per_trial=3" in caplog.text


def test_affinity_can_be_switched_off() -> None:
    assert executor_of("polaris", cpu_affinity="none").cpu_affinity == "none"


@pytest.mark.parametrize(
    ("arguments", "argument", "match"),
    [
        ({}, "account", "needs 'account'"),
        ({"account": "x", "walltime": "90"}, "walltime", "must be HH:MM:SS"),
        ({"account": "x", "walltime": "00:75:00"}, "walltime", "must be HH:MM:SS"),
        ({"account": "x", "walltime": "00:00:30"}, "walltime", "at least 00:01:00"),
        ({"account": "x", "walltime": "02:00:00"}, "walltime", "at most 01:00:00 in the queue 'debug'"),
        ({"account": "x", "nodes": "3"}, "nodes", "1 to 2 in the queue 'debug'"),
        ({"account": "x", "nodes": "2", "queue": "prod"}, "nodes", "10 to 496"),
        (
            {"account": "x", "nodes": "24", "queue": "prod", "walltime": "03:01:00"},
            "walltime",
            "at most 03:00:00 for 10 to 24 nodes",
        ),
        ({"account": "x", "walltime": "00:04:00"}, "walltime", "at least 00:05:00 in the queue 'debug'"),
        ({"account": "x", "nodes": "0", "queue": "mine"}, "nodes", "at least 1"),
        ({"account": "x", "min_blocks": 2}, "min_blocks", r"0 to max_blocks \(1\)"),
        ({"account": "x", "accelerators_per_trial": 5}, "accelerators_per_trial", "a node has 4"),
        ({"account": "x", "accelerators_per_trial": 2, "trials_per_accelerator": 2}, None, "cannot both"),
        ({"account": "x", "trials_per_accelerator": 9}, None, "cannot be shared out to 9 trials"),
        ({"account": "x", "longest_trial_s": 3590}, None, "do not fit into a walltime of 01:00:00"),
        ({"account": "x", "queu": "debug"}, "queu", "did you mean 'queue'"),
        ({"account": "x", "poll_s": 0}, "poll_s", "at least 1"),
    ],
)
def test_what_the_machine_would_refuse_is_refused_here(arguments: dict, argument: str | None, match: str) -> None:
    with pytest.raises(SiteError, match=match) as caught:
        load_site("polaris", **arguments)
    if argument is not None:
        assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("site", "arguments", "match"),
    [
        ("perlmutter", {"walltime": "00:45:00"}, "at most 00:30:00 in the queue 'debug'"),
        ("perlmutter", {"nodes": 9}, "1 to 8 in the queue 'debug'"),
        ("perlmutter", {"queue": "regular", "nodes": 200, "walltime": "48:01:00"}, "at most 48:00:00"),
        ("frontier", {"walltime": "02:01:00"}, "at most 02:00:00 for 1 to 91 nodes in the queue 'batch'"),
        ("frontier", {"walltime": "06:01:00", "nodes": 92}, "at most 06:00:00 for 92 to 183 nodes"),
        ("frontier", {"qos": "debug", "nodes": 200, "walltime": "03:00:00"}, "at most 02:00:00 in the queue 'debug'"),
        ("frontier", {"queue": "extended", "nodes": 65}, "1 to 64 in the queue 'extended'"),
        ("aurora", {"nodes": 3}, "1 to 2 in the queue 'debug'"),
        ("aurora", {"queue": "prod", "nodes": 16}, "256 to 10624 in the queue 'prod'"),
        ("aurora", {"queue": "prod", "nodes": 1024, "walltime": "12:01:00"}, "at most 12:00:00 for 256 to 1024 nodes"),
        ("aurora", {"walltime": "00:04:00"}, "at least 00:05:00"),
    ],
)
def test_each_machines_documented_limits_hold(site: str, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(SiteError, match=match) as caught:
        load_site(site, account="x", **arguments)
    assert caught.value.argument in ("nodes", "walltime")
    assert "check_limits=false lifts this check" in str(caught.value)
    lifted = load_site(site, account="x", check_limits=False, **arguments)
    assert lifted.queue_limits == ""


@pytest.mark.parametrize(
    ("site", "arguments", "said"),
    [
        ("polaris", {"queue": "prod", "nodes": 100, "walltime": "24:00:00"}, "100 nodes for 24:00:00 are within"),
        ("perlmutter", {"queue": "regular", "nodes": 1000, "walltime": "48:00:00"}, "of the queue 'regular' (NERSC"),
        ("frontier", {"nodes": 184, "walltime": "12:00:00", "qos": "normal"}, "of the queue 'batch' (Frontier"),
        ("frontier", {"qos": "mine", "walltime": "100:00:00"}, ""),
        ("aurora", {"queue": "R123", "walltime": "100:00:00"}, ""),
        ("slurm", {"queue": "debug"}, ""),
    ],
)
def test_what_was_compared_with_which_limits_is_said(site: str, arguments: dict[str, Any], said: str) -> None:
    limits = load_site(site, **({} if site == "slurm" else {"account": "x"}), **arguments).queue_limits
    assert said in limits
    assert bool(said) == bool(limits)


def test_documented_limits_of_a_queue_can_be_lifted() -> None:
    executor = executor_of("polaris", walltime="05:00:00", nodes=40, check_limits="false")
    assert executor.provider.walltime == "05:00:00"


def test_blocks_take_no_trial_that_their_end_would_cut_off() -> None:
    assert executor_of("slurm", walltime="01:00:00", longest_trial_s=600).drain_period == 3600 - 600 - 60
    assert executor_of("slurm").drain_period is None


@pytest.mark.parametrize("site", ["slurm", "pbs", "polaris", "aurora", "perlmutter", "frontier"])
def test_the_workers_of_a_block_know_its_end(site: str) -> None:
    needed = {} if site in ("slurm", "pbs") else {"account": "physics"}
    init = executor_of(site, walltime="00:10:30", **needed).provider.worker_init
    line = next(each for each in init.splitlines() if "DHFLOW_BLOCK_ENDS" in each)
    shown = subprocess.run(
        ["bash", "-c", f"{line}; echo $DHFLOW_BLOCK_ENDS"], capture_output=True, text=True, check=True, timeout=10
    )
    assert 595 < int(shown.stdout) - time.time() <= 601


def test_inside_a_job_its_end_is_known() -> None:
    provider = executor_of("inside_job", time_left_s=600).provider
    assert 595 < provider.ends_at - time.time() <= 600
    assert f"export DHFLOW_BLOCK_ENDS={provider.ends_at}" in provider.worker_init
    assert executor_of("inside_job").provider.ends_at is None


BEGAN = "ten minutes ago"  # put in when the test runs: that may be long after this file is read
AS_JSON = {"Jobs": {"7.pbs": {"stime": BEGAN, "Resource_List": {"nodect": 2, "walltime": "01:00:00"}}}}
AS_TEXT = f"Job Id: 7.pbs\n    Resource_List.nodect = 2\n    Resource_List.walltime = 01:00:00\n    stime = {BEGAN}\n"
USED = {"resources_used": {"walltime": "00:10:00"}, "Resource_List": {"walltime": "01:00:00"}}


@pytest.mark.parametrize(
    ("answer", "left_s"),
    [
        (f"cat <<'END'\n{json.dumps(AS_JSON)}\nEND", 3000),
        (f"[ $2 = -F ] && echo '{{\"broken' || cat <<'END'\n{AS_TEXT}END", 3000),
        (f"cat <<'END'\n{json.dumps({'Jobs': {'7.pbs': USED}})}\nEND", 3000),
        ("echo '{\"Jobs\": {}}'", None),
        ('echo \'{"Jobs": {"7.pbs": {"stime": "soon", "Resource_List": {"walltime": "1:00:00"}}}}\'', None),
        ('echo \'{"Jobs": {"7.pbs": "gone"}}\'', None),
        ("echo 'qstat: Unknown Job Id' >&2; exit 153", None),
        (None, None),
    ],
)
def test_inside_a_job_of_pbs_qstat_is_asked_for_its_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: str | None,
    left_s: float | None,
) -> None:
    if answer is not None:
        began = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(time.time() - 600))
        (tmp_path / "qstat").write_text(f"#!/bin/sh\n{answer.replace(BEGAN, began)}\n")
        (tmp_path / "qstat").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PBS_JOBID", "7.pbs")
    executor = executor_of("inside_job", longest_trial_s=60)
    if left_s is None:
        assert (executor.provider.ends_at, executor.drain_period) == (None, None)
        assert "the end of this job is not known" in caplog.text
    else:
        assert left_s - 20 < executor.provider.ends_at - time.time() <= left_s + 1
        assert left_s - 150 < executor.drain_period <= left_s - 120


def test_the_environment_that_submits_is_used_unless_another_is_named() -> None:
    own = f'export PATH="{Path(sys.executable).parent}:$PATH"'
    assert own in executor_of("slurm").provider.worker_init
    named = executor_of("slurm", worker_init="module load mine").provider.worker_init
    assert "module load mine" in named
    assert own not in named


@pytest.mark.parametrize(
    ("address", "found"), [("", None), ("10.1.2.3", "10.1.2.3"), ("no_such_if0", None), ("lo", "127.0.0.1")]
)
def test_an_address_is_an_interface_or_an_ip_address(address: str, found: str | None) -> None:
    assert block.reachable_address(address) == found


@pytest.mark.parametrize("site", RETIRED)
def test_retired_machines_say_where_to_go(site: str) -> None:
    with pytest.raises(SiteError, match=r"retired.*--site polaris --site-set account=physics --site-set nodes=3"):
        load_site(site, account="physics", nodes=3)
    module = runpy.run_path(str(site_folder() / f"{site}.py"))
    assert "CobaltProvider" in module["IDIOM"]
    (executor,) = module["pbs_equivalent"](account="physics", nodes=2).executors
    assert (executor.label, executor.provider.account) == ("polaris", "physics")


def test_globus_is_built_without_a_login() -> None:
    pytest.importorskip("globus_compute_sdk")
    second = "fd8b54bb-9452-411d-8e3a-09408156a886"
    config = load_site("globus", endpoint=f"{ENDPOINT}, {second}", account="physics", nodes="2")
    try:
        assert [each.label for each in config.executors] == ["globus-9a947ba5", "globus-fd8b54bb"]
        sdk = config.executors[1].executor
        assert str(sdk.endpoint_id) == second
        assert sdk.user_endpoint_config == {"account": "physics", "nodes_per_block": 2}
    finally:
        for each in config.executors:
            each.executor.shutdown(wait=False)


@pytest.mark.parametrize("cap", ["0", "many", "1,2,3", -1, [2, 0]])
def test_caps_of_endpoints_are_checked(cap: Any) -> None:
    pytest.importorskip("globus_compute_sdk")
    with pytest.raises(SiteError, match="cap must be") as caught:
        load_site("globus", endpoint=[ENDPOINT, "fd8b54bb-9452-411d-8e3a-09408156a886"], cap=cap)
    assert caught.value.argument == "cap"


@pytest.mark.parametrize("endpoint", ["", "my endpoint", f"{ENDPOINT},{ENDPOINT}"])
def test_endpoints_are_checked(endpoint: str) -> None:
    pytest.importorskip("globus_compute_sdk")
    with pytest.raises(SiteError, match="endpoint"):
        load_site("globus", endpoint=endpoint)


def test_inside_a_job_its_nodes_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBS_NODEFILE", raising=False)
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_JOB_END_TIME"):
        monkeypatch.delenv(name, raising=False)
    alone = executor_of("inside_job")
    assert size_of(alone) == (1, 1)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    of_slurm = executor_of("inside_job", trials_per_node=2, time_left_s=1000, longest_trial_s=100)
    assert size_of(of_slurm) == (6, 3)
    assert (type(of_slurm.provider.launcher).__name__, of_slurm.drain_period) == ("SrunLauncher", 840)
    nodes = tmp_path / "nodes"
    nodes.write_text("x1\nx1\nx2\n")
    monkeypatch.setenv("PBS_NODEFILE", str(nodes))
    of_pbs = executor_of("inside_job", gpus_per_node=4)
    assert size_of(of_pbs) == (8, 2)
    assert type(of_pbs.provider.launcher).__name__ == "MpiExecLauncher"


def test_arguments_come_from_the_environment_for_parsls_own_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    module = runpy.run_path(str(site_folder() / "polaris.py"))
    with pytest.raises(ValueError, match="set DHFLOW_SITE_ACCOUNT"):
        module["fresh_config"]()
    for name, value in {"ACCOUNT": "physics", "NODES": "2", "CHECK_LIMITS": "no", "WALLTIME": "03:00:00"}.items():
        monkeypatch.setenv(f"DHFLOW_SITE_{name}", value)
    provider = module["fresh_config"]().executors[0].provider
    assert (provider.account, provider.nodes_per_block, provider.walltime) == ("physics", 2, "03:00:00")
    monkeypatch.setenv("DHFLOW_SITE_NODES", "two")
    with pytest.raises(ValueError, match="DHFLOW_SITE_NODES must be a whole number, not 'two'"):
        module["fresh_config"]()
    monkeypatch.delenv("DHFLOW_SITE_NODES")
    monkeypatch.setenv("DHFLOW_SITE_CHECK_LIMITS", "maybe")
    with pytest.raises(ValueError, match=r"DHFLOW_SITE_CHECK_LIMITS must be one of 1, true, .*, off, not 'maybe'"):
        module["fresh_config"]()
    monkeypatch.setenv("DHFLOW_SITE_CHECK_LIMITS", "Off")
    assert module["fresh_config"]().queue_limits == ""
    monkeypatch.setenv("DHFLOW_SITE_WALTIME", "01:00:00")
    with pytest.raises(ValueError, match=r"DHFLOW_SITE_WALTIME stands for no .*; did you mean DHFLOW_SITE_WALLTIME\?"):
        module["fresh_config"]()
    monkeypatch.delenv("DHFLOW_SITE_WALTIME")
    monkeypatch.setenv("DHFLOW_SITE_EXECUTOR", "fibres")
    with pytest.raises(ValueError, match="DHFLOW_SITE_EXECUTOR stands for no argument of this site"):
        module["fresh_config"]()
    for name in ("ACCOUNT", "CHECK_LIMITS", "WALLTIME"):
        monkeypatch.delenv(f"DHFLOW_SITE_{name}")
    with pytest.raises(ValueError, match="DHFLOW_SITE_EXECUTOR must be one of processes, threads"):
        runpy.run_path(str(site_folder() / "laptop.py"))["fresh_config"]()


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("#SBATCH --nodes=1", ["sbatch --parsable --time=9", "sbatch --parsable --dependency=afterany:J1 --time=9"]),
        ("#PBS -l select=1", ["qsub --time=9", "qsub -W depend=afterany:J1 --time=9"]),
    ],
)
def test_a_chain_of_jobs_begins_each_after_the_one_before(tmp_path: Path, line: str, commands: list[str]) -> None:
    given = tmp_path / "given"
    for name, after in (("sbatch", ";cluster"), ("qsub", "")):
        text = f'#!/bin/sh\necho "{name} $*" >> {given}\necho "J$(grep -c . {given}){after}"\n'
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n{line}\n")
    chain = site_folder() / "chain.sh"
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(chain), *arguments], capture_output=True, text=True, timeout=30, check=False, env=path
        )

    assert run("2", str(script), "--time=9").stdout.split() == ["J1", "J2"]
    assert given.read_text().splitlines() == [f"{each} {script}" for each in commands]
    for wrong in (["0", str(script)], ["two", str(script)], ["2", str(tmp_path / "none")], ["2"]):
        refused = run(*wrong)
        assert (refused.returncode, "usage" in refused.stderr) == (2, True)


def test_the_page_for_administrators_names_the_ports_and_the_log_levels() -> None:
    page = (site_folder() / "ADMIN.md").read_text()
    executor = executor_of("slurm")
    for first, last in (executor.worker_port_range, executor.interchange_port_range, (PORTS[0], PORTS[1] - 1)):
        assert f"{first} to {last}" in page
    levels = {site: load_site(site).initialize_logging.level for site in ("slurm", "pbs", "inside_job", "laptop")}
    assert levels == {"slurm": logging.INFO, "pbs": logging.INFO, "inside_job": logging.INFO, "laptop": logging.WARNING}
    assert "of sites with nodes and `globus` at level INFO" in page
    assert "of `laptop` warnings only" in page


def test_site_files_need_no_dhflow() -> None:
    script = (
        "import runpy, sys\n"
        f"for name in {sorted(set(site_names()) - {'globus'})!r}:\n"
        f"    runpy.run_path({str(site_folder())!r} + '/' + name + '.py')\n"
        "print('dhflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env={**os.environ}
    )
    assert done.stdout.strip() == "False"

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dhflow.cli.check_site import check_site, look_around


def test_all_sites_are_listed_with_their_arguments(dhflow: Any) -> None:
    ran = dhflow("sites")
    assert ran.code == 0
    assert re.search(r"^polaris  Polaris \(ALCF\)", ran.out, re.MULTILINE)
    assert re.search(r"^  account +str +required$", ran.out, re.MULTILINE)
    assert re.search(r"^theta  .*retired", ran.out, re.MULTILINE)
    assert "cannot be loaded" not in ran.out


def test_a_check_prints_the_batch_script_and_submits_nothing(dhflow: Any, folder: Path) -> None:
    ran = dhflow("sites", "check", "polaris", "--site-set", "account=physics", "--site-set", "nodes=2")
    assert ran.code == 0, ran.err
    assert "submitted with: qsub  -q debug -A physics" in ran.out
    assert "    #PBS -l select=2:ncpus=64:ngpus=4" in ran.out
    assert "nothing was submitted; --run tries the site for real" in ran.out
    assert "2 nodes for 01:00:00 are within those of the queue 'debug' (ALCF user guide" in ran.out
    assert [each.name for each in folder.iterdir()] == ["digits.py"]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("polaris --site-set account=x --site-set queue=R42 --site-set walltime=99:00:00", "`qstat -Qf`"),
        ("slurm --site-set walltime=99:00:00", "`scontrol show partition`"),
    ],
)
def test_a_queue_whose_limits_are_not_known_is_promised_nothing(dhflow: Any, line: str, advice: str) -> None:
    ran = dhflow("sites", "check", *line.split())
    assert ran.code == 0, ran.err
    assert "those of this queue are not known here" in ran.out
    assert advice in ran.out
    assert "no error was found, but" in ran.out
    assert "well" not in ran.out
    assert "will work" not in ran.out


def test_idle_accelerators_are_a_warning(dhflow: Any) -> None:
    ran = dhflow("sites", "check", *["polaris", "--site-set", "account=x", "--site-set", "accelerators_per_trial=3"])
    assert ran.code == 0, ran.err
    assert "1 of the 4 accelerators of a node is left idle" in ran.out
    assert "no error was found, but" in ran.out


def test_where_nothing_is_submitted_there_are_no_limits(dhflow: Any) -> None:
    ran = dhflow("sites", "check", "laptop")
    assert "limits" not in ran.out
    assert "no error was found; nothing was submitted" in ran.out


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("polaris", "site 'polaris' needs 'account'"),
        ("polaris --site-set account=x --site-set wall=1", "no argument 'wall'; did you mean 'walltime'"),
        ("polaris --site-set account=x --site-set walltime=1h", "walltime must be HH:MM:SS"),
        ("polarsi", "there is no site 'polarsi'; did you mean 'polaris'"),
        ("theta", "Use Polaris: --site polaris --site-set account=PROJECT"),
    ],
)
def test_what_is_wrong_is_said(dhflow: Any, line: str, match: str) -> None:
    ran = dhflow("sites", "check", *line.split())
    assert ran.code == 1
    assert match in ran.err


def test_on_this_machine_the_site_is_tried_for_real(dhflow: Any, folder: Path) -> None:
    ran = dhflow("sites", "check", "laptop", "--site-set", "workers=1", "--run")
    assert ran.code == 0, ran.out
    found = dict(re.findall(r"^  (?:ok  |warn)  (\S+(?: \S+)*) {2,}(.*)$", ran.out, re.MULTILINE))
    assert re.match(r"first result after \d+\.\d s", found["reachable"])
    assert found["versions there"] == "as here"
    assert found["locks there"] == "a worker is kept out of what this process has locked"
    assert "all is well" in ran.out
    assert [each.name for each in folder.iterdir()] == ["digits.py"]


def test_each_executor_is_tried(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text(
        "from parsl import Config\n"
        "from parsl.executors import ThreadPoolExecutor\n"
        "def make_config(*, run_dir: str = 'runinfo') -> Config:\n"
        "    threads = [ThreadPoolExecutor(label=each, max_threads=1) for each in ('cpu', 'gpu')]\n"
        "    return Config(executors=threads, run_dir=run_dir, initialize_logging=False)\n"
    )
    found = [*check_site(str(file), {}, tmp_path / "runs", 30.0)]
    assert [each.text for each in found if each.name == "executor"] == ["cpu", "gpu"]
    assert [each.level for each in found if each.name == "reachable"] == ["ok", "ok"]
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_block_that_fails_says_where_its_output_lies(tmp_path: Path) -> None:
    site = Path(__file__).parents[2] / "site_configs" / "inside_job.py"
    arguments = {"worker_init": "echo no such module >&2; exit 3"}
    found = {each.name: each for each in check_site(str(site), arguments, tmp_path, 60.0)}
    assert found["reachable"].level == "fail"
    stderr = found["block's stderr"]
    assert stderr.advice == "no such module"
    assert Path(stderr.text).read_text().strip() == "no such module"


def test_a_folder_that_the_worker_does_not_see_is_told_from_a_lock_that_does_not_hold(tmp_path: Path) -> None:
    assert look_around({"folder": str(tmp_path)})["lock"] == "unseen"
    (tmp_path / "lock").touch()
    assert look_around({"folder": str(tmp_path)})["lock"] == "free"

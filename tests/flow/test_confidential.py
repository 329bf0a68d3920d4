"""What a history keeps of a search's settings, and who may read the rest."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, load, search
from dhflow.errors import SearchError
from dhflow.flow.confidential import SITE_SET, WITHHELD, for_history, keep_withheld, restored, without_secrets
from dhflow.flow.run_directory import run_path

SECRET = "sekret123"
SPACE = SearchSpace({"x": Float(0.0, 1.0)})
ENDPOINT = "9a947ba5-1f8b-4a8a-b5a1-52c4c0a9d2b8"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_init", f"export WANDB_API_KEY={SECRET}"),
        ("worker_init", "activate"),
        ("scheduler_options", "#SBATCH --mail-user=me"),
        ("srun_options", "--export=A=b"),
        ("setup", f"source env; login {SECRET}"),
        ("api_key", SECRET),
        ("comment", "hf_AbCdEfGhIjKlMnOp"),
        ("comment", "4f3a9c1b7d2e8f6a5c4b3d2e1f0a9b8c"),
        ("address", "http://user:word@10.0.0.1"),
        ("nested", {"token": SECRET}),
    ],
)
def test_free_text_and_what_looks_like_a_secret_is_withheld(name: str, value: Any) -> None:
    assert for_history({name: value}) == {name: WITHHELD}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_init", ""),
        ("account", "physics"),
        ("nodes", 2),
        ("walltime", "01:00:00"),
        ("queue", None),
        ("constraint", "gpu&hbm80g"),
        ("filesystems", "home:eagle"),
        ("cpu_affinity", "list:24-31,56-63:16-23,48-55"),
        ("endpoint", [ENDPOINT, ENDPOINT]),
        ("endpoint", f"{ENDPOINT},{ENDPOINT}"),
        ("run_dir", "/lus/eagle/projects/physics/runs"),
        ("run_dir", Path("/lus/eagle")),
    ],
)
def test_what_a_reader_wants_to_know_is_kept(name: str, value: Any) -> None:
    assert for_history({name: value}) == {name: value}


def test_a_command_is_kept_without_its_secrets() -> None:
    command = f"API_KEY={SECRET} train --lr {{lr}} --token {SECRET} --key={{key}} --data /keys/a --tokens {{n}}"
    assert without_secrets(command) == (
        f"API_KEY={WITHHELD} train --lr {{lr}} --token {WITHHELD} --key={{key}} --data /keys/a --tokens {{n}}"
    )


def test_what_was_withheld_comes_back_from_the_run_directory_alone(tmp_path: Path) -> None:
    given = {"worker_init": f"export K={SECRET}", "nodes": 2}
    keep_withheld(given, tmp_path)
    assert stat.S_IMODE((tmp_path / SITE_SET).stat().st_mode) == 0o600
    assert restored(for_history(given), tmp_path) == given
    keep_withheld({"nodes": 2}, tmp_path)
    assert not (tmp_path / SITE_SET).exists()
    with pytest.raises(SearchError, match=r"does not keep the value of worker_init.*--site-set worker_init="):
        restored(for_history(given), tmp_path)


@pytest.mark.integration
@pytest.mark.parametrize(("site", "size"), [("laptop", {"workers": 1}), ("inside_job", {"launcher": "none"})])
def test_a_secret_of_worker_init_is_in_no_file_that_others_may_read(
    tmp_path: Path, site: str, size: dict[str, Any]
) -> None:
    history = tmp_path / "h.h5"
    site_set = {**size, "worker_init": f'export PATH="{Path(sys.executable).parent}:$PATH" WANDB_API_KEY={SECRET}'}
    command = f"MY_TOKEN={SECRET} python -c \"import os; print(len(os.getenv('WANDB_API_KEY')) + {{x}})\""
    result = search(command, SPACE, site=site, site_set=site_set, searcher="random", max_trials=1, history=history)
    assert result.trials[0].objective == pytest.approx(len(SECRET) + result.trials[0].config["x"])
    info = load(history).record.sessions[0][0].info
    assert info["site_set"] == {**{name: repr(each) for name, each in size.items()}, "worker_init": repr(WITHHELD)}
    assert info["objective"].startswith(f"command: MY_TOKEN={WITHHELD} python")
    holding = {each for each in tmp_path.rglob("*") if each.is_file() and SECRET.encode() in each.read_bytes()}
    assert run_path(history) / SITE_SET in holding
    assert {each.suffix for each in holding} == {".sh", ".json"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in holding} == {0o600}
    for each in ("parsl", "objective"):
        assert stat.S_IMODE((run_path(history) / each).stat().st_mode) == 0o700

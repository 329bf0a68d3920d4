"""What a site would submit, without submitting: the batch scripts that Parsl's own providers write."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.errors import SiteError
from dhflow.flow.job_notes import SCHEDULER_COMMANDS
from dhflow.flow.pool import size_of, use_own_parts
from dhflow.flow.text import count

if TYPE_CHECKING:
    from parsl import Config

_UNKNOWN_PORT = "PORT"
"""Chosen when the kernel starts."""


@dataclass(frozen=True, slots=True)
class PlannedBlocks:
    """The blocks of one executor.

    Parameters
    ----------
    label : str
        The executor's.
    summary : str
        How many blocks of which size there will be.
    command : str
        What submits one, or "" where nothing is submitted.
    script : str
        What it submits, or what starts the workers where nothing is submitted; "" for threads.
    needs : tuple of str
        Commands that must be on this machine.
    """

    label: str
    summary: str
    command: str = ""
    script: str = ""
    needs: tuple[str, ...] = ()


def plan_blocks(config: Config) -> list[PlannedBlocks]:
    """Return what each executor of a configuration would submit.

    Parameters
    ----------
    config : parsl.Config
        It must not be used afterwards.

    Raises
    ------
    SiteError
        If a provider refuses to write its script.
    """
    return [_plan(each, Path(config.run_dir).absolute() / "000") for each in config.executors]


def _plan(executor: Any, run_directory: Path) -> PlannedBlocks:
    provider = getattr(executor, "provider", None)
    if provider is None:
        return _plan_without_blocks(executor)
    with tempfile.TemporaryDirectory(prefix="dhflow-dry-run-") as folder:
        try:
            command, script = _write_script(executor, run_directory, Path(folder))
        except Exception as error:
            raise SiteError(f"executor {executor.label!r}: its batch script cannot be written: {error}") from error
    needs = SCHEDULER_COMMANDS.get(provider.label, ())
    return PlannedBlocks(executor.label, _summary(executor), command if needs else "", script, needs)


def _plan_without_blocks(executor: Any) -> PlannedBlocks:
    slots, _ = size_of(executor)
    if slots:
        return PlannedBlocks(executor.label, f"{count(slots, 'thread')} of this process")
    settings = getattr(executor, "user_endpoint_config", None) or {}
    lines = [f"{name}: {value}" for name, value in settings.items()]
    return PlannedBlocks(executor.label, "workers are started by its service", script="\n".join(lines))


def _write_script(executor: Any, run_directory: Path, folder: Path) -> tuple[str, str]:
    """Let the provider write the script of one block, with nobody behind its commands."""
    commands: list[str] = []

    def execute(command: str, *_: Any, **__: Any) -> tuple[int, str, str]:
        commands.append(command)
        return 0, "Submitted batch job 0\n", ""

    provider = executor.provider
    provider.execute_wait = execute
    provider.script_dir = str(folder)
    _prepare(executor, run_directory)
    command = executor.launch_cmd.format(block_id="0")
    job = f"parsl.{executor.label}.block-0"
    if provider.label not in SCHEDULER_COMMANDS:
        started = provider.launcher(command, 1, provider.nodes_per_block, str(folder))
        text = "\n".join(each for each in (getattr(provider, "worker_init", ""), started) if each)
    else:
        provider.submit(command, 1, job)
        text = next(folder.glob(f"{job}*")).read_text()
    there = str(run_directory / "submit_scripts")
    submitted = commands[-1] if commands else ""
    return submitted.replace(str(folder), there), text.replace(str(folder), there)


def _prepare(executor: Any, run_directory: Path) -> None:
    """Fill in what an executor only knows once it has started."""
    use_own_parts(executor)
    executor.run_dir = str(run_directory)
    executor.worker_port = executor.worker_port or _UNKNOWN_PORT
    executor.cert_dir = f"{executor.logdir}/certificates" if executor.encrypted else None
    executor.logconf_path = None
    executor.initialize_scaling()


def _summary(executor: Any) -> str:
    provider = executor.provider
    least, most = provider.min_blocks, provider.max_blocks
    blocks = count(most, "block") if least == most else f"{least} to {count(most, 'block')}"
    slots, nodes = size_of(executor)
    places = f"{count(slots // nodes, 'trial')} at a time on each"
    return f"{blocks} of {count(provider.nodes_per_block, 'node')}, {places}"

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dhflow import __version__
from dhflow.cli.main import VERBS

HEAVY = (
    "parsl",
    "numpy",
    "scipy",
    "sklearn",
    "h5py",
    "tensorflow",
    "keras",
    "matplotlib",
    "rich",
    "pandas",
    "cloudpickle",
)


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from dhflow.cli.main import VERBS, run
for arguments in (["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)):
    assert run(arguments) == 0, arguments
    found = [each for each in {HEAVY!r} if each in sys.modules]
    assert not found, (arguments, found)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_verb_has_help_that_names_it_and_shows_examples(dhflow: Any) -> None:
    for verb in VERBS:
        ran = dhflow(verb, "--help")
        assert ran.code == 0
        assert ran.out.startswith(f"Usage: dhflow {verb}")
        assert f"\n  dhflow {verb} " in ran.out.partition("Examples:")[2]


def test_the_group_lists_the_verbs(dhflow: Any) -> None:
    ran = dhflow("--help")
    assert all(f"  {verb} " in ran.out for verb in VERBS)
    assert dhflow("--version").out == f"dhflow, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serach"], "did you mean 'search'?"),
        (["frobnicate"], "No such command"),
        (["search"], "Missing argument"),
        (["search", "digits.py", "--max-trails", "3"], "--max-trials"),
        (["search", "digits.py"], "this search would never end: give --max-trials"),
        (["show", "h.h5", "--trial", "-1"], "--trial"),
        (["plot", "h.h5", "--kind", "pie"], "timeline"),
    ],
)
def test_wrong_usage_is_exit_code_2(dhflow: Any, folder: Path, arguments: list[str], complaint: str) -> None:
    ran = dhflow(*arguments)
    assert ran.code == 2
    assert complaint in ran.err
    assert "Traceback" not in ran.err


def test_no_argument_shows_the_help(dhflow: Any) -> None:
    ran = dhflow()
    assert ran.code == 2
    assert "Verbs:" in ran.out + ran.err


def test_an_error_is_one_message_and_exit_code_1(dhflow: Any, folder: Path) -> None:
    ran = dhflow("show", "nowhere.h5")
    assert ran.code == 1
    assert ran.err == f"dhflow: error: {folder / 'nowhere.h5'}: there is no history\n"
    assert ran.out == ""


@pytest.mark.parametrize("where", [0, 2])
def test_debug_raises_it_wherever_it_stands(dhflow: Any, folder: Path, where: int) -> None:
    from dhflow.errors import HistoryError

    arguments = ["show", "nowhere.h5"]
    arguments.insert(where, "--debug")
    with pytest.raises(HistoryError):
        dhflow(*arguments)


def test_a_mistake_of_dhflows_own_keeps_its_traceback(dhflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import dhflow.flow.site as site

    monkeypatch.setattr(site, "site_names", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dhflow("sites")


def test_a_reader_that_leaves_is_no_error(finished: Path) -> None:
    show = [sys.executable, "-m", "dhflow", "show", str(finished), "--json", "--top", "1000"]
    shell = f"{' '.join(show)} | head -c 10 > /dev/null; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert ran.stdout == "0\n"
    assert ran.stderr == ""


def test_logging_is_as_before_afterwards(dhflow: Any) -> None:
    import logging

    logger = logging.getLogger("dhflow")
    before = (list(logger.handlers), logger.level)
    dhflow("sites", "nowhere")
    assert (list(logger.handlers), logger.level) == before

"""``dhflow nas``: what it prints and draws, what it keeps, and what it refuses."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, TrialContext, search
from dhflow.nas import Architecture, cnn_chain, stacked_lstm

from .conftest import Run, write

SPACES = """
    from dhflow.nas import cnn_chain, stacked_lstm

    space = stacked_lstm((8, 5), (8, 5))
    chain = cnn_chain((8, 8, 1), (10,))
    number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path / "spaces.py", SPACES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def best() -> tuple[dict[str, Any], Architecture]:
    space = cnn_chain((8, 8, 1), (10,))
    config = space.decisions().default_config()
    return config, space.freeze(config)


def test_layers_shapes_and_drawings(here: Path, dhflow: Run) -> None:
    config, architecture = best()
    (here / "best.json").write_text(json.dumps({**config, "learning_rate": 0.1}))
    ran = dhflow("nas", "show", "spaces.py:chain", "--config", "best.json")
    assert ran.code == 0, ran.err
    assert ran.out == f"{architecture}\nhash: {architecture.hash}\nchain.svg\nchain.png\n"
    assert "Conv2D(16, 3, relu)" in ran.out
    assert "8×8×16" in ran.out
    assert (here / "chain.svg").read_text().startswith("<?xml")
    assert (here / "chain.png").read_bytes().startswith(b"\x89PNG")


def test_a_config_as_other_verbs_write_it(here: Path, dhflow: Run) -> None:
    config, architecture = best()
    (here / "trial.json").write_text(json.dumps({"trial_id": 3, "config": config}))
    ran = dhflow("nas", "show", "spaces.py:chain", "--config", "trial.json", "--hash")
    assert ran.out == f"{architecture.hash}\n"
    assert [each.name for each in here.iterdir() if each.suffix in {".svg", ".png"}] == []


def test_the_default_space_and_a_random_network(here: Path, dhflow: Run) -> None:
    space = stacked_lstm((8, 5), (8, 5))
    assert dhflow("nas", "show", "spaces.py", "--hash").out.strip() == space.canonical(
        space.decisions().default_config()
    )
    first, again, other = (dhflow("nas", "show", "spaces.py", "--seed", seed, "--no-draw").out for seed in "112")
    assert first == again != other


def test_a_network_and_a_space_as_json(here: Path, dhflow: Run) -> None:
    told = dhflow("nas", "show", "spaces.py:chain", "--json")
    (here / "network.json").write_text(told.out)
    (here / "space.json").write_text(json.dumps(cnn_chain((8, 8, 1), (10,)).to_json()))
    wanted = json.loads(told.out)["hash"]
    for name in ("network.json", "space.json"):
        assert dhflow("nas", "show", name, "--hash").out.strip() == wanted
    ran = dhflow("nas", "show", "network.json", "-o", "a.pdf")
    assert ran.out.endswith("a.pdf\n")
    assert (here / "a.pdf").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["spaces.py:nothing"], "has no ArchitectureSpace 'nothing'; it has: space, chain"),
        (["spaces.py:number"], "has no ArchitectureSpace 'number'"),
        (["nowhere.py"], "nowhere.py"),
        (["what is this"], "is no architecture space"),
        (["spaces.py", "--config", "nowhere.json"], "nowhere.json"),
        (["spaces.py", "--config", "spaces.py"], "spaces.py is no JSON"),
        (["spaces.py", "--config", "list.json"], "holds no mapping"),
        (["spaces.py", "--config", "empty.json"], "lstm_1: is missing"),
        (["spaces.py", "--config", "empty.json", "--seed", "1"], "not both"),
        (["spaces.py", "-o", "best.gif"], "must end with one of"),
        (["empty.json"], "no architecture"),
    ],
)
def test_what_is_refused(here: Path, dhflow: Run, arguments: list[str], complaint: str) -> None:
    (here / "list.json").write_text("[]")
    (here / "empty.json").write_text("{}")
    ran = dhflow("nas", "show", *arguments)
    assert ran.code == 1
    assert complaint in ran.err
    assert "Traceback" not in ran.err


def test_the_best_models_are_put_beside_the_history(here: Path, dhflow: Run) -> None:
    space = SearchSpace({"x": Float(0.0, 1.0)})

    def leaving(config: dict[str, Any], trial: TrialContext) -> float:
        (trial.dir / "model.keras").write_text("a model")
        return float(config["x"])

    with ThreadPoolExecutor(1) as pool:
        result = search(leaving, space, searcher="random", seed=1, max_trials=3, site=pool, history=here / "h.h5")
    name = f"1-trial-{result.best.trial_id}"
    assert dhflow("nas", "keep", "h.h5", "-n", "1", "--prune").out.split() == [f"h.h5.models/{name}.keras"]
    assert json.loads((here / "h.h5.models" / f"{name}.json").read_text())["config"] == result.best.config
    again = dhflow("nas", "keep", "h.h5")
    assert again.code != 0
    assert "no trial has left a model" in again.err

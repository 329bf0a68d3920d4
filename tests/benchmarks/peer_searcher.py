"""Peers as searchers: each runs in its own environment, on our problems, through the adapters of ``shared/peers``.

A peer's space is flat: floats, integers and unordered choices. So an ordinal parameter becomes the integer of
its place, a choice becomes the name of its place, and conditions are left out: a peer sees every parameter,
and what is not active in its config is dropped before our objective sees it. That is how these peers are
mostly used, and a disadvantage on conditional problems which is theirs alone.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tables import shared_folder

from dhflow.errors import SearchError
from dhflow.searcher import Searcher
from dhflow.space import Float, Integer, SearchSpace
from dhflow.space.choice import Listed
from dhflow.trial import Suggestion, Trial


@dataclass(frozen=True)
class Peer:
    """Where a peer is installed, and how dear it is.

    Parameters
    ----------
    environment : str
        Name of the virtual environment under ``$PEERS_ENV``.
    share : float
        Of the seeds asked for that a peer so dear gets.
    max_trials : int
        A run ends after so many.
    """

    environment: str
    share: float = 1.0
    max_trials: int = 200


PEERS = {
    "optuna_tpe": Peer("venv_botorch_optuna"),
    "optuna_cma": Peer("venv_botorch_optuna"),
    "hyperopt_tpe": Peer("venv_hyperopt"),
    "deephyper_et_sampling": Peer("venv_deephyper"),
    "deephyper_dummy": Peer("venv_deephyper", 0.5),
    "smac_hpo": Peer("venv_smac", 0.5, 100),
    "optuna_gp": Peer("venv_botorch_optuna", 0.5, 100),
    "deephyper_default": Peer("venv_deephyper", 0.2, 100),
    "hebo": Peer("venv_hebo", 0.2, 100),
}
"""In tiers: the cheap ones get every seed, those of some 100 ms an ask half of them, the dear ones fewer and only
100 trials."""


def environment_folder() -> Path:
    """Return where the peers' environments are: ``$PEERS_ENV``, by default ``~/.cache/dhflow-peers``."""
    return Path(os.environ.get("PEERS_ENV", Path.home() / ".cache" / "dhflow-peers"))


def why_not(name: str) -> str:
    """Return why a peer cannot run here, or "" if it can."""
    if name not in PEERS:
        return f"there is no peer {name!r}; there are: {', '.join(PEERS)}"
    folder = shared_folder()
    if folder is None or not (folder / "peers" / "adapters.py").is_file():
        return "no folder shared/peers with adapters above the checkout"
    python = environment_folder() / PEERS[name].environment / "bin" / "python"
    return "" if python.is_file() else f"{name} is not installed: shared/peers/setup.sh makes {python.parents[1]}"


@functools.cache
def version(name: str) -> str:
    """Return the version of a peer's package, for the key of its results."""
    package = name.partition("_")[0]
    python = environment_folder() / PEERS[name].environment / "bin" / "python"
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return f"{package}-{done.stdout.strip() or 'unknown'}"


# Spaces -----------------------------------------------------------------------------------------------


def flat_space(space: SearchSpace) -> list[dict[str, Any]]:
    """Return a space as the peers' adapters want it: keyword arguments of their ``P``."""
    found: list[dict[str, Any]] = []
    for name, each in space.parameters.items():
        if isinstance(each, Float | Integer):
            kind = "float" if isinstance(each, Float) else "int"
            found.append({"name": name, "kind": kind, "low": each.low, "high": each.high, "log": each.log})
        elif isinstance(each, Listed) and each.is_categorical:
            found.append({"name": name, "kind": "cat", "choices": [f"v{i}" for i in range(len(each.listed))]})
        elif isinstance(each, Listed) and len(each.listed) > 1:
            found.append({"name": name, "kind": "int", "low": 0, "high": len(each.listed) - 1})
        elif not isinstance(each, Listed):
            raise SearchError(f"{name}: the peers know no {type(each).__name__}")
    return found


def our_config(space: SearchSpace, flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a peer's flat config as one of ours: values in place of places, what is inactive dropped."""
    values = {name: _our_value(each, flat.get(name)) for name, each in space.parameters.items()}

    def is_active(name: str) -> bool:
        when = space.parameters[name].when or {}
        return all(is_active(parent) and values[parent] in allowed for parent, allowed in when.items())

    return space.validate({name: value for name, value in values.items() if is_active(name)})


def _our_value(parameter: Any, value: Any) -> Any:
    if isinstance(parameter, Float):
        return min(max(float(value), parameter.low), parameter.high)
    if isinstance(parameter, Integer):
        return int(value)
    if len(parameter.listed) == 1:
        return parameter.listed[0]
    return parameter.listed[int(str(value).removeprefix("v"))]


# The searcher -----------------------------------------------------------------------------------------


class _Process:
    """A peer's process, kept for many runs: importing some of them takes seconds."""

    def __init__(self, name: str) -> None:
        folder = shared_folder()
        if reason := why_not(name):
            raise SearchError(reason)
        python = environment_folder() / PEERS[name].environment / "bin" / "python"
        worker = Path(__file__).with_name("peer_worker.py")
        threads = {f"{each}_NUM_THREADS": "1" for each in ("OMP", "OPENBLAS", "MKL")}
        self._process = subprocess.Popen(
            [str(python), str(worker), f"{folder}/peers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Our own packages are not the peer's.
            env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **threads},
        )

    def say(self, **order: Any) -> dict[str, Any]:
        """Send an order, return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SearchError("the peer's process has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SearchError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


_processes: dict[str, _Process] = {}


def close_all() -> None:
    """End the peers' processes of this process."""
    while _processes:
        _processes.popitem()[1].close()


class PeerSearcher(Searcher):
    """A peer that is asked and told like one of our searchers.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    peer : str
        One of :data:`PEERS`.
    n_trials, n_workers : int
        Of the run; some peers want to know.

    Raises
    ------
    SearchError
        If the peer cannot run here, or raises an error of its own.
    """

    name: ClassVar[str] = "peer"

    def __init__(self, space: SearchSpace, *, peer: str, n_trials: int, n_workers: int = 1, seed: int = 0) -> None:
        super().__init__(space, seed=seed)
        self.cpu_s = 0.0
        if peer not in _processes:
            _processes[peer] = _Process(peer)
        self._peer = _processes[peer]
        self._say(do="start", name=peer, space=flat_space(space), seed=seed, budget=n_trials, n_workers=n_workers)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Suggestion]:
        """Ask the peer `n` times; it knows by itself what is pending."""
        return [self._ask_one() for _ in range(n)]

    def _ask_one(self) -> Suggestion:
        number = self._n_asks
        answer = self._say(do="ask", id=number)
        self._n_asks += 1
        return Suggestion(our_config(self.space, answer["config"]), meta={"id": number})

    def tell(self, trials: Iterable[Trial]) -> None:
        """Tell the peer of finished trials at once."""
        for each in trials:
            self._say(do="tell", id=each.meta["id"], value=each.losses[0])

    def _ask(self, n: int, pending: Sequence[Trial], rng: object) -> list[Suggestion]:
        raise NotImplementedError

    def _say(self, **order: Any) -> dict[str, Any]:
        answer = self._peer.say(**order)
        self.cpu_s += answer["cpu_s"]
        return answer

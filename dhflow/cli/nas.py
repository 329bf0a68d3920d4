"""``dhflow nas``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli.option import Verb
from dhflow.errors import SearchError

if TYPE_CHECKING:
    from dhflow.nas import Architecture, ArchitectureSpace

DEFAULT_NAME = "space"


class NasGroup(Verb, click.Group):
    """A verb with verbs of its own."""


@click.group(
    cls=NasGroup,
    examples=["nas show problem.py:space --config best.json"],
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB ...",
)
def command() -> None:
    """Look at architecture spaces."""


@command.command(
    cls=Verb,
    examples=[
        "nas show problem.py",
        "nas show problem.py:space --config best.json -o best.svg",
        "nas show package.spaces:cells --seed 3 --hash",
        "nas show architecture.json",
    ],
)
@click.argument("space")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file with the choices; hyperparameters in it are ignored.  [default: the space's default config]",
)
@click.option("--seed", type=click.IntRange(0), help="A random network of the space instead.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="SVG, PNG or PDF file; may be given several times.  [default: NAME.svg and NAME.png]",
)
@click.option("--draw/--no-draw", default=True, help="Draw the network, or print its layers only.")
@click.option("--hash", "only_hash", is_flag=True, help="Print the hash that equal networks share, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the network for programs, and draw nothing.")
def show(
    space: str,
    *,
    config: Path | None,
    seed: int | None,
    outputs: tuple[Path, ...],
    draw: bool,
    only_hash: bool,
    as_json: bool,
) -> None:
    """Draw a network of SPACE, and print its layers, their shapes, and how many parameters it has.

    SPACE is a Python file with an ArchitectureSpace called space, file.py:other, package.module:name, or a JSON
    file of a space or of a network.
    """
    name, found = _load(space)
    architecture = _architecture(found, config, seed)
    if only_hash:
        click.echo(architecture.hash)
    elif as_json:
        click.echo(json.dumps({"hash": architecture.hash, **architecture.to_json()}, indent=2))
    else:
        click.echo(f"{architecture}\nhash: {architecture.hash}")
        if draw or outputs:
            _draw(architecture, outputs or (Path(f"{name}.svg"), Path(f"{name}.png")), name)


@command.command(cls=Verb, examples=["nas keep digits.h5", "nas keep digits.h5 -n 3 --folder models --prune"])
@click.argument("history", type=click.Path(path_type=Path))
@click.option("-n", "--number", type=click.IntRange(1), default=5, show_default=True, help="How many.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="[default: HISTORY.models]")
@click.option("--prune", is_flag=True, help="Remove the models of all trials from their directories then.")
def keep(history: Path, *, number: int, folder: Path | None, prune: bool) -> None:
    """Put the models of the best trials of HISTORY beside it, as files that Keras reads, with their configs.

    Trials leave their models where they train with TrainingSettings(keep_model=True).
    """
    from dhflow.api import load
    from dhflow.kept_models import keep_models

    for path in keep_models(load(history), number, folder=folder, prune=prune):
        click.echo(path)


def _load(text: str) -> tuple[str, ArchitectureSpace | Architecture]:
    """Return what a space is called, and the space; or a network."""
    from dhflow.cli.problem import Reference, load_module
    from dhflow.nas import Architecture, ArchitectureSpace

    if text.endswith(".json"):
        data = _read_json(Path(text))
        make: Any = ArchitectureSpace if "edges" in data else Architecture
        return Path(text).stem, make.from_json(data)
    try:
        reference = Reference.parse(text if ":" in text else f"{text}:{DEFAULT_NAME}")
    except SearchError:
        raise SearchError(
            f"{text!r} is no architecture space: give a Python file, problem.py or problem.py:name, module:name, "
            "or a JSON file"
        ) from None
    module = load_module(reference)
    found = getattr(module, reference.name, None)
    if isinstance(found, ArchitectureSpace | Architecture):
        return reference.stem if reference.name == DEFAULT_NAME else reference.name, found
    others = [name for name, value in vars(module).items() if isinstance(value, ArchitectureSpace)]
    hint = f"; it has: {', '.join(others)}" if others else ""
    raise SearchError(f"{text} has no ArchitectureSpace {reference.name!r}{hint}")


def _architecture(found: ArchitectureSpace | Architecture, config: Path | None, seed: int | None) -> Architecture:
    from dhflow.nas import Architecture

    if isinstance(found, Architecture):
        if config is not None or seed is not None:
            raise SearchError("this is one network: --config and --seed need a space")
        return found
    if config is not None and seed is not None:
        raise SearchError("give --config or --seed, not both")
    if not found.choices:
        return found.freeze({})
    if config is not None:
        data = _read_json(config)
        inner = data.get("config")
        return found.freeze(inner if isinstance(inner, dict) else data)
    if seed is not None:
        import numpy as np

        return found.freeze(found.sample(1, np.random.default_rng(seed))[0])
    return found.freeze(found.decisions().default_config())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise SearchError(f"{path} is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise SearchError(f"{path} holds no mapping: a config is one from names to values")
    return data


def _draw(architecture: Architecture, outputs: tuple[Path, ...], name: str) -> None:
    from dhflow.plot import plot_architecture
    from dhflow.plot.figure import SUFFIXES, save

    for path in outputs:
        if path.suffix.lower() not in SUFFIXES:
            raise SearchError(f"cannot draw into {path}: its name must end with one of {', '.join(SUFFIXES)}")
    figure: Any = plot_architecture(architecture, title=name).figure
    for path in outputs:
        save(figure, path)
        click.echo(path)

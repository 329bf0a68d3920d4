"""``dhflow sites``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from dhflow.cli.option import Verb
from dhflow.errors import SiteError

if TYPE_CHECKING:
    from dhflow.flow.site import SiteArgument


@click.command(cls=Verb, examples=["sites", "sites laptop", "sites ./my_cluster.py"])
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the shipped sites; with NAME (or the path of a site file), only that one and where its file lies.

    A site's arguments are given with --site-set, for example --site-set workers=4.
    """
    from dhflow.flow.site import site_folder, site_names

    if name is not None:
        click.echo("\n".join(_described(name)))
        if not name.endswith(".py"):
            click.echo(f"\nfile: {site_folder() / name}.py")
        return
    for i, each in enumerate(site_names()):
        if i:
            click.echo()
        try:
            click.echo("\n".join(_described(each)))
        except SiteError as error:  # one broken file must not hide the others
            click.echo(f"{click.style(each, bold=True)}  cannot be loaded: {error}")
    click.echo(f"\nfiles: {site_folder()} (copy one to make a site of your own; --site takes its path)")


def _described(name: str) -> list[str]:
    from dhflow.cli.report import columns
    from dhflow.flow.site import site_arguments, site_summary

    head = f"{click.style(name, bold=True)}  {site_summary(name)}"
    return [head, *(f"  {line}" for line in columns(_row(each) for each in site_arguments(name)))]


def _row(argument: SiteArgument) -> tuple[str, str, str]:
    default = "required" if argument.is_required else f"default {argument.default!r}"
    choices = re.fullmatch(r"Literal\[(.*)\]", argument.annotation)
    kind = choices[1].replace(", ", " or ") if choices else argument.annotation
    return argument.name, kind.replace(" | None", ""), default

"""``dhflow sites``: the shipped sites, one of them, and what is wrong with one's arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli.option import Duration, Off, Setting, Verb
from dhflow.errors import SiteError

if TYPE_CHECKING:
    from dhflow.flow.batch_script import PlannedBlocks
    from dhflow.flow.site import SiteArgument

_CHECK = "check"


class _Sites(Verb, click.Group):
    """A verb with one verb below it: any other word is the name of a site."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the words before which no verb stands under the one that shows sites."""
        if not args or (args[0] != _CHECK and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs that the help lists."""
        del ctx
        return [_CHECK]


@click.group(
    cls=_Sites,
    subcommand_metavar="[NAME | check NAME ...]",
    examples=["sites", "sites laptop", "sites ./my_cluster.py", "sites check polaris --site-set account=X"],
)
def command() -> None:
    """List the shipped sites; with NAME (or the path of a site file), only that one and where its file lies.

    A site's arguments are given with --site-set, for example --site-set workers=4. `dhflow sites check NAME` shows
    what would be submitted, and with --run tries it.
    """


@command.command("show", cls=Verb, hidden=True)
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """List the sites, or describe one."""
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
    click.echo(f"\nfiles: {site_folder()} (copy one, with _block.py, for a site of your own; --site takes its path)")


@command.command(
    _CHECK,
    cls=Verb,
    examples=[
        "sites check polaris --site-set account=X --site-set nodes=2",
        "sites check slurm --site-set queue=debug --run",
    ],
)
@click.argument("name")
@click.option("--site-set", multiple=True, type=Setting(), help="Argument of the site, e.g. account=X.")
@click.option("--run", is_flag=True, help="Start the site's workers, and run one trial on each executor.")
@click.option(
    "--path",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Folder for the files of --run; the workers must see it.",
)
@click.option("--timeout", type=Duration(), default="15m", show_default=True, help="How long --run waits.")
def check(name: str, *, site_set: Sequence[tuple[str, str]], run: bool, path: Path, timeout: float | Off) -> None:
    """Say what a search on the site NAME would submit, and what is wrong with its arguments; nothing is submitted.

    With --run, which costs a few minutes of the allocation, the workers are started for real: a trial on each executor
    tells its versions, its accelerators, and whether file locks hold between there and here.
    """
    from dhflow.cli.check import conclude, show_checks
    from dhflow.cli.check_site import check_commands, check_request, check_site
    from dhflow.flow.batch_script import plan_blocks
    from dhflow.flow.site import load_site

    arguments: dict[str, Any] = dict(site_set)
    config = load_site(name, **arguments)
    limits, notes = getattr(config, "queue_limits", ""), getattr(config, "notes", ())
    planned = plan_blocks(config)
    click.echo("\n\n".join(_planned_lines(each) for each in planned) + "\n")
    found = show_checks("this machine", check_commands(planned))
    said = [*check_request(planned, None if run else limits, notes)]
    if said:
        found += show_checks("the request", said)
    if run:
        limit = None if isinstance(timeout, Off) else timeout
        found += show_checks(f"site {name}", check_site(name, arguments, path, limit))
    if run:
        conclude(found)
    else:
        conclude(found, "nothing was submitted; --run tries the site for real", well="no error was found")


def _planned_lines(planned: PlannedBlocks) -> str:
    head = f"{click.style(planned.label, bold=True)}  {planned.summary}"
    if not planned.script:
        return head
    by = f"submitted with: {planned.command}" if planned.command else "no batch job; workers start with:"
    body = "\n".join(f"    {line}".rstrip() for line in planned.script.strip().splitlines())
    return f"{head}\n{by}\n\n{body}"


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

"""``dhflow doctor``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhflow.cli.option import DEFAULT_SITE, Duration, Off, Setting, Verb

if TYPE_CHECKING:
    from dhflow.cli.check import Check


@click.command(
    cls=Verb, examples=["doctor", "doctor --path /scratch/me", "doctor --site polaris --site-set account=abc"]
)
@click.option(
    "--site", default=DEFAULT_SITE, show_default=True, help="Site to try: its name, or a path; `none` for no site."
)
@click.option("--site-set", multiple=True, type=Setting(), help="Argument of the site, e.g. workers=2.")
@click.option(
    "--path",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Folder whose file system is checked: where histories will lie.",
)
@click.option("--timeout", type=Duration(), default="5m", show_default=True, help="How long to wait for the site.")
def command(site: str, *, site_set: Sequence[tuple[str, str]], path: Path, timeout: float | Off) -> None:
    """Check versions, scripts, cores, the file system of a folder, and that a trial runs on a site.

    Each line says ok, warn or fail, and what to do. The exit code is 1 if something failed.
    """
    from dhflow.cli.check_disk import check_disk
    from dhflow.cli.check_install import check_install, check_machine
    from dhflow.cli.check_site import check_site
    from dhflow.flow.text import count

    found: list[Check] = []

    def show(title: str, checks: Iterable[Check]) -> None:
        if found:
            click.echo()
        click.secho(title, bold=True)
        for each in checks:  # as they come: a site may take minutes
            found.append(each)
            _print(each)

    show("installation", check_install())
    show("machine", check_machine())
    show(f"file system of {path.resolve()}", check_disk(path))
    if site != "none":
        limit = None if isinstance(timeout, Off) else timeout
        show(f"site {site}", check_site(site, dict(site_set), path, limit))
    n_failed = sum(each.level == "fail" for each in found)
    n_warned = sum(each.level == "warn" for each in found)
    click.echo()
    if n_failed:
        click.echo(f"{n_failed} of {len(found)} checks failed")
        raise click.exceptions.Exit(1)
    click.echo("all is well" if not n_warned else f"it will work, with {count(n_warned, 'warning')}")


def _print(check: Check) -> None:
    from dhflow.cli.check import COLOURS

    click.echo(f"  {click.style(check.level.ljust(4), fg=COLOURS[check.level])}  {check.name.ljust(18)}  {check.text}")
    if check.advice:
        click.echo(f"{' ' * 28}-> {check.advice}")

"""``dhflow doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dhflow.cli.option import DEFAULT_SITE, Duration, Off, Setting, Verb


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
    from dhflow.cli.check import conclude, show_checks
    from dhflow.cli.check_disk import check_disk
    from dhflow.cli.check_install import check_install, check_machine
    from dhflow.cli.check_site import check_site

    found = show_checks("installation", check_install())
    found += show_checks("machine", check_machine())
    found += show_checks(f"file system of {path.resolve()}", check_disk(path))
    if site != "none":
        limit = None if isinstance(timeout, Off) else timeout
        found += show_checks(f"site {site}", check_site(site, dict(site_set), path, limit))
    conclude(found)

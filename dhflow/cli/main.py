"""The entry point: finds the verb, and turns what goes wrong into one message and an exit code.

Exit codes: 0 done, 1 an error, 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM,
129 after SIGHUP (a closed terminal).
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import click

from dhflow import __version__
from dhflow.errors import DhflowError
from dhflow.flow.interrupts import Interrupts

VERBS = {
    "search": "Search a problem's space for its best config.",
    "resume": "Go on with a search that ended or was interrupted.",
    "show": "Show a history: best trials, failures, utilisation.",
    "export": "Write a history as CSV, Parquet or JSON.",
    "plot": "Draw a history.",
    "compare": "Compare searchers on a problem, several runs each.",
    "nas": "Show a network of an architecture space.",
    "monitor": "Watch running trials: light, curve, verdict, advice.",
    "advise": "Say what is found about a trial, and what to do.",
    "accept": "Do what was suggested for a trial.",
    "stop": "Ask one running trial to end.",
    "enqueue": "Add a config of your own to a study; it runs before the searcher's.",
    "sites": "List the sites and their arguments; check one.",
    "doctor": "Check this installation, this file system and a site.",
}

_INTERRUPTED = 130
_EXIT_CODES = {"SIGTERM": 143, "SIGHUP": 129}
_EXIT_GRACE_S = 2.0


class LazyGroup(click.Group):
    """Verbs whose modules are imported when they are called, so that help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in the order of a user's way through them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        command = cast("click.Command", importlib.import_module(f"dhflow.cli.{cmd_name}").command)
        command.short_help = VERBS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a close one is named when there is none."""
        import difflib

        close = difflib.get_close_matches(args[0], VERBS, n=1)
        if args[0] not in VERBS and not args[0].startswith("-") and close:
            ctx.fail(f"there is no verb {args[0]!r}; did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB ...",
    epilog="dhflow VERB --help says more. A first search: dhflow search problem.py --max-trials 30",
)
@click.version_option(__version__, prog_name="dhflow")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the whole traceback of an error; log more.")
def cli() -> None:
    """Search hyperparameters asynchronously on a laptop, a cluster or a supercomputer."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit."""
    _leave(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one verb; return the exit code."""
    # Anywhere among the arguments, for those who add it to a line that just failed.
    debug = "--debug" in arguments
    arguments = [each for each in arguments if each != "--debug"]
    try:
        # SIGTERM and SIGHUP end a verb as Ctrl-C does: what is open is closed. A running search has its own handlers.
        with Interrupts(), _logged(debug=debug):
            code: Any = cli.main(arguments, prog_name="dhflow", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        known = _exit_code(error)
        if known is None or (debug and isinstance(error, DhflowError | OSError)):
            raise
        return known
    return code if isinstance(code, int) else 0


def _exit_code(error: BaseException) -> int | None:
    """Say what went wrong; return the exit code, or None where it is a mistake in dhflow itself."""
    match error:
        case click.ClickException():
            error.show()
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():
            # click puts an Abort in place of a KeyboardInterrupt.
            reason = str(error.__cause__ or error) or "interrupted"
            with suppress(OSError):  # the terminal may be closed
                click.echo(f"dhflow: {reason}", err=True)
            return next((code for name, code in _EXIT_CODES.items() if name in reason), _INTERRUPTED)
        case BrokenPipeError():
            # Whoever read our output has gone (`dhflow show h.h5 | head`); nothing is left to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        case DhflowError() | OSError():  # a full disk under our output, a folder that may not be written
            click.echo(f"dhflow: error: {_message(error)}", err=True)
            return 1
    return None


def _message(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        # As OSError's own text, but without the number.
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return "\n".join([text, *map(str, getattr(error, "__notes__", ()))])


class _StderrHandler(logging.Handler):
    """Writes to the standard error of the moment: a progress display puts its own in place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            click.echo(f"dhflow: {record.getMessage()}", err=True)
        except Exception:  # noqa: BLE001 - logging's own rule: never raise
            self.handleError(record)


@contextmanager
def _logged(*, debug: bool) -> Iterator[None]:
    logger = logging.getLogger("dhflow")
    handler, level = _StderrHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _leave(code: int) -> None:
    """Exit, also when a trial still hangs in a thread that nothing can end."""
    until = time.monotonic() + _EXIT_GRACE_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    sys.exit(code)

"""What all commands share: how help is asked for, errors in one line, and the status after an interrupt."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

import click

from flame_kernel.errors import FlameError

ROLES = ("observe", "execute", "files", "admin")

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

# What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


class OneLine(click.Group):
    """Shows our errors, and those of the operating system, as one line instead of a traceback."""

    def main(self, *args: Any, **keywords: Any) -> Any:
        """Read the arguments and run the command."""
        with errors_in_one_line():  # help, for instance, may have nowhere to go
            return super().main(*args, **keywords)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with errors_in_one_line():  # before click makes "Aborted!" of an interrupt
            return super().invoke(ctx)


class errors_in_one_line:  # used as a verb
    """Ends the process with one line and status 1 when an error comes by that the user can do something about.

    Without a line if nobody reads any more what the process prints (``| head``), and with status 130 after Ctrl-C.
    """

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            if sys.stderr is not None and sys.stderr.isatty():
                click.echo(err=True)  # ends the line on which the terminal shows ^C
            sys.exit(INTERRUPTED)
        if not isinstance(error, (FlameError, OSError)):
            return
        nobody_reads = (
            getattr(error, "errno", None) == errno.EPIPE and error.__cause__ is None
        )  # else it's a remote one
        if not nobody_reads:
            with suppress(OSError):  # it may be stderr that can't be written to
                click.echo(f"flame: {error}", err=True)
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)
        sys.exit(1)


def _let_go(stream: TextIO | None) -> None:
    """Drop what a stream holds if it can't be written; else Python would try once more as it exits, and say so."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):  # a stream that is no file, as tests have it
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

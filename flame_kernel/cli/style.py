"""What all commands share: how help is asked for, and errors in one line."""

from __future__ import annotations

import sys
from typing import Any

import click

from flame_kernel.errors import FlameError

ROLES = ("observe", "execute", "files", "admin")

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class OneLine(click.Group):
    """Shows our errors as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with errors_in_one_line():
            return super().invoke(ctx)


class errors_in_one_line:  # used as a verb
    """Ends the process with one line and status 1 when one of our errors comes by."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, FlameError):
            click.echo(f"flame: {error}", err=True)
            sys.exit(1)

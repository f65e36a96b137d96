"""How magics speak to the notebook's user: options that are wrong, errors in one line, notes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument

from flame_kernel.errors import FlameError, RemoteError

# What every magic that works on one connection takes.
target_argument = argument(
    "-t", "--target", metavar="NAME", help="the name of a connection; the default one unless told"
)

# What those take that can do it on several connections.
targets_argument = argument(
    "-t", "--target", metavar="NAMES", help="names of connections: a, or a,b, or all; the default one unless told"
)


def parse(magic: Callable[..., Any], line: str) -> Namespace:
    """Read a magic's line.

    Args:
        magic: The magic, which is decorated with ``magic_arguments``.
        line: What stands behind its name.

    Raises:
        UsageError: The line is wrong; the message says how it's right.
    """
    parser = magic.parser  # type: ignore[attr-defined]  # what magic_arguments gives it
    try:
        arguments: Namespace = parser.parse_argstring(line)
    except (UsageError, ValueError) as error:
        raise wrong(magic, str(error)) from None
    return arguments


def unquoted(text: str) -> str:
    """Return an argument without the quotes around it, which IPython leaves there.

    Example:
        >>> unquoted("'my data.csv'"), unquoted("data.csv")
        ('my data.csv', 'data.csv')
    """
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def wrong(magic: Callable[..., Any], what: str) -> UsageError:
    """Return the error that says what is wrong with a magic's line, and how it's right."""
    usage = magic.parser.format_usage()  # type: ignore[attr-defined]  # what magic_arguments gives it
    return UsageError(f"{what}\nusage: {' '.join(usage.replace('::', '').split())}")


def names(values: list[str] | None) -> list[str]:
    """Return the names in options that take several, such as ``-i x,y -i z``.

    Example:
        >>> names(["x, y", "z"])
        ['x', 'y', 'z']
    """
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


@contextmanager
def short_errors(*more: type[BaseException]) -> Iterator[None]:
    """Let our own errors show as one line: the notebook's user did nothing that a traceback would explain.

    Args:
        more: Other exceptions that say all there is to say.
    """
    ours: tuple[type[BaseException], ...] = (FlameError, *more)
    try:
        yield
    except SyntaxError as error:
        # IPython asks these not how they want to be shown: it would show the frames that carried them here.
        shown = RemoteError(type(error).__name__, str(error))
        shown._render_traceback_ = getattr(error, "_render_traceback_", partial(_line, error))  # type: ignore[attr-defined]
        raise shown from None
    except ours as error:
        # Remote code's own show their frames, unless they say all there is to say.
        if isinstance(error, more) or not hasattr(error, "_render_traceback_"):
            shorten(error)
        raise


def shorten(error: BaseException) -> BaseException:
    """Have IPython show an exception as one line; returns it."""
    # functools.partial, not a closure: the exception has to stay picklable.
    error._render_traceback_ = partial(_line, error)  # type: ignore[attr-defined]  # what IPython looks for
    return error


def say(text: str) -> None:
    """Tell the user something that isn't the session's own output."""
    print(f"[flame] {text}")  # noqa: T201  # what it's for


def _line(error: BaseException) -> list[str]:
    return [f"{type(error).__name__}: {error}"]

"""How magics speak to the notebook's user: options that are wrong, errors in one line, notes."""

from __future__ import annotations

import keyword
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument
from IPython.utils.text import DollarFormatter

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
    """Read a magic's line, whose words and quotes are those of a shell; a backslash is a character as others are.

    Args:
        magic: The magic, which is decorated with ``magic_arguments``.
        line: What stands behind its name.

    Raises:
        UsageError: The line is wrong; the message says how it's right.
    """
    parser = magic.parser  # type: ignore[attr-defined]  # what magic_arguments gives it
    try:
        arguments: Namespace = parser.parse_args(_words(line))
    except (UsageError, ValueError) as error:
        raise wrong(magic, str(error)) from None
    return arguments


def _words(line: str) -> list[str]:
    r"""Return the words of a magic's line, without their quotes.

    Example:
        >>> _words(r"-n 'my data' C:\new")
        ['-n', 'my data', 'C:\\new']
    """
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    return list(lexer)


def expanded(line: str, namespace: Mapping[str, Any]) -> str:
    """Return a line with ``$x`` and ``{x}`` replaced, as IPython does it itself where a line is nothing but options.

    Args:
        line: The line. It stays as it is when something in it names nothing.
        namespace: Where names are looked up.

    Example:
        >>> expanded("-t $host -o {name}", {"host": "gpu1", "name": "df"}), expanded("{nothing}", {})
        ('-t gpu1 -o df', '{nothing}')
    """
    try:
        return DollarFormatter().vformat(line, [], dict(namespace))
    except Exception:  # noqa: BLE001  # what stands in braces may raise anything
        return line


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


def pairs(values: list[str] | None) -> list[tuple[str, str]]:
    """Return the variables in options such as ``x,y`` or ``local=remote``, as pairs of local and remote name.

    Raises:
        UsageError: One can't be a variable's name.

    Example:
        >>> pairs(["x,here=there"])
        [('x', 'x'), ('here', 'there')]
    """
    found = []
    for name in names(values):
        local, equals, remote = (part.strip() for part in name.partition("="))
        found.append((variable(local, name), variable(remote, name) if equals else local))
    return found


def variable(name: str, written: str | None = None) -> str:
    """Return a variable's name.

    Args:
        name: The name.
        written: What the user has typed, if that is more.

    Raises:
        UsageError: It can't be one.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        inside = f" in {written!r}" if written not in (None, name) else ""
        raise UsageError(f"{name!r}{inside} is no variable's name: say x, or x,y, or local=remote")
    return name


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


def one_line(error: BaseException, text: str) -> BaseException:
    """Return an exception as a line of our own, which says what to do."""
    error.args = (text,)
    return shorten(error)


def say(text: str) -> None:
    """Tell the user something that isn't the session's own output."""
    print(f"[flame] {text}")  # noqa: T201  # what it's for


def _line(error: BaseException) -> list[str]:
    return [f"{type(error).__name__}: {error}"]

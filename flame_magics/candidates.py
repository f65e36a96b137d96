"""What may stand in the place of a magic's argument, by what the argument is called in its usage."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from IPython.core.completerlib import module_completion
from IPython.core.interactiveshell import InteractiveShell

from flame_kernel import Flame, known_hosts
from flame_magics.connections import ALL, Connections


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        shell: The running IPython.
        connections: The notebook's connections.
        flame: The connection that the line is about, if there is one.
        patience_s: How long it may take to answer, in seconds.
    """

    shell: InteractiveShell
    connections: Connections
    flame: Flame | None
    patience_s: float


Find = Callable[[Asked, str], Iterable[str]]


def _hosts(asked: Asked, word: str) -> Iterable[str]:
    return [*known_hosts(), *(one.target for one in asked.connections.items()), *_ssh_hosts()]


def _ssh_hosts() -> list[str]:
    """Return the hosts that ssh's own configuration names, without patterns."""
    config = Path("~/.ssh/config").expanduser()
    if not config.is_file():
        return []
    lines = [line.split() for line in config.read_text("utf-8", "replace").splitlines()]
    named = [name for words in lines if words and words[0].lower() == "host" for name in words[1:]]
    return [f"ssh://{name}" for name in named if not any(mark in name for mark in "*?!")]


def _names(asked: Asked, word: str) -> Iterable[str]:
    return [one.name for one in asked.connections.items()]


def _several_names(asked: Asked, word: str) -> Iterable[str]:
    return [*_names(asked, word), ALL]


def _sessions(asked: Asked, word: str) -> Iterable[str]:
    if asked.flame is None:
        return []
    return [session.name for session in asked.flame.sessions(timeout=asked.patience_s)]


def _kernels(asked: Asked, word: str) -> Iterable[str]:
    return [] if asked.flame is None else [one.name for one in asked.flame.kernels(timeout=asked.patience_s)]


def _remote_paths(asked: Asked, word: str) -> Iterable[str]:
    return [] if asked.flame is None else asked.flame.paths(word, timeout=asked.patience_s)


def _local_paths(asked: Asked, word: str) -> Iterable[str]:
    path = os.path.expanduser(word)
    found = sorted(glob.glob(f"{glob.escape(path)}*"))
    return [word + one[len(path) :] + "/" * os.path.isdir(one) for one in found]


def _variables(asked: Asked, word: str) -> Iterable[str]:
    hidden = asked.shell.user_ns_hidden
    return [
        name for name in asked.shell.user_ns if word.startswith("_") or not (name.startswith("_") or name in hidden)
    ]


def _remote_variables(asked: Asked, word: str) -> Iterable[str]:
    if asked.flame is None:
        return []
    found = asked.flame.evaluate("[*globals()]", timeout=asked.patience_s)
    return [name for name in found if word.startswith("_") or not name.startswith("_")]


def _remote_modules(asked: Asked, word: str) -> Iterable[str]:
    if asked.flame is None:
        return []
    code = f"import {word}"
    found = asked.flame.complete(code, timeout=asked.patience_s)
    return [code[: found.start].removeprefix("import ") + one.text for one in found]


def _local_modules(asked: Asked, word: str) -> Iterable[str]:
    files = [path for path in _local_paths(asked, word) if path.endswith((".py", "/"))]
    if "/" in word:
        return files
    return [*files, *(name for name in module_completion(f"import {word}") if name)]


# What an argument takes, by its metavar.
FINDERS: dict[str, Find] = {
    "HOST": _hosts,
    "NAME": _names,
    "NAMES": _several_names,
    "SESSION": _sessions,
    "KERNEL": _kernels,
    "LOCAL_PATH": _local_paths,
    "REMOTE_PATH": _remote_paths,
    "VARIABLE": _variables,
    "REMOTE_VARIABLE": _remote_variables,
    "LOCAL_MODULE": _local_modules,
    "REMOTE_MODULE": _remote_modules,
}

# Of these several may stand in one word: a,b or local=remote.
_LISTED = {"NAMES", "VARIABLE", "REMOTE_VARIABLE"}


def begun(kind: str, word: str) -> str:
    """Return the end of a word that is one thing.

    Example:
        >>> begun("VARIABLE", "x,y=lim"), begun("HOST", "gpu1:99")
        ('lim', 'gpu1:99')
    """
    if kind not in _LISTED:
        return word
    return word[max(word.rfind(","), word.rfind("=")) + 1 :]


def kinds(parser: argparse.ArgumentParser, before: Sequence[str]) -> list[str]:
    """Return what the next word of a magic's line may be, as metavars.

    Args:
        parser: The magic's parser.
        before: The words before it.
    """
    options = {name: action for action in parser._actions for name in action.option_strings}
    positional = [action for action in parser._actions if not action.option_strings]
    awaited: argparse.Action | None = None
    given = 0
    for word in before:
        if awaited is not None:
            awaited = None
        elif word in options:
            awaited = options[word] if options[word].nargs != 0 else None
        elif not word.startswith("-"):
            given += 1
    if awaited is not None:
        return [_kind(awaited)]
    found = []
    for index, action in enumerate(positional):
        several = action.nargs in ("+", "*")
        if index >= given or several:
            found.append(_kind(action))
            if not several:
                break
    return found or [_kind(action) for action in positional[-1:] if action.nargs in ("+", "*")]


def options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Return all options of a magic, with what they are for."""
    return [(name, action.help or "") for action in parser._actions for name in action.option_strings]


def choices(parser: argparse.ArgumentParser, before: Sequence[str]) -> list[str]:
    """Return the values of which the option takes one that was written last; empty if it takes any."""
    for action in parser._actions:
        if before and before[-1] in action.option_strings and action.choices:
            return [str(choice) for choice in action.choices]
    return []


def _kind(action: argparse.Action) -> str:
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()

"""Tab: remote names in ``%%flame`` cells, and what may stand in the line of each magic.

IPython asks one matcher after the other. This one comes first and, where it knows something, is the last. It may take
0.3 s, whatever the network does: then the local ones answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from IPython.core import guarded_eval
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell

from flame_kernel import Flame
from flame_kernel.errors import FlameError
from flame_magics import candidates
from flame_magics.connections import Connections
from flame_magics.places import Arguments, Code, find

# How long somebody who has pressed a key waits for the remote side, in seconds.
PATIENCE_S = 0.3

# Before IPython's own, which would take their time to find local names.
_FIRST = 1_000

# Our proxies, of which IPython's own evaluator takes attributes when jedi is switched off: it does so of few classes.
_PROXIES = (
    ("flame_kernel.client.modules", "Modules"),
    ("flame_kernel.client.calls.proxies", "RemoteObject"),
    ("flame_kernel.client.calls.handles", "Handle"),
)


class Completing:
    """Completes.

    Args:
        shell: The running IPython.
        connections: The notebook's connections.
    """

    def __init__(self, shell: InteractiveShell, connections: Connections) -> None:
        self._shell = shell
        self._connections = connections

        @context_matcher(priority=_FIRST, identifier="flame_magics")
        def match(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        self._matcher = match

    def load(self) -> None:
        """Begin."""
        completer = self._shell.Completer
        completer.custom_matchers.append(self._matcher)
        if hasattr(completer, "policy_overrides"):  # IPython 9
            ours = {"allowed_getattr_external": _allowed() | set(_PROXIES)}
            completer.policy_overrides = {**ours, **completer.policy_overrides}

    def unload(self) -> None:
        """End."""
        self._shell.Completer.custom_matchers.remove(self._matcher)

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        place = find(context.full_text.split("\n"), context.cursor_line, context.cursor_position)
        # A key that the user presses must not end in a traceback: whatever goes wrong, the local matchers answer.
        with contextlib.suppress(FlameError, OSError):
            if isinstance(place, Code):
                return self._remote(place)
            if isinstance(place, Arguments):
                return self._arguments(place)
        return _result([], "")

    def _remote(self, place: Code) -> SimpleMatcherResult:
        flame = available(self._connections, place.target)
        if flame is None:
            return _result([], "")
        found = flame.complete(place.code, place.cursor, timeout=PATIENCE_S)
        fragment = place.code[found.start : place.cursor]
        return _result([SimpleCompletion(text=one.text, type=one.type or None) for one in found], fragment)

    def _arguments(self, place: Arguments) -> SimpleMatcherResult:
        magic = self._shell.find_magic(place.magic, "cell" if place.cell else "line")
        parser = getattr(magic, "parser", None)
        if parser is None:
            return _result([], "")
        if place.word.startswith("-"):
            return _result(_beginning([name for name, _ in candidates.options(parser)], place.word), place.word)
        if listed := candidates.choices(parser, place.before):
            return _result(_beginning(listed, place.word), place.word)
        flame = available(self._connections, place.target)
        asked = candidates.Asked(self._shell, self._connections, flame, PATIENCE_S)
        for kind in candidates.kinds(parser, place.before):
            finder = candidates.FINDERS.get(kind)
            word = candidates.begun(kind, place.word)
            found = _beginning(finder(asked, word), word) if finder is not None else []
            if found:
                return _result(found, word)
        return _result([], "")


def available(connections: Connections, name: str) -> Flame | None:
    """Return a connection that can be asked at once; ``None`` if there's none. It starts nothing, unlike a magic.

    Args:
        connections: The notebook's connections.
        name: Its name; empty for the default one.
    """
    for connected in connections.items():
        if connected.name == (name or connections.default) and not connected.flame.closed:
            return connected.flame
    return None


def _beginning(names: Iterable[str], word: str) -> list[SimpleCompletion]:
    return [
        SimpleCompletion(text=name, type="magic argument") for name in dict.fromkeys(names) if name.startswith(word)
    ]


def _result(found: list[SimpleCompletion], fragment: str) -> SimpleMatcherResult:
    return SimpleMatcherResult(completions=found, matched_fragment=fragment, suppress=bool(found))


def _allowed() -> set[tuple[str, ...] | str]:
    allowed: set[tuple[str, ...] | str] = guarded_eval.EVALUATION_POLICIES["limited"].allowed_getattr_external  # type: ignore[attr-defined]
    return set(allowed)

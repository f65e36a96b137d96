"""How the last cells of a session ended, for a server that was not there when they did."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

# Cells that ended longer ago than this many are forgotten.
_MOST = 256


class Endings:
    """Remembers what the replies to the last cells said."""

    def __init__(self) -> None:
        self._endings: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def note(self, msg_id: str, count: int | None, error: BaseException | None, traceback: Sequence[str]) -> None:
        """Note how a cell ended.

        Args:
            msg_id: The id of the request for it.
            count: Its number in the history.
            error: The exception it raised, if any.
            traceback: The lines that were shown of it.
        """
        ending: dict[str, Any] = {"status": "ok", "execution_count": count}
        if error is not None:
            ending.update(status="error", ename=type(error).__name__, evalue=str(error), traceback=list(traceback))
        self._endings[msg_id] = ending
        while len(self._endings) > _MOST:
            self._endings.popitem(last=False)

    def report(self, msg_ids: Sequence[str]) -> str:
        """Return how cells ended, as a JSON object by the ids of their requests; without those that did not end."""
        return json.dumps({msg_id: self._endings[msg_id] for msg_id in msg_ids if msg_id in self._endings})

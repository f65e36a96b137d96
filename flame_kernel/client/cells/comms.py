"""Comms between widgets over there and the notebook here: this process's kernel passes them on, both ways.

A comm that a cell of ours opens over there is opened here as well, with the same id and buffers as they came, so that
the front end finds the widget's model. What the front end says to it goes to the session with the id of the front end's
own message: then what comes of it there (outputs, echoes of a state) is known here by that id, as widgets expect.
"""

from __future__ import annotations

import contextvars
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flame_kernel.buffers import Buffer
from flame_kernel.client.cells.display import Display, Notebook, here
from flame_kernel.protocol.jupyter import Channel, Envelope, compose, read_json

KINDS = frozenset({"comm_open", "comm_msg", "comm_close"})

# Cells and messages of the front end whose late words are still shown in their place; beyond this many the oldest goes.
_REMEMBERED = 1024


class LocalComm(Protocol):
    """A comm as the package ``comm`` has it."""

    def send(self, data: Any, metadata: Any, buffers: Any) -> None:
        """Say something to the front end."""

    def close(self, data: Any) -> None:
        """Close it at the front end."""

    def on_msg(self, callback: Callable[[dict[str, Any]], None] | None) -> None:
        """Have a function called with what the front end says."""

    def on_close(self, callback: Callable[[dict[str, Any]], None] | None) -> None:
        """Have a function called when the front end closes it."""


@dataclass(frozen=True)
class _Relayed:
    comm: LocalComm
    context: contextvars.Context  # what ipykernel knows the cell by that opened it


@dataclass(frozen=True)
class _Place:
    """Where what a message causes is shown."""

    display: Display
    context: contextvars.Context


class Comms:
    """The comms of one connection.

    Args:
        send: Sends the session's kernel a message on its shell channel; may be called on any thread.
    """

    def __init__(self, send: Callable[[Envelope], None]) -> None:
        self._send = send
        self._relayed: dict[str, _Relayed] = {}
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._own_ids: OrderedDict[str, str] = OrderedDict()
        self._over = ""

    def begin(self, msg_id: str, display: Display) -> None:
        """A cell is about to run, which shows its outputs on a display."""
        if isinstance(display, Notebook):
            _remember(self._own_ids, msg_id, display.cell_id())

    def end(self, msg_id: str, display: Display) -> None:
        """A cell has ended; what its threads and widgets still say is shown in its place."""
        if isinstance(display, Notebook):
            _remember(self._places, msg_id, _Place(display, contextvars.copy_context()))

    def take(self, kind: str, envelope: Envelope) -> None:
        """Take a message of a comm; called where the cell is shown that it belongs to."""
        content = envelope.content()
        comm_id, data = str(content.get("comm_id", "")), content.get("data") or {}
        metadata, buffers = read_json(envelope.parts[2]) or {}, list(envelope.parts[4:])
        self._correct(data)
        if kind == "comm_open":
            self._open(comm_id, content, data, metadata, buffers)
            return
        relayed = self._relayed.get(comm_id)
        if relayed is None:
            return
        if kind == "comm_msg":
            relayed.comm.send(data, metadata, buffers)
        else:
            self._forget(comm_id)
            relayed.comm.close(data)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> bool:
        """Take what belongs to no running cell, if it's of a comm, of a message to one, or of a cell that has ended."""
        if channel is not Channel.IOPUB or not (self._relayed or self._places):
            return False
        parent = envelope.parent()
        kind = envelope.header().msg_type
        place = None if parent is None else self._places.get(parent.msg_id)
        if place is not None:
            place.context.run(self._show, place.display, kind, envelope)
        elif kind in KINDS:
            relayed = self._relayed.get(str(envelope.content().get("comm_id", "")))
            if relayed is None:
                return False  # of another client's cell
            relayed.context.run(self.take, kind, envelope)
        else:
            return False
        return True

    def over(self, why: str) -> None:
        """The connection or the process over there has ended: the widgets stay in the notebook, and lead nowhere."""
        self._over = why

    def _open(self, comm_id: str, content: dict[str, Any], data: Any, metadata: Any, buffers: list[Buffer]) -> None:
        package: Any = sys.modules.get("comm")  # where a kernel runs it's there already
        if package is None or comm_id in self._relayed:
            return
        comm: LocalComm = package.create_comm(
            target_name=str(content.get("target_name") or ""),
            target_module=content.get("target_module"),
            data=data,
            metadata=metadata,
            buffers=buffers,
            comm_id=comm_id,
        )
        self._relayed[comm_id] = _Relayed(comm, contextvars.copy_context())
        comm.on_msg(lambda message: self._pass_on("comm_msg", comm_id, message))
        comm.on_close(lambda message: self._closed(comm_id, message))

    def _pass_on(self, kind: str, comm_id: str, message: dict[str, Any]) -> None:
        display = here()
        if self._over:
            display.stream("stderr", f"[flame] this widget leads nowhere any more: {self._over}\n")
            return
        msg_id = str((message.get("header") or {}).get("msg_id", ""))
        content = {"comm_id": comm_id, "data": (message.get("content") or {}).get("data", {})}
        passed = compose(kind, content, session="flame-client", metadata=message.get("metadata") or {}, msg_id=msg_id)
        _remember(self._places, passed.header().msg_id, _Place(display, contextvars.copy_context()))
        self._send(Envelope((), (*passed.parts, *(message.get("buffers") or ()))))

    def _closed(self, comm_id: str, message: dict[str, Any]) -> None:
        self._forget(comm_id)
        if not self._over:
            self._pass_on("comm_close", comm_id, message)

    def _forget(self, comm_id: str) -> None:
        relayed = self._relayed.pop(comm_id, None)
        if relayed is not None:
            relayed.comm.on_msg(None)
            relayed.comm.on_close(None)

    def _correct(self, data: Any) -> None:
        """Have a widget that captures the outputs of a cell wait for those of the notebook's own cell."""
        state = data.get("state") if isinstance(data, dict) else None
        if isinstance(state, dict) and state.get("msg_id") in self._own_ids:
            state["msg_id"] = self._own_ids[state["msg_id"]]

    def _show(self, display: Display, kind: str, envelope: Envelope) -> None:
        if kind in KINDS:
            self.take(kind, envelope)
            return
        content = envelope.content()
        if kind == "stream":
            display.stream(str(content.get("name")), str(content.get("text")))
        elif kind in ("display_data", "update_display_data"):
            display.data(content, update=kind == "update_display_data")
        elif kind == "clear_output":
            display.clear(bool(content.get("wait")))
        elif kind == "error":
            display.stream("stderr", "\n".join(content.get("traceback", ())) + "\n")


def _remember(places: OrderedDict[str, Any], msg_id: str, what: Any) -> None:
    places[msg_id] = what
    while len(places) > _REMEMBERED:
        places.popitem(last=False)

"""The messages that a bridge makes itself: what a kernel would say if there were one, and its own news."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flame_kernel import __version__
from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError
from flame_kernel.kernel.begun import Begun
from flame_kernel.protocol.jupyter import PROTOCOL_VERSION, Channel, Envelope, compose

Send = Callable[[Channel, Envelope], None]

_LANGUAGE = {
    "name": "python",
    "version": platform.python_version(),
    "mimetype": "text/x-python",
    "file_extension": ".py",
    "pygments_lexer": "ipython3",
    "codemirror_mode": {"name": "ipython", "version": 3},
    "nbconvert_exporter": "python",
}


class Answers:
    """Makes messages and sends them to the notebook.

    Args:
        send: Sends a message on a channel.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        # Frontends drop queued messages when the session id in headers changes, so the kernel's own is used once it is
        # known.
        self.session = uuid.uuid4().hex
        self.begun = Begun()  # what the session has said is not said again

    def reply(self, channel: Channel, request: Envelope, msg_type: str, content: dict[str, Any]) -> None:
        """Answer a request, with the busy and idle status that a kernel puts around it."""
        self._busy(request)
        self._reply(channel, request, msg_type, content)
        self.status("idle", request.parts[0])

    def shut_down(self, channel: Channel, request: Envelope, restart: bool) -> None:
        """Tell the one who asked, and everyone else, that this kernel ends."""
        parent = request.parts[0]
        content = {"status": "ok", "restart": restart}
        self.status("busy", parent)
        self._publish("shutdown_reply", content, parent, b"shutdown")
        self._reply(channel, request, "shutdown_reply", content)
        self.status("idle", parent)

    def status(self, state: str, parent: Buffer = b"{}") -> None:
        """Publish the execution state."""
        self._publish("status", {"execution_state": state}, parent, b"status")

    def stream(self, text: str, parent: Buffer, name: str = "stderr") -> None:
        """Show a line of our own below a cell."""
        self._publish("stream", {"name": name, "text": text}, parent, b"stream." + name.encode("ascii"))

    def display(self, data: dict[str, str], display_id: str, update: bool, parent: Buffer) -> None:
        """Show something below a cell that can be changed in place.

        Args:
            data: MIME types to text.
            display_id: What the display is known by.
            update: Whether it takes the place of what was shown before.
            parent: The cell's header.
        """
        kind = "update_display_data" if update else "display_data"
        content = {"data": data, "metadata": {}, "transient": {"display_id": display_id}}
        self._publish(kind, content, parent, kind.encode("ascii"))

    @contextmanager
    def executing(self, request: Envelope) -> Iterator[None]:
        """Carry out a cell here: says what a kernel says around it, and whether it went well."""
        parent, count = request.parts[0], self.begun.count(request)
        self._busy(request)
        asked = request.content()
        if count is None and not asked.get("silent"):
            shown = {"code": asked.get("code", ""), "execution_count": 0}
            self._publish("execute_input", shown, parent, b"execute_input")
        # JupyterLab shows a cell that ended well with the count 0 as running.
        content: dict[str, Any] = {"status": "ok", "execution_count": 1}
        try:
            yield
        except FlameError as error:
            failure = {
                "ename": type(error).__name__,
                "evalue": str(error),
                "traceback": [f"{type(error).__name__}: {error}"],
            }
            self._publish("error", failure, parent, b"error")
            content = {"status": "error", "execution_count": count or 0, **failure}
        content |= {"user_expressions": {}, "payload": []}
        self._reply(Channel.SHELL, request, "execute_reply", content)
        self.status("idle", parent)

    def welcome(self, topic: bytes) -> None:
        """Tell a new subscriber that it is heard (JEP 65)."""
        self._publish("iopub_welcome", {"subscription": topic.decode("utf-8", "replace")}, b"{}", topic)

    def session_lost(self, requests: list[tuple[Channel, Envelope]], error: FlameError, last_cell: Buffer) -> None:
        """Answer what the session has left without an answer.

        Args:
            requests: What it was asked, the running cell first.
            error: What befell it, in a line for the user; it's shown once.
            last_cell: The header of the last cell, which shows it when none is running.
        """
        told = False
        for channel, request in requests:
            if request.header().msg_type != "execute_request":
                self.without_session(channel, request, error)
            elif not told:
                self.fail(request, error)
                told = True
            else:
                self.reply(channel, request, "execute_reply", {"status": "aborted"})
        if not told:
            self.stream(f"[flame] {error}\n", last_cell)

    def without_session(self, channel: Channel, request: Envelope, error: FlameError) -> None:
        """Answer a request while there is no session to pass it to.

        Args:
            channel: Where it came from.
            request: The request.
            error: Why there's none, in a line for the user.
        """
        header = request.header()
        if header.msg_type == "execute_request":
            self.fail(request, error)
            return
        content = _EMPTY.get(header.msg_type)
        if header.msg_type == "kernel_info_request":
            content = _kernel_info(error)
        if content is not None:
            self.reply(channel, request, header.msg_type.replace("_request", "_reply"), {"status": "ok", **content})

    def fail(self, request: Envelope, error: FlameError) -> None:
        """Answer a cell with an error of ours."""
        with self.executing(request):
            raise error

    def _busy(self, request: Envelope) -> None:
        if request not in self.begun:
            self.status("busy", request.parts[0])

    def _reply(self, channel: Channel, request: Envelope, msg_type: str, content: dict[str, Any]) -> None:
        envelope = compose(
            msg_type, content, session=self.session, parent=request.parts[0], identities=request.identities
        )
        self._send(channel, envelope)

    def _publish(self, msg_type: str, content: dict[str, Any], parent: Buffer, topic: bytes) -> None:
        self._send(Channel.IOPUB, compose(msg_type, content, session=self.session, parent=parent, identities=(topic,)))


_EMPTY: dict[str, dict[str, Any]] = {
    "complete_request": {"matches": [], "cursor_start": 0, "cursor_end": 0, "metadata": {}},
    "inspect_request": {"found": False, "data": {}, "metadata": {}},
    "history_request": {"history": []},
    "is_complete_request": {"status": "unknown"},
    "comm_info_request": {"comms": {}},
    "usage_request": {},
    "interrupt_request": {},
}


def _kernel_info(error: FlameError) -> dict[str, Any]:
    return {
        "protocol_version": PROTOCOL_VERSION,
        "implementation": "remote-flame",
        "implementation_version": __version__,
        "language_info": _LANGUAGE,
        "banner": f"Remote Flame {__version__}: {error}",
        "help_links": [],
        "supported_features": [],
    }

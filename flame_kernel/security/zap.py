"""The ZAP handler of a server: libzmq asks it for each handshake whether the key may come in (RFC 27).

pyzmq's own does the same with an asynchronous poller, futures and a task, which took half a millisecond more.
"""

from __future__ import annotations

import asyncio
from typing import Any

import zmq

from flame_kernel.security.admission import Admission
from flame_kernel.security.curve import DOMAIN
from flame_kernel.security.question import ZAP_ADDRESS, Question

_READABLE = int(zmq.POLLIN)


class ZapHandler:
    """Answers libzmq's questions in an event loop.

    Frames that arrive from who was let in carry the client's public key, in Z85, as ``frame["User-Id"]``.

    Args:
        context: The context of the server's sockets; it has one ZAP handler at most.
        admission: Who is let in.
        domain: The ZAP domain; sockets of other domains admit nobody.

    Example:
        ``handler = ZapHandler(context, admission); handler.start()``
    """

    def __init__(self, context: zmq.Context[Any], admission: Admission, domain: str = DOMAIN) -> None:
        self._context = context
        self._admission = admission
        self._domain = domain

    def start(self) -> None:
        """Begin, inside the event loop and before the sockets are bound."""
        self._loop = asyncio.get_running_loop()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER, socket_class=zmq.Socket)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ADDRESS)
        self._descriptor = self._socket.getsockopt(zmq.FD)
        self._loop.add_reader(self._descriptor, self._look)
        self._look()

    def stop(self) -> None:
        """End it; nobody is admitted any more."""
        self._loop.remove_reader(self._descriptor)
        self._socket.close(0)

    def _look(self) -> None:
        # Its descriptor tells of changes only, so that it's asked until nothing is there; one question a turn of the
        # loop, so that a flood of them doesn't keep everybody else waiting.
        if not self._socket.closed and int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE:
            self._loop.call_soon(self._look)
            self._answer(self._socket.recv_multipart())

    def _answer(self, frames: list[bytes]) -> None:
        question = Question.read(frames)
        if question is None:
            return
        self._admission.asked_from = question.address
        admitted = question.may_ask(self._domain) and self._admission.callback(self._domain, question.key)
        self._socket.send_multipart(question.answer(admitted))

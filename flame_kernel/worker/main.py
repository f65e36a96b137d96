"""The worker's threads: they take turns at waiting, and the one that gets a call carries it out.

Handing a call to another thread would cost a wake-up on the way of every call. Instead whoever received it leaves the
waiting to the next thread (the leader/followers pattern), so that calls run side by side, and beside the session's
cells.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

from flame_kernel.protocol.calls import CallRequest, Outcome, decode_request, encode_answer
from flame_kernel.protocol.conversation import Message
from flame_kernel.serialize import Format, dump, load
from flame_kernel.transport.shared import SharedSocket, bind_rendezvous
from flame_kernel.worker import failures, permits, streams
from flame_kernel.worker.callers import Caller, Callers
from flame_kernel.worker.endings import Endings
from flame_kernel.worker.operations import Operations

# Calls that run at the same time; one more waits until one of them has ended.
MAX_THREADS = 64


class Worker:
    """Serves the calls that come over one socket.

    Args:
        socket: Where they come from.
        operations: What carries them out.
    """

    def __init__(self, socket: SharedSocket, operations: Operations) -> None:
        self._socket = socket
        self._operations = operations
        self._callers = Callers(socket.send, os.urandom(16))
        self._turn = threading.Lock()
        self._count_lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def start(self) -> None:
        """Begin to serve, on threads that end with the process."""
        self._hire()

    def _hire(self) -> None:
        with self._count_lock:
            if self._idle > 0 or self._threads >= MAX_THREADS:
                return
            self._threads += 1
            self._idle += 1
            name = f"flame-call-{self._threads}"
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while True:
            with self._turn:
                taken = self._next()
            if taken is None:
                return
            with self._count_lock:
                self._idle -= 1
            self._hire()
            self._carry_out(*taken)
            with self._count_lock:
                self._idle += 1

    def _next(self) -> tuple[Caller, Message] | None:
        while True:
            frames = self._socket.receive()
            if frames is None:
                return None
            taken = self._callers.take(frames)
            if taken is not None:
                return taken

    def _carry_out(self, caller: Caller, message: Message) -> None:
        number = message.number

        def emit(stream: Outcome, text: str) -> None:
            # A lone surrogate, such as an undecodable file name holds, must not cost the call its result.
            caller.answer(encode_answer(stream, number, 0, [text.encode("utf-8", "backslashreplace")]))

        sink = streams.Sink(emit)
        plain = False
        try:
            request = decode_request(message.parts)
            permits.require(caller.over, request.operation)
            plain = request.plain
            with streams.printing_to(sink):
                form, parts = self._run(request)
            outcome = Outcome.RESULT
        except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt belong to the caller as well
            outcome = Outcome.ERROR
            form, parts = failures.encode(error, plain)
        caller.answer(encode_answer(outcome, number, form, parts))

    def _run(self, request: CallRequest) -> tuple[Format, Any]:
        operands = load(request.format, request.operands, request.plain)
        return dump(self._operations.run(request.operation, operands), request.plain)


def start(address: str) -> None:
    """Load the worker into this process, once.

    Args:
        address: Where it shall wait for calls, ``ipc://path``.
    """
    namespace: MutableMapping[str, Any] = vars(sys.modules["__main__"])
    shell = _shell()
    if shell is not None:
        namespace = shell.user_ns
    operations = Operations(namespace)
    if shell is not None:
        # Where a silent cell of the server's finds it, as IPython's extensions have it.
        shell.flame_endings = endings = Endings()
        shell.events.register("post_run_cell", lambda result: _keep(shell, operations, endings, result))
    Worker(bind_rendezvous(address), operations).start()


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _keep(shell: Any, operations: Operations, endings: Endings, result: Any) -> None:
    parent = shell.get_parent()
    msg_id = parent["header"]["msg_id"]
    error = result.error_before_exec or result.error_in_exec
    endings.note(msg_id, result.execution_count, error, getattr(shell, "_last_traceback", None) or ())
    if (parent.get("metadata") or {}).get("flame"):
        operations.keep_outcome(msg_id, result.result, error)

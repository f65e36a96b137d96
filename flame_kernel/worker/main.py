"""The worker: calls that come in are carried out and answered, on the threads of its crew."""

from __future__ import annotations

import os
import sys
import traceback
from collections import deque
from collections.abc import MutableMapping
from contextlib import nullcontext
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, LimitExceeded, ProtocolError
from flame_kernel.protocol.calls import (
    Operation,
    Outcome,
    asked,
    call_number,
    decode_requests,
    encode_answer,
)
from flame_kernel.protocol.conversation import Message
from flame_kernel.serialize import load
from flame_kernel.transport.entrance import Entrance, control_address, open_entrance
from flame_kernel.worker import answers, displays, failures, permits, postmortem, publishing, streams, subprocesses
from flame_kernel.worker.absence import LEASE_S, Absence
from flame_kernel.worker.admitted import Authority
from flame_kernel.worker.answers import ByReference
from flame_kernel.worker.callers import Caller, Callers
from flame_kernel.worker.crew import Crew
from flame_kernel.worker.direct import DirectDoor
from flame_kernel.worker.endings import Endings
from flame_kernel.worker.operations import Operations
from flame_kernel.worker.ports import Ports
from flame_kernel.worker.running import Call, Running, State
from flame_kernel.worker.transfers import MOST, Transfers

_ITS_OWN = nullcontext()  # where a call prints that nobody waits for: where the session does

# What is about other calls, and has to be done beside them.
_AT_ONCE = frozenset({Operation.HOLD, Operation.INTERRUPT})

# What is not carried out by the crew: that, and what is about ports.
_APART = _AT_ONCE | permits.PORTS

_RELEASE = Operation.RELEASE  # in Python 3.11 looking up an enum's member takes as long as a small call


class Worker:
    """Serves the calls that come in.

    Args:
        entrance: Where they come in.
        operations: What carries them out.
        lease_s: How long objects are held for a client that can't be reached, in seconds.
        transfers: How many may copy files at a time.
        direct: Who comes over TCP.
    """

    def __init__(
        self,
        entrance: Entrance,
        operations: Operations,
        lease_s: float = LEASE_S,
        transfers: int = MOST,
        direct: DirectDoor | None = None,
    ) -> None:
        self._entrance = entrance
        self._direct = direct or DirectDoor(entrance.router)
        self._operations = operations
        self._objects = operations.objects
        self._transfers = Transfers(transfers)
        self._ports = Ports(lease_s)
        admitted = self._direct.admitted
        self._callers = Callers(
            entrance.send, os.urandom(16), self._on_gone, self._on_ended, admitted, entrance.hang_up
        )
        entrance.place = self._callers.place
        self._running = Running()
        self._absence = Absence(self._objects, self._callers.reachable, lease_s)
        self._unsent: deque[Caller] = deque()  # whose answers wait for more to go with them
        self._crew = Crew(self._listen, self._carry_out, self._send_answers)

    def start(self) -> None:
        """Begin to serve, on threads that end with the process."""
        self._crew.start()

    def _listen(self) -> bool:
        """Wait until something comes, and sort it; false once the socket is closed."""
        frames = self._entrance.receive(self._absence.wait_s)
        if frames is None:
            if self._entrance.closed:
                return False
            self._absence.look()
            return True
        taken = self._callers.take(frames, self._origin)
        if taken is not None:
            caller, message, ack = taken
            self._sort(caller, message)
            caller.forget_kept(ack)
        return True

    def _send_answers(self) -> None:
        while self._unsent:
            try:
                caller = self._unsent.popleft()
            except IndexError:  # another thread was quicker
                return
            caller.flush()

    def _origin(self, peer: bytes) -> Authority:
        frame = self._entrance.frame
        return Authority(peer) if frame is None else self._direct.recognise(peer, frame)

    def _sort(self, caller: Caller, message: Message) -> None:
        """Have the calls in a message carried out; what is about other calls is done on the spot."""
        try:
            requests = decode_requests(message.number, message.parts)
        except FlameError as error:
            self._answer_error(caller, call_number(message.number), error, plain=False)
            return
        for number, head, operands in requests:
            try:
                what = asked(bytes(head))
            except FlameError as error:
                self._answer_error(caller, number, error, plain=False)
                continue
            call = Call(caller, number, what, operands)
            if what.operation in _APART:
                self._see_to(call)
                continue
            self._running.add(call)
            try:
                self._crew.put(call)
            except LimitExceeded as error:
                self._running.remove(call)
                self._refuse(call, error)

    def _see_to(self, call: Call) -> None:
        """Deal with what is about other calls, or about ports."""
        if call.asked.operation in _AT_ONCE:
            self._at_once(call)
        else:
            self._pass_on(call)

    def _refuse(self, call: Call, error: Exception) -> None:
        if not call.asked.oneway:
            self._answer_error(call.caller, call.number, error, call.asked.plain)

    def _at_once(self, call: Call) -> None:
        caller, what = call.caller, call.asked
        try:
            operands = load(what.format, call.operands, what.plain)
            if what.operation is Operation.HOLD:
                value: Any = ByReference(caller.kept(*_integers(operands, 1)))
            else:
                value = self._interrupt(operands)
            parts, _ = answers.encode(value, call.number, what.plain, self._objects, caller.client)
        except Exception as error:  # noqa: BLE001  # a hostile operand may raise anything; its sender hears of it
            self._refuse(call, error)
            return
        if not what.oneway:
            caller.answer(parts)

    def _pass_on(self, call: Call) -> None:
        try:
            permits.require(call.caller.authority.name, call.asked.operation)
            self._ports.take(call)
        except FlameError as error:
            self._refuse(call, error)

    def _interrupt(self, operands: Any) -> bool:
        if not isinstance(operands, (tuple, list)) or len(operands) != 2 or not isinstance(operands[0], str):
            raise ProtocolError("an interrupt came that names no call")
        return self._running.interrupt(bytes.fromhex(operands[0]), *_integers(operands[1:], 1))

    def _carry_out(self, call: Call) -> None:
        caller, number = call.caller, call.number
        operation, form, plain, oneway, rich = call.asked
        sink = streams.Sink(call, rich)
        value = keep = None
        try:
            if operation in permits.FILES:  # else both have nothing to say
                permits.require(caller.authority.name, operation)
                self._transfers.require(caller.name, operation)
            call.begin()
            with _ITS_OWN if oneway else sink:
                operands = self._operations.load(form, call.operands, plain)
                if operation is _RELEASE:
                    self._objects.release(caller.client, _pairs(operands))
                else:
                    value = self._operations.run(operation, operands)
                parts, keep = answers.encode(value, number, plain, self._objects, caller.client)
            call.end()
        except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt belong to the caller as well
            call.state = State.ENDED  # before anything is called, so at most one more interrupt is on its way
            try:  # noqa: SIM105  # to call suppress is where it may arrive as well
                call.end()
            except KeyboardInterrupt:
                pass  # that one
            keep = False
            parts = _failed(error, number, plain)
            postmortem.keep(error)
            if oneway:
                _tell_of(error)
        self._running.remove(call)
        if oneway:
            return
        if call.processes:
            for started in call.processes:
                started.finish()
            sink.close()
        if caller.end(number, parts, (value,) if keep else (), self._crew.more):
            self._unsent.append(caller)

    def _answer_error(self, caller: Caller, number: int, error: BaseException, plain: bool) -> None:
        caller.answer(_failed(error, number, plain))

    def _on_gone(self, client: bytes) -> None:
        self._absence.left(client)

    def _on_ended(self, name: bytes) -> None:
        self._transfers.left(name)
        self._ports.left(name)


def _failed(error: BaseException, number: int, plain: bool) -> list[Buffer]:
    form, parts = failures.encode(error, plain)
    return encode_answer(Outcome.ERROR, number, form, parts)


def _tell_of(error: BaseException) -> None:
    """Nobody waits for the answer of a oneway call; what it raised shall be seen all the same."""
    tb = failures.user_frames(error.__traceback__)
    sys.stderr.write("".join(traceback.format_exception(type(error), error, tb)))


def _integers(operands: Any, count: int) -> list[int]:
    if not isinstance(operands, (tuple, list)) or len(operands) != count or any(type(n) is not int for n in operands):
        raise ProtocolError("a call came without the numbers that it needs")
    return list(operands)


def _pairs(operands: Any) -> list[tuple[int, int]]:
    if not isinstance(operands, (tuple, list)) or len(operands) != 1 or not isinstance(operands[0], (tuple, list)):
        raise ProtocolError("a call came without the objects to release")
    return [(number, times) for number, times in (_integers(pair, 2) for pair in operands[0])]


def start(address: str, transfers: int = MOST) -> None:
    """Load the worker into this process, once.

    Args:
        address: Where it shall wait for calls, ``ipc://path``.
        transfers: How many may copy files at a time.
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
        displays.listen(shell.display_pub)
        for stream in (sys.stdout, sys.stderr):
            publishing.spare(stream)
        publisher = getattr(getattr(shell, "kernel", None), "iopub_thread", None)
        if publisher is not None:
            shell.events.register("pre_run_cell", lambda info: publishing.drop_nothing(publisher))
    subprocesses.listen()
    entrance = open_entrance(address)
    direct = DirectDoor(entrance.router)
    direct.start(control_address(address))
    Worker(entrance, operations, transfers=transfers, direct=direct).start()


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

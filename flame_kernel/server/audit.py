"""What goes into the audit log: who, when, which session, what kind of operation; never code, values or output.

The first of a kind is written at once. The same again, by the same, within a minute is counted and written as one line
with a ``count``: so a fast client costs a counter a message, and nobody outside can fill the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flame_kernel.errors import FlameError
from flame_kernel.protocol import messages
from flame_kernel.security.text_files import one_line
from flame_kernel.server.peers import Caller
from flame_kernel.server.permits import Grant
from flame_kernel.server.session import SessionKey

EVERY_S = 60.0

# How many different refusals are told apart within a minute; those beyond are counted together.
_REFUSALS = 16

_REQUESTS: dict[type, str] = {
    messages.Interrupt: "interrupt",
    messages.Restart: "restart",
    messages.Close: "end",
    messages.Rename: "rename",
    messages.Detach: "detach",
    messages.Share: "share",
    messages.Unshare: "unshare",
}

# What a Jupyter message does that is worth a line; the rest (completion, widgets, …) is not.
_SAID = {"execute_request": "execute", "input_reply": "input", "debug_request": "debug"}

Record = dict[str, Any]


@dataclass
class _Counted:
    record: Record
    more: int = 0


class Audit:
    """Writes down what is done.

    Args:
        write: Takes a record.
        clock: The time as a Unix timestamp.
    """

    def __init__(self, write: Callable[[Mapping[str, Any]], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._since = clock()
        self._counted: dict[tuple[object, ...], _Counted] = {}
        self._refusals = 0

    def connected(self, caller: Caller, address: str) -> None:
        """Somebody with a key opened a connection."""
        self._note("connect", _who(caller.owner, caller.name) | _from(address))

    def refused(self, why: str, address: str, fingerprint: str = "") -> None:
        """Somebody was not let in.

        Args:
            why: The reason.
            address: Where they came from.
            fingerprint: That of the key they proved to have, if they came so far.
        """
        record = _from(address) | ({"key": fingerprint} if fingerprint else {}) | {"why": one_line(why)}
        if ("refused", *record.values()) not in self._counted:
            self._refusals += 1
            if self._refusals > _REFUSALS:
                record = {"why": "several reasons, from several places"}
        self._note("refused", record)

    def enrolled(self, fingerprint: str, name: str, address: str) -> None:
        """An invite was used."""
        self._note("enrol", _who(fingerprint, one_line(name)) | _from(address))

    def attached(self, grant: Grant, key: SessionKey, address: str, created: bool) -> None:
        """Somebody attached to a session, or started it."""
        what = {"role": grant.role.value} | _from(address)
        self._note("start" if created else "attach", _who(grant.who, grant.name) | _session(key) | what)

    def called(self, grant: Grant, key: SessionKey) -> None:
        """Somebody opened a lane for calls."""
        self._note("calls", _who(grant.who, grant.name) | _session(key))

    def direct(self, grant: Grant, key: SessionKey, address: str) -> None:
        """Somebody was told the way straight to a session's own process, where the server hears nothing of calls."""
        self._note("direct", _who(grant.who, grant.name) | _session(key) | _from(address))

    def said(self, grant: Grant, key: SessionKey, msg_type: str) -> None:
        """Somebody sent a kernel a message of a type."""
        event = _SAID.get(msg_type)
        if event is not None:
            self._note(event, _who(grant.who, grant.name) | _session(key))

    def asked(self, grant: Grant, key: SessionKey, request: messages.Request) -> None:
        """A request was carried out."""
        event = _REQUESTS.get(type(request))
        if event is not None:
            with_whom = {"with": request.who} if isinstance(request, messages.Share | messages.Unshare) else {}
            role = {"role": request.role} if isinstance(request, messages.Share) else {}
            self._note(event, _who(grant.who, grant.name) | _session(key) | with_whom | role)

    def denied(self, grant: Grant, key: SessionKey, request: messages.Request, error: FlameError) -> None:
        """A request was not carried out."""
        event = _REQUESTS.get(type(request), str(request.__struct_config__.tag))
        why = {"denied": event, "why": one_line(str(error))}
        self._note("denied", _who(grant.who, grant.name) | _session(key) | why)

    def key_changed(self, fingerprint: str, before: str, after: str, dropped: int) -> None:
        """A key was added to ``authorized_keys``, removed from it, or given another role.

        Args:
            fingerprint: The key's.
            before: Its role, empty when it was not there.
            after: Its role now, empty when it's gone.
            dropped: How many connections ended by it.
        """
        event = "key added" if not before else "key removed" if not after else "role changed"
        roles = {name: role for name, role in (("before", before), ("role", after)) if role}
        self._note(event, {"key": fingerprint} | roles | ({"dropped": dropped} if dropped else {}))

    def tick(self) -> None:
        """Write what was counted, once a minute."""
        if self._clock() - self._since >= EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what was counted."""
        for counted in self._counted.values():
            if counted.more:
                self._write(self._stamped(counted.record) | {"count": counted.more})
        self._counted.clear()
        self._refusals = 0
        self._since = self._clock()

    def _note(self, event: str, fields: Record) -> None:
        known = (event, *fields.values())
        counted = self._counted.get(known)
        if counted is not None:
            counted.more += 1
            return
        record = {"event": event} | fields
        self._counted[known] = _Counted(record)
        self._write(self._stamped(record))

    def _stamped(self, record: Record) -> Record:
        now = datetime.fromtimestamp(self._clock(), UTC)
        return {"time": now.isoformat(timespec="milliseconds")} | record


def _who(fingerprint: str, name: str) -> Record:
    return {"key": fingerprint, "name": name} if fingerprint else {"name": name}


def _session(key: SessionKey) -> Record:
    return {"session": key.name, "owner": key.owner}


def _from(address: str) -> Record:
    return {"from": address} if address else {}

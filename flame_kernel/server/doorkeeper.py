"""Who is behind a connection, and the enrolling of those who hold an invite."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flame_kernel.errors import InviteError, KeyRefused, ProtocolError
from flame_kernel.protocol.messages import Hello
from flame_kernel.security.admission import Admission
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.invite_book import InviteBook, InviteState
from flame_kernel.security.key_text import fingerprint, public_from_text
from flame_kernel.server import permits
from flame_kernel.server.peers import Caller

log = logging.getLogger(__name__)

_SPENT = {
    InviteState.USED: "this invite to {host} was used already; ask for a new one (flame invite)",
    InviteState.EXPIRED: "this invite to {host} has expired; ask for a new one (flame invite)",
}


class Doorkeeper:
    """Knows callers by their keys, which CURVE has proven.

    Args:
        admission: Who was let in.
        authorized: The keys that may use the server; enrolling adds to them.
        invites: The invites given out.
        host: What to call this host.
        clock: The time as a Unix timestamp.
    """

    def __init__(
        self,
        admission: Admission,
        authorized: AuthorizedKeys,
        invites: InviteBook,
        host: str,
        clock: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._authorized = authorized
        self._invites = invites
        self._host = host
        self._clock = clock

    def recognise(self, user: bytes, address: str = "") -> Caller:
        """Return who is behind a connection.

        Args:
            user: The public key that authenticated it; empty on the unix socket, whose folder only its user can enter.
            address: The host it comes from.

        Returns:
            The caller.

        Raises:
            InviteError: It's an invite that was used, or has expired. Nothing its holder says is read.
            KeyRefused: The key was removed since it was let in.
        """
        if not user:
            return Caller("", "local user")
        identity = self._admission.who(user)
        if identity.role is None and identity.invite is None:
            raise KeyRefused(f"{self._host} no longer admits this client's key")
        if identity.role is None and identity.invite in _SPENT:
            raise InviteError(_SPENT[identity.invite].format(host=self._host))
        return Caller(identity.fingerprint, identity.name, user, identity.role, address)

    def require_role(self, caller: Caller, lane: str) -> None:
        """Make sure that a caller may open a lane.

        Raises:
            KeyRefused: It came with an invite, which is good for enrolling only.
            NotPermitted: The role of its key is not enough.
        """
        if caller.role is None:
            raise KeyRefused(f"an invite only enrols a key; connect to {self._host} with that key afterwards")
        permits.require_role(caller.role, permits.LANES.get(lane, Role.OBSERVE), f"a {lane} lane to {self._host}")

    def enrol(self, caller: Caller, hello: Hello) -> bytes:
        """Admit the client's own key from now on; the invite is used up.

        Args:
            caller: Who came with an invite.
            hello: What it said; its key is in it.

        Returns:
            The key.

        Raises:
            InviteError: The invite was used or has expired meanwhile.
            ProtocolError: It did not come with an invite.
        """
        if caller.role is not None:
            raise ProtocolError("only who comes with an invite can be enrolled")
        key = public_from_text(hello.key)
        role = self._invites.role(caller.public)
        state = self._invites.redeem(caller.public, self._clock(), fingerprint(key))
        if state is not InviteState.OPEN:
            raise InviteError(_SPENT.get(state, "{host} does not know this invite").format(host=self._host))
        known = self._authorized.lookup(key)
        if known is None or known.role < role:  # an invite takes nothing from who is admitted already
            self._authorized.add(key, role, hello.client)
        log.info("enrolled %s (%s)", hello.client, fingerprint(key))
        return key

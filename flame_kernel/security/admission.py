"""Who is let in: the one question that the ZAP handler asks, and who somebody is once they are in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flame_kernel.errors import KeyFileError
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.invite_book import InviteBook, InviteState
from flame_kernel.security.key_text import fingerprint


@dataclass(frozen=True)
class Identity:
    """Who is at the other end of a connection.

    Attributes:
        public: The client's public key in Z85, proven by CURVE.
        fingerprint: Its short form.
        name: The comment beside the key in authorized_keys, else the fingerprint.
        role: What the key may do; None when it isn't authorized (any more).
        invite: The state of the invite that the key belongs to; None when it belongs to none, or is authorized.

    Example:
        ``identity.role is not None and identity.role >= Role.EXECUTE``
    """

    public: bytes
    fingerprint: str
    name: str
    role: Role | None
    invite: InviteState | None


class Admission:
    """Admits authorized keys, and the keys of all known invites.

    The holder of a used or expired invite is admitted too, so that the listener can tell them so in clear words; it
    must not parse anything else that they send.

    Args:
        authorized: The keys that may use the server.
        invites: The invites that the server gave out.
        clock: Gives the time as a Unix timestamp.
        report: Gets a line for the server's log when a file can't be used; the same trouble is told once, not at
            each connection, so that strangers can't fill the log.
        on_refused: Called with a reason, an address and a fingerprint for each client that is not let in.

    Example:
        ``ZapHandler(context, Admission(authorized, invites, time.time, log.warning))``
    """

    def __init__(
        self,
        authorized: AuthorizedKeys,
        invites: InviteBook,
        clock: Callable[[], float],
        report: Callable[[str], None],
        on_refused: Callable[[str, str, str], None] = lambda why, address, fingerprint: None,
    ) -> None:
        self._authorized = authorized
        self._invites = invites
        self._clock = clock
        self._report = report
        self._on_refused = on_refused
        self.asked_from = ""  # the address of the client that the next question is about
        self._reported: frozenset[str] = frozenset()

    def callback(self, domain: str, key: bytes) -> bool:
        """Answer the ZAP handler; whatever goes wrong means no.

        Args:
            domain: The ZAP domain of the socket that the client connected to.
            key: The client's public key in Z85.

        Returns:
            Whether the client may connect.

        Example:
            ``admission.callback("flame", key)``
        """
        try:
            admitted = self._admits(key)
            troubles = frozenset(self._authorized.problems())
        except Exception as problem:  # noqa: BLE001 - one that escapes leaves the client without an answer
            admitted = False
            troubles = frozenset({f"a client was turned away: {problem}"})
        for trouble in sorted(troubles - self._reported):
            self._report(trouble)
        self._reported = troubles
        if not admitted:
            with suppress(KeyFileError):  # what is no key has no fingerprint; CURVE lets none through
                self._on_refused("its key is not admitted", self.asked_from, fingerprint(key))
        return admitted

    def who(self, public: bytes) -> Identity:
        """Tell who a key belongs to, as the files stand now.

        Args:
            public: The client's public key in Z85.

        Returns:
            The identity; with neither role nor invite the key has been revoked.

        Raises:
            KeyFileError: A file can't be used, or that isn't a key.

        Example:
            ``admission.who(frame["User-Id"].encode()).name``
        """
        entry = self._authorized.lookup(public)
        # Who is authorized needs no invite, and looking for one takes as long as the rest.
        invite = InviteState.UNKNOWN if entry is not None else self._invites.state(public, self._clock())
        short = fingerprint(public)
        return Identity(
            public,
            short,
            entry.comment if entry is not None and entry.comment else short,
            entry.role if entry is not None else None,
            invite if invite is not InviteState.UNKNOWN else None,
        )

    def _admits(self, key: bytes) -> bool:
        if self._authorized.lookup(key) is not None:
            return True
        return self._invites.state(key, self._clock()) is not InviteState.UNKNOWN

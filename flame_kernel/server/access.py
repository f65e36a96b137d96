"""Which session a caller gets, and what they may do in it: their own, and those that others share with them."""

from __future__ import annotations

from typing import Any

from flame_kernel.errors import ConfigurationError, NotPermitted, SessionError, UnknownSession
from flame_kernel.protocol.messages import Hello
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.authorized_key import Role
from flame_kernel.server.peers import Caller
from flame_kernel.server.permits import OTHERS_SESSIONS, START_SESSION, Grant, require_role
from flame_kernel.server.registry import Registry
from flame_kernel.server.session import Session

EVERYONE = "*"

# What the unix socket's user is called as an owner, who has no key.
_LOCAL = "local"


class Access:
    """Finds sessions for callers.

    A session of another key is named ``owner/name``, where the owner is the comment or the fingerprint of that key.

    Args:
        registry: The sessions.
        authorized: The keys, for what people call them.
        host: What to call this host.
    """

    def __init__(self, registry: Registry, authorized: AuthorizedKeys, host: str) -> None:
        self._registry = registry
        self._authorized = authorized
        self._host = host

    async def enter(self, caller: Caller, hello: Hello) -> tuple[Session, Grant, bool]:
        """Find the session that a greeting asks for, or start it.

        Args:
            caller: Who greets.
            hello: What they say.

        Returns:
            The session, what the caller may do in it, and whether it was started for them.

        Raises:
            UnknownSession: It was ended, belongs to another key that does not share it, or there's nothing to observe.
            NotPermitted: The caller's role, or what the session's owner allows, is not enough.
            SessionError: It can't be started.
        """
        grant: Grant | None
        if hello.resumed:
            session, grant = self._resumed(caller, hello)
            return session, self._checked(grant, hello, session), False
        found = self._found(caller, hello.session)
        while found is not None and found[0].state is SessionState.ENDED:
            await found[0].gone()
            found = self._found(caller, hello.session)
        if found is not None:
            return found[0], self._checked(found[1], hello, found[0]), False
        if hello.observe or hello.existing or self._names_another(hello.session):
            raise self._registry.unknown(caller.owner, hello.session)
        require_role(_role(caller), START_SESSION, f"a session of one's own on {self._host}")
        session, created = await self._registry.obtain(caller.owner, hello)
        return session, self._own(caller), created

    def locate(self, caller: Caller, name: str, *, as_admin: bool = False) -> tuple[Session, Grant]:
        """Find a session that is there.

        Args:
            caller: Who asks.
            name: Its name; ``owner/name`` for another key's.
            as_admin: Whether a key with the role ``admin`` finds those of others as well.

        Returns:
            The session, and what the caller may do in it.

        Raises:
            UnknownSession: There's none of that name that the caller may know of.
        """
        found = self._found(caller, name)
        if found is None and as_admin and _role(caller) >= OTHERS_SESSIONS:
            grant = Grant(caller.owner, caller.name, _role(caller), _role(caller))
            others = [(session, grant) for session in self._living() if self._is_called(session, name)]
            found = self._only(others, name)
        if found is None:
            raise self._registry.unknown(caller.owner, name)
        return found

    def grant(self, caller: Caller, session: Session) -> Grant | None:
        """Tell what a caller may do in a session, ``None`` for nothing at all."""
        if session.key.owner == caller.owner:
            return self._own(caller)
        given = [session.shares[who] for who in (caller.owner, EVERYONE) if who in session.shares]
        if not given:
            return None
        return Grant(caller.owner, caller.name, _role(caller), min(_role(caller), max(given)))

    def everywhere(self, caller: Caller) -> Grant:
        """Tell what a caller may do where it's about no session."""
        return self._own(caller)

    def share(self, session: Session, who: str, role: str) -> str:
        """Let another key use a session.

        Args:
            session: The session.
            who: The key's fingerprint or comment, or ``*``.
            role: What it may do there at most.

        Returns:
            The key's fingerprint, or ``*``.

        Raises:
            SessionError: It is private, so that it ends with its owner's connection.
            ConfigurationError: There's no such key or role.
        """
        given = Role.named(role)
        if given is Role.ADMIN:
            raise ConfigurationError("a session is shared with the role observe, execute or files, not admin")
        if session.private:
            raise SessionError(
                f"session {session.key.name!r} is private and ends with its connection; give it a name to share it "
                "(connect(session=NAME))"
            )
        fingerprint = EVERYONE if who == EVERYONE else self._fingerprint(who)
        session.shares[fingerprint] = given
        return fingerprint

    def unshare(self, session: Session, who: str) -> tuple[str, ...]:
        """Let another key use a session no more.

        Args:
            session: The session.
            who: As it was shared; empty for everybody.

        Returns:
            The fingerprints.

        Raises:
            ConfigurationError: It isn't shared with them.
        """
        gone = tuple(key for key in session.shares if who in ("", key, self._called(key)))
        if not gone and who:
            raise ConfigurationError(f"session {session.key.name!r} is not shared with {who}")
        for key in gone:
            del session.shares[key]
        return gone

    def visible(self, caller: Caller, everyone: bool = False) -> list[tuple[Session, Grant | None]]:
        """Return the sessions that a caller may know of, its own first.

        Args:
            caller: Who asks.
            everyone: Whether to return those of all keys.

        Raises:
            NotPermitted: That takes the role ``admin``.
        """
        if everyone:
            require_role(_role(caller), OTHERS_SESSIONS, "listing the sessions of all keys")
        found = [(session, self.grant(caller, session)) for session in self._living()]
        seen = [(session, grant) for session, grant in found if grant is not None or everyone]
        return sorted(seen, key=lambda pair: pair[0].key.owner != caller.owner)

    def labels(self, caller: Caller, session: Session, grant: Grant | None) -> dict[str, Any]:
        """Return what a listing shows of whose a session is, and what the caller may do in it."""
        everything = session.key.owner == caller.owner or grant is None or grant.key is Role.ADMIN
        return {
            "name": self.name_for(caller, session),
            "owner": self.owner_for(caller, session),
            "role": grant.role.value if grant is not None else "",
            "shared": self.shared_with(session) if everything else (),
        }

    def lane(self, caller: Caller, hello: Hello) -> tuple[Session, Grant]:
        """Find the session that a calls lane is for: that of the client it belongs to, whatever it's called by now.

        Args:
            caller: Who opens it.
            hello: What they say.

        Returns:
            The session, and what the caller may do in it.

        Raises:
            UnknownSession: There's none that the caller may know of.
        """
        for session in self._living():
            if hello.attachment and hello.attachment in session.attachments:
                grant = self.grant(caller, session)
                if grant is not None and session.attachments[hello.attachment].grant.who in ("", grant.who):
                    return session, grant
        return self.locate(caller, hello.session)

    def name_for(self, caller: Caller, session: Session) -> str:
        """Return what a caller calls a session: with its owner in front when that is another key."""
        if session.key.owner == caller.owner:
            return session.key.name
        return f"{self._called(session.key.owner)}/{session.key.name}"

    def owner_for(self, caller: Caller, session: Session) -> str:
        """Return what a session's owner is called, empty when it's the caller."""
        return "" if session.key.owner == caller.owner else self._called(session.key.owner)

    def shared_with(self, session: Session) -> tuple[str, ...]:
        """Return in words whom a session is shared with."""
        return tuple(f"{self._called(who)} ({role.value})" for who, role in session.shares.items())

    def _resumed(self, caller: Caller, hello: Hello) -> tuple[Session, Grant]:
        # By the conversation's name, which only its two ends know: the session may have another name by now.
        for session in self._living():
            if hello.attachment in session.attachments:
                grant = self.grant(caller, session)
                before = session.attachments[hello.attachment].grant
                if grant is not None and before.who in ("", grant.who):
                    return session, grant
        raise UnknownSession(
            f"{self._host} no longer knows session {hello.session!r}: it was ended, or is no longer shared with this "
            "key, or the server was restarted"
        )

    def _living(self) -> list[Session]:
        return [session for session in self._registry.all() if session.state is not SessionState.ENDED]

    def _found(self, caller: Caller, name: str) -> tuple[Session, Grant] | None:
        own = self._registry.find(caller.owner, name) if name else None
        if own is not None:
            return own, self._own(caller)
        shared = []
        for session in self._living():
            grant = self.grant(caller, session)
            if grant is not None and not grant.owner and self._is_called(session, name):
                shared.append((session, grant))
        return self._only(shared, name)

    def _only(self, found: list[tuple[Session, Grant]], name: str) -> tuple[Session, Grant] | None:
        if len(found) > 1:
            owners = ", ".join(session.key.owner or _LOCAL for session, _ in found)
            raise UnknownSession(
                f"{name!r} could be several sessions on {self._host}; say the owner's fingerprint instead: {owners}"
            )
        return found[0] if found else None

    def _checked(self, grant: Grant, hello: Hello, session: Session) -> Grant:
        if hello.observe:
            return Grant(grant.who, grant.name, grant.key, Role.OBSERVE, grant.owner)
        if grant.role < Role.EXECUTE:
            raise NotPermitted(
                f"session {hello.session!r} on {self._host} is for this client to observe only; "
                "connect with observe=True"
            )
        return grant

    def _own(self, caller: Caller) -> Grant:
        return Grant(caller.owner, caller.name, _role(caller), _role(caller), owner=True)

    def _is_called(self, session: Session, name: str) -> bool:
        owner, _, rest = name.rpartition("/" + session.key.name)
        return rest == "" and owner != "" and owner in (session.key.owner or _LOCAL, self._comment(session.key.owner))

    def _names_another(self, name: str) -> bool:
        """Tell whether a name begins with what a key is called: then it isn't meant for a session of one's own."""
        owner, slash, _ = name.rpartition("/")
        return bool(slash) and (owner == _LOCAL or bool(self._authorized.matching(owner, exactly=True)))

    def _fingerprint(self, who: str) -> str:
        found = self._authorized.matching(who)
        if len(found) == 1:
            return found[0].fingerprint
        if not found:
            raise ConfigurationError(
                f"{self._host} admits no key {who!r}; 'flame keys list' there shows which it admits"
            )
        several = ", ".join(f"{entry.comment} {entry.fingerprint}".strip() for entry in found)
        raise ConfigurationError(f"{who!r} could be several keys on {self._host}; say a fingerprint instead: {several}")

    def _comment(self, fingerprint: str) -> str:
        found = self._authorized.matching(fingerprint, exactly=True) if fingerprint else []
        return found[0].comment if found else ""

    def _called(self, fingerprint: str) -> str:
        """Return what people call a key: its comment, unless another key has the same one."""
        if fingerprint == EVERYONE:
            return "everyone"
        comment = self._comment(fingerprint)
        if comment and len(self._authorized.matching(comment, exactly=True)) == 1:
            return comment
        return fingerprint or _LOCAL


def _role(caller: Caller) -> Role:
    return caller.role if caller.role is not None else Role.OBSERVE

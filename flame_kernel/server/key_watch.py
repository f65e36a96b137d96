"""Changes of ``authorized_keys`` while the server runs: whoever was removed or may do less is let go at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from flame_kernel.errors import KeyFileError
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.authorized_key import Role
from flame_kernel.server.audit import Audit
from flame_kernel.server.gate import Gate


class KeyWatch:
    """Compares the keys with those of the last look.

    Args:
        authorized: The keys.
        gates: Where connections are.
        audit: Where changes are written down.
        report: Gets a line for the server's log when the file can't be used.
    """

    def __init__(
        self, authorized: AuthorizedKeys, gates: Sequence[Gate], audit: Audit, report: Callable[[str], None]
    ) -> None:
        self._authorized = authorized
        self._gates = gates
        self._audit = audit
        self._report = report
        self._roles = authorized.roles()
        self._trouble = ""

    def look(self) -> int:
        """Look whether keys have changed; one file's status is all it costs when they have not.

        Returns:
            How many connections ended.
        """
        try:
            now = self._authorized.roles()
        except KeyFileError as error:
            # Nobody new is let in while the file can't be used. Who is in stays: it may be somebody's slip of the hand.
            if str(error) != self._trouble:
                self._report(f"{error}; until then nobody is let in")
            self._trouble = str(error)
            return 0
        self._trouble = ""
        if now == self._roles:
            return 0
        before, self._roles = self._roles, now
        ended = self._let_go()
        for fingerprint in {**before, **now}:
            if before.get(fingerprint) is not now.get(fingerprint):
                was, new = _name(before.get(fingerprint)), _name(now.get(fingerprint))
                self._audit.key_changed(fingerprint, was, new, ended[fingerprint])
        return ended.total()

    def recheck(self) -> Counter[str]:
        """Let go of the connections of whoever may no longer be where they are, by the keys as they are now.

        Returns:
            How many connections of each key ended, besides those that ended because the keys have changed.
        """
        self.look()  # a key that has come since the last look may be at work already
        return self._let_go()

    def _let_go(self) -> Counter[str]:
        ended: Counter[str] = Counter()
        for gate in self._gates:
            ended += gate.recheck(self._roles)
        return ended


def _name(role: Role | None) -> str:
    return "" if role is None else role.value

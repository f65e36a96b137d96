"""``known_hosts``: the identity of each server this client was paired with. A line each, as in ssh's file.

``<host:port> flame-curve25519 <base64>``. Comment lines and blank lines stay when the program changes the file.
"""

from __future__ import annotations

from pathlib import Path

from flame_kernel.errors import ConfigurationError, HostKeyChanged, KeyFileError
from flame_kernel.security import text_files
from flame_kernel.security.folders import private
from flame_kernel.security.key_text import KEY_TYPE, fingerprint, public_from_text, public_to_text


class KnownHosts:
    """The file, read anew each time it is asked.

    Where an address stands on several lines, the first counts; upper and lower case in addresses are the same.

    Args:
        path: The file; it need not exist.

    Example:
        ``KnownHosts(folders.config / "known_hosts").lookup("gpu1:9999")``
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lookup(self, address: str) -> bytes | None:
        """Find the key that is pinned for a server.

        Args:
            address: ``host:port``, or ``[::1]:port``.

        Returns:
            The server's public key in Z85, or None when the address was never paired with.

        Raises:
            KeyFileError: The address's line is damaged (which must not look as if it were unknown), other users can
                reach the file, or it can't be read.

        Example:
            ``server_key = known_hosts.lookup("gpu1:9999")``
        """
        return self._find(_checked(address), self._lines())

    def addresses(self) -> list[str]:
        """Return the addresses of all servers that this client was paired with, each once.

        Raises:
            KeyFileError: Other users can reach the file, or it can't be read.
        """
        return list(dict.fromkeys(address for line in self._lines() if (address := _address_of(line))))

    def pin(self, address: str, public: bytes, *, replace: bool = False) -> None:
        """Remember a server's key; doing it again changes nothing.

        Args:
            address: ``host:port``.
            public: The server's public key in Z85.
            replace: Whether another key that is pinned gives way.

        Raises:
            HostKeyChanged: Another key is pinned, and ``replace`` is not set.
            KeyFileError: The key isn't one, the address's line is damaged, or the file can't be read or written.
            ConfigurationError: The address can't stand in the file.

        Example:
            ``known_hosts.pin(invite.address, invite.server_key)``
        """
        address = _checked(address)
        line = f"{address} {KEY_TYPE} {public_to_text(public)}"
        private(self.path.parent)
        with text_files.locked(self.path):
            old = self._lines()
            if not replace:
                pinned = self._find(address, old)
                if pinned == public:
                    return
                if pinned is not None:
                    raise HostKeyChanged(changed_message(address, pinned, self.path))
            self._write([*(other for other in old if _address_of(other) != address), line])

    def forget(self, address: str) -> bool:
        """Drop a server's key.

        Args:
            address: ``host:port``.

        Returns:
            Whether there was a line for it, damaged or not.

        Raises:
            KeyFileError: The file can't be read or written.
            ConfigurationError: That isn't an address.

        Example:
            ``known_hosts.forget("gpu1:9999")``
        """
        address = _checked(address)
        if text_files.stamp(self.path) is None:
            return False
        with text_files.locked(self.path):
            old = self._lines()
            new = [line for line in old if _address_of(line) != address]
            if new == old:
                return False
            self._write(new)
            return True

    def _find(self, address: str, lines: list[str]) -> bytes | None:
        for number, line in enumerate(lines, 1):
            if _address_of(line) == address:
                try:
                    return public_from_text(" ".join(line.split()[1:3]))
                except KeyFileError as problem:
                    raise KeyFileError(
                        f"{self.path}, line {number}: {problem}; delete the line and pair with {address} again"
                    ) from problem
        return None

    def _lines(self) -> list[str]:
        snapshot = text_files.read(self.path)
        return snapshot.text.removesuffix("\n").split("\n") if snapshot is not None and snapshot.text else []

    def _write(self, lines: list[str]) -> None:
        text_files.write(self.path, "".join(f"{line}\n" for line in lines))


def changed_message(address: str, pinned: bytes, path: Path) -> str:
    """Say that a server is not the one this client was paired with.

    Args:
        address: ``host:port``.
        pinned: The key that was expected, in Z85.
        path: The file that holds it.

    Returns:
        One line for the user.

    Example:
        ``raise HostKeyChanged(changed_message("gpu1:9999", pinned, known_hosts.path))``
    """
    return (
        f"the identity of {address} isn't the one pinned in {path} (fingerprint {fingerprint(pinned)}): it was "
        "reinstalled, or somebody is in the middle; if you trust the change, pair again with a fresh invite"
    )


def _address_of(line: str) -> str | None:
    words = line.split(maxsplit=1)
    return words[0].lower() if words and not words[0].startswith("#") else None


def _checked(address: str) -> str:
    if not address.isprintable() or not address or " " in address or address.startswith("#"):
        raise ConfigurationError(f"{text_files.one_line(address)!r} isn't an address: write HOST:PORT")
    return address.lower()

"""Clients of one server with keys of their own: each has a home, a name and a role."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flame_kernel import Flame, connect
from flame_kernel.security.authorized import AuthorizedKeys, Role
from flame_kernel.security.folders import Folders, private
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import KEY_TYPE, public_to_text
from flame_kernel.security.keys import load_or_create
from flame_kernel.security.known_hosts import KnownHosts
from flame_kernel.server.control import look_at_keys
from tests.integration.servers import FlameServer, clean_environ, until


class Guest:
    """One client.

    Args:
        server: The server.
        name: The comment of its key.
        role: What its key may do.
        patch: Makes this process that client while it connects.
    """

    def __init__(self, server: FlameServer, name: str, role: str, patch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.name = name
        self.home = server.home.with_name(name)
        self._patch = patch
        # What the commands do; they are tried out where it's about them, and take a second of processor time together.
        pair = load_or_create(private(private(self.home) / "config") / "client.key", name)
        self.key = f"{KEY_TYPE} {public_to_text(pair.public)}"
        authorized = AuthorizedKeys(server.home / "config" / "authorized_keys")
        self.fingerprint = authorized.add(pair.public, Role.named(role), name).fingerprint
        look_at_keys(Folders.find(clean_environ(server.home)).runtime)
        KnownHosts(self.home / "config" / "known_hosts").pin(server.address, Invite.parse(server.invite).server_key)

    def admit(self, role: str) -> str:
        """Let the key in, or give it another role."""
        done = self.server.command("keys", "add", self.key, self.name, "--role", role)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def connect(self, **options: Any) -> Flame:
        """Connect as this client."""
        self._patch.setenv("FLAME_HOME", str(self.home))
        return connect(self.server.address, **options)


def records(server: FlameServer) -> list[dict[str, Any]]:
    """Return what the audit log holds now."""
    path: Path = server.home / "state" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def recorded(server: FlameServer, event: str, **fields: Any) -> dict[str, Any]:
    """Wait for a record in the audit log, and return it."""

    def found() -> list[dict[str, Any]]:
        return [record for record in records(server) if {"event": event, **fields}.items() <= record.items()]

    until(found)
    return found()[-1]


def within(seconds: float, condition: Callable[[], object]) -> None:
    """Make sure that something comes true in time."""
    start = time.monotonic()
    until(condition, seconds)
    assert time.monotonic() - start < seconds

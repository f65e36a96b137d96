"""Clients of one server with keys of their own: each has a home, a name and a role."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flame_kernel import Flame, connect
from flame_kernel.security.invites import Invite
from flame_kernel.security.known_hosts import KnownHosts
from tests.integration.servers import FlameServer, clean_environ, flame_command, until


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
        own = flame_command(clean_environ(self.home), "keys", "own")
        assert own.returncode == 0, own.stderr
        self.key = " ".join(own.stdout.split()[:2])
        self.admit(role)
        KnownHosts(self.home / "config" / "known_hosts").pin(server.address, Invite.parse(server.invite).server_key)

    def admit(self, role: str) -> str:
        """Let the key in, or give it another role."""
        done = self.server.command("keys", "add", self.key, self.name, "--role", role)
        assert done.returncode == 0, done.stderr
        self.fingerprint = re.search(r"SHA256:\S{16}", done.stdout)[0]
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

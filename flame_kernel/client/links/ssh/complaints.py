"""What ssh complains of, as one line that says what to do; ssh's own line is quoted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flame_kernel.client.links.target import Ssh
from flame_kernel.errors import (
    ConnectError,
    FlameError,
    HostKeyChanged,
    HostUnknown,
    KeyRefused,
    NotInstalled,
    ServerUnreachable,
)

_BY_HAND = "check that '{ssh}' works there without asking anything"

# The first row of which a line of ssh's speaks: the error, what happened, and what to do about it.
_TABLE: tuple[tuple[str, type[ConnectError], str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        HostKeyChanged,
        "the ssh host key of {name} has changed",
        "it was reinstalled, or somebody is in the middle; if you trust the change, mend ssh's known_hosts",
    ),
    (
        r"host key is known for|Host key verification failed",
        HostUnknown,
        "ssh does not know the host key of {name}",
        "log in once by hand ('{ssh}') and compare its fingerprint",
    ),
    (
        r"Permission denied \(|Too many authentication failures|No more authentication methods",
        KeyRefused,
        "{name} does not let this user in",
        "load a key that it knows (ssh-add), and " + _BY_HAND,
    ),
    (r"Could not resolve hostname", ServerUnreachable, "ssh finds no host for {name}", "check the name"),
    (
        r"Connection refused",
        ServerUnreachable,
        "no ssh server listens at {name}",
        "check the port, and that sshd runs there",
    ),
    (
        r"timed out|Timeout, server|No route to host|unreachable",
        ServerUnreachable,
        "{name} does not answer",
        "check the address, the network and the firewall",
    ),
    (
        r"channel \d+: open failed",
        ServerUnreachable,
        "sshd on {name} forwards to no unix socket",
        "have AllowStreamLocalForwarding (and AllowTcpForwarding) set to yes there, or use flame-server and a port",
    ),
    (r"Could not request local forwarding|unix_listener", ServerUnreachable, "ssh can't listen here", "see its reason"),
    (r"[Bb]ad configuration option|Bad owner or permissions", ServerUnreachable, "ssh refuses to start", "mend that"),
    (r"No module named .?flame_kernel", NotInstalled, "{name} has no remote-flame", "put it there: {install}"),
)

# ssh itself ends with this status; any other is that of the command over there.
_SSH_FAILED = 255


def why(target: Ssh, lines: Sequence[str], status: int | None) -> FlameError:
    """Return the error that an ended ssh stands for.

    Args:
        target: Where it was to go.
        lines: What it said last, on stderr and beside the point on stdout.
        status: Its exit status, if it has ended.
    """
    for pattern, error, happened, advice in _TABLE:
        for line in lines:
            if re.search(pattern, line):
                return error(f"{_fill(target, happened)}; {_fill(target, advice)} (ssh says: {line.strip('@ ')})")
    said = f" (it says: {lines[-1]})" if lines else ""
    if status is None or status == _SSH_FAILED or status < 0:
        return ServerUnreachable(f"ssh could not get to {target}; {_fill(target, _BY_HAND)}{said}")
    return ServerUnreachable(
        f"what should serve {target} over there ended with status {status}; {_fill(target, 'try {install}')}{said}"
    )


def forwarding(target: Ssh, lines: Sequence[str]) -> FlameError | None:
    """Return the error if ssh complains of the forwarding while it goes on."""
    error = why(target, lines, None)
    return error if any("open failed" in line for line in lines) else None


def missing(target: Ssh) -> NotInstalled:
    """Return the error for a host without remote-flame."""
    where = f" in {target.python}" if target.python else ""
    return NotInstalled(
        f"{target.host} has no remote-flame{where}; put it there with: {_fill(target, '{install}')}"
        + ("" if target.python else f" (or name a Python over there that has it: {target}/path/to/python)")
    )


def _fill(target: Ssh, text: str) -> str:
    user = f"{target.user}@" if target.user else ""
    port = f"-p {target.port} " if target.port else ""
    return text.format(
        name=target.bare, ssh=f"ssh {port}{user}{target.host}", install=f"flame ssh-install {target.bare}"
    )

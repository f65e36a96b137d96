"""What OpenSSH says when it fails, and what users are told."""

from __future__ import annotations

import pytest

from flame_kernel.client.links.ssh import complaints
from flame_kernel.client.links.target import Ssh
from flame_kernel.errors import FlameError, HostKeyChanged, HostUnknown, KeyRefused, NotInstalled, ServerUnreachable

TARGET = Ssh("gpu1", "ada", 2222, "/opt/python")


@pytest.mark.parametrize(
    ("line", "error", "advice"),
    [
        ("ada@gpu1: Permission denied (publickey,password).", KeyRefused, "'ssh -p 2222 ada@gpu1'"),
        ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", KeyRefused, "ssh-add"),
        ("Host key verification failed.", HostUnknown, "fingerprint"),
        ("No ED25519 host key is known for gpu1 and you have requested strict checking.", HostUnknown, "by hand"),
        ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", HostKeyChanged, "known_hosts"),
        ("ssh: Could not resolve hostname gpu1: Name or service not known", ServerUnreachable, "check the name"),
        ("ssh: connect to host gpu1 port 2222: Connection refused", ServerUnreachable, "sshd"),
        ("ssh: connect to host gpu1 port 2222: Connection timed out", ServerUnreachable, "firewall"),
        ("ssh: connect to host gpu1 port 2222: No route to host", ServerUnreachable, "firewall"),
        ("Timeout, server gpu1 not responding.", ServerUnreachable, "firewall"),
        ("kex_exchange_identification: Connection closed by remote host", ServerUnreachable, "check that"),
        ("channel 2: open failed: connect failed: open failed", ServerUnreachable, "AllowStreamLocalForwarding"),
        ("/usr/bin/python3: No module named flame_kernel", NotInstalled, "flame ssh-install ssh://ada@gpu1:2222"),
        ("command-line: line 0: Bad configuration option: remotecommand", ServerUnreachable, "mend"),
    ],
)
def test_a_complaint_becomes_one_line_with_what_to_do(line: str, error: type[FlameError], advice: str) -> None:
    told = complaints.why(TARGET, ["Warning: Permanently added 'gpu1' to the list of known hosts.", line], 255)
    assert type(told) is error
    assert advice in str(told)
    assert line.strip("@ ") in str(told)
    assert "\n" not in str(told)


def test_what_the_command_over_there_says_is_told_apart_from_ssh() -> None:
    told = complaints.why(TARGET, ["sh: 1: syntax error"], 2)
    assert str(told).startswith("what should serve ssh://ada@gpu1:2222/opt/python over there ended with status 2")
    assert "syntax error" in str(told)


def test_silence_is_an_error_too() -> None:
    assert "ssh could not get to" in str(complaints.why(TARGET, [], -9))


def test_an_ssh_that_goes_on_is_asked_for_its_forwarding_only() -> None:
    assert complaints.forwarding(TARGET, ["Warning: Permanently added 'gpu1'"]) is None
    assert complaints.forwarding(TARGET, ["channel 3: open failed: administratively prohibited: open failed"])

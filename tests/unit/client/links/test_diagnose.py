"""Why a connection did not come about."""

from __future__ import annotations

from flame_kernel.client.links.diagnose import why_not
from flame_kernel.errors import ServerUnreachable
from flame_kernel.transport.interface import Cause, Endpoint


def test_a_session_behind_ssh_that_takes_its_time_is_not_a_server_that_is_away() -> None:
    through_ssh = Endpoint("ipc:///run/ssh-1-a", "ssh://gpu1", b"k" * 40)
    assert why_not(through_ssh, None) is None
    assert isinstance(why_not(through_ssh, Cause.LOST), ServerUnreachable)
    assert isinstance(why_not(Endpoint("ipc:///run/flame.sock", "/run/flame.sock"), None), ServerUnreachable)

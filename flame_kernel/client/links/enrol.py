"""Pairing: with an invite's one-time key, tell the server this client's own key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.links.diagnose import why_not
from flame_kernel.client.links.link import Link
from flame_kernel.client.links.session import own_name
from flame_kernel.errors import FlameError, FlameTimeout, InviteError
from flame_kernel.protocol import messages, packets
from flame_kernel.security.key_text import public_to_text
from flame_kernel.security.keys import KeyPair
from flame_kernel.transport.dialler import ZmqDialler
from flame_kernel.transport.interface import Cause, Endpoint


class _Outcome:
    """Turns what a link tells into one result: how the enrolling went."""

    def __init__(self) -> None:
        self.result: asyncio.Future[Cause | FlameError | None] = asyncio.get_running_loop().create_future()

    def on_open(self, welcome: messages.Welcome) -> None:
        self._settle(None)

    def on_message(self, parts: Sequence[Buffer]) -> None:
        """A server sends nothing on this lane."""

    def on_missing(self, count: int) -> None:
        """Nothing is kept on this lane."""

    def on_down(self, cause: Cause) -> None:
        self._settle(cause)

    def on_ended(self, error: FlameError) -> None:
        self._settle(error)

    def _settle(self, result: Cause | FlameError | None) -> None:
        if not self.result.done():
            self.result.set_result(result)


async def enrol(context: zmq.Context[zmq.Socket[bytes]], door: Endpoint, key: KeyPair, timeout: float) -> None:
    """Have this client's key admitted.

    Args:
        context: The ZeroMQ context.
        door: The server, opened with the invite's keys.
        key: This client's own key.
        timeout: How long it may take, in seconds.

    Raises:
        InviteError: The server does not know the invite, or it was used, or has expired.
        ConnectError: The server can't be reached.
        FlameTimeout: It took too long.
    """
    outcome = _Outcome()
    hello = messages.Hello(
        versions=(packets.VERSION,), lane=messages.LANE_ENROL, client=own_name(), key=public_to_text(key.public)
    )
    link = Link(lambda events: ZmqDialler(context, door, events), hello, outcome, door.name)
    link.start()
    try:
        result = await asyncio.wait_for(outcome.result, timeout)
    except TimeoutError:
        reason = await asyncio.to_thread(why_not, door, None)
        raise reason or FlameTimeout(f"{door.name} did not answer within {timeout:g} s") from None
    finally:
        link.close(leave=True)
    if isinstance(result, Cause):
        reason = await asyncio.to_thread(why_not, door, result)
        raise reason or FlameTimeout(f"{door.name} hung up")
    if result is not None:
        from_key = result.code == "key-refused"
        raise (
            InviteError(f"{door.name} does not know this invite; ask for a new one (flame invite)")
            if from_key
            else result
        )

"""nbclient as the tests use it: it executes a notebook's cells, as papermill and nbconvert do with it."""

from typing import Any

import zmq
from nbclient import NotebookClient


class Client(NotebookClient):
    """Hears of what has come while it answered a widget.

    nbclient says so past asyncio, over the socket that asyncio waits for: what has arrived by then tells of itself only
    once, to whoever has just sent. Without a look at it a cell may wait until its timeout for a reply that is there.
    """

    async def async_start_new_kernel_client(self) -> Any:
        """Connect to the kernel."""
        client = await super().async_start_new_kernel_client()
        channel, send = client.shell_channel, client.shell_channel.send

        def send_and_look(message: Any) -> None:
            send(message)
            channel.socket.get(zmq.EVENTS)

        channel.send = send_and_look
        return client

"""The ZAP handler of a server: libzmq asks it for each handshake whether the key may come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from flame_kernel.security.curve import DOMAIN

if TYPE_CHECKING:  # slow to load, and a server's alone
    from zmq.auth.asyncio import AsyncioAuthenticator

    from flame_kernel.security.admission import Admission


def zap(context: zmq.Context[Any], admission: Admission, domain: str = DOMAIN) -> AsyncioAuthenticator:
    """Make the ZAP handler of a context.

    Args:
        context: The context of the server's sockets; it has one ZAP handler at most.
        admission: Who is let in.
        domain: The ZAP domain; sockets of other domains admit nobody.

    Returns:
        pyzmq's handler. Call ``start()`` inside the event loop, before the sockets are bound, and ``stop()`` at the
        end. Frames that arrive carry the client's public key, in Z85, as ``frame["User-Id"]``.

    Example:
        ``authenticator = zap(context, admission); authenticator.start()``
    """
    from zmq.auth.asyncio import AsyncioAuthenticator

    class Authenticator(AsyncioAuthenticator):
        """Tells admission where a client comes from, which pyzmq's own callback does not say."""

        async def handle_zap_message(self, msg: list[bytes]) -> None:
            # RFC 27: version, request id, domain, address, …; one question is answered before the next is read.
            admission.asked_from = msg[3].decode("ascii", "replace").removeprefix("::ffff:") if len(msg) > 3 else ""
            await super().handle_zap_message(msg)

    authenticator = Authenticator(context)
    authenticator.configure_curve_callback(domain, admission)
    return authenticator

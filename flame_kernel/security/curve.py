"""What libzmq must be told so that a TCP socket is encrypted, and closed to all but the admitted keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from flame_kernel.security.keys import KeyPair

if TYPE_CHECKING:  # a server's, and slow to load: a client can do without
    from zmq.auth.asyncio import AsyncioAuthenticator

    from flame_kernel.security.admission import Admission

DOMAIN = "flame"


def secure_server(socket: zmq.Socket[Any], keys: KeyPair, domain: str = DOMAIN) -> None:
    """Make a socket accept CURVE clients only, and only those that the ZAP handler admits.

    Args:
        socket: The socket, before it is bound.
        keys: The server's key pair.
        domain: The ZAP domain.

    Example:
        ``secure_server(router, keys); router.bind("tcp://127.0.0.1:9999")``
    """
    socket.curve_server = True
    socket.curve_publickey = keys.public
    socket.curve_secretkey = keys.secret
    socket.setsockopt_string(zmq.ZAP_DOMAIN, domain)
    # Without this, libzmq lets everybody in when no ZAP handler runs; a libzmq too old to know it must fail here.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def secure_client(socket: zmq.Socket[Any], keys: KeyPair, server_key: bytes) -> None:
    """Make a socket talk to one server only, and prove who it is.

    Args:
        socket: The socket, before it is connected.
        keys: The client's key pair, or an invite's.
        server_key: The server's public key in Z85.

    Example:
        ``secure_client(dealer, keys, known_hosts.lookup("gpu1:9999"))``
    """
    socket.curve_serverkey = server_key
    socket.curve_publickey = keys.public
    socket.curve_secretkey = keys.secret


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

"""What a call shows beside text goes to its caller: the kernel's display publisher looks who publishes.

Text is routed where it's written (``streams``), rich output where it's published. What the publisher would send is
taken by a hook for its messages, as ipykernel offers them to applications, so it is what a cell would have shown.
"""

from __future__ import annotations

import base64
import json
import numbers
from typing import Any, Callable

from flame_kernel.worker import streams


def listen(publisher: Any) -> None:
    """Make the session's display publisher look who publishes.

    Args:
        publisher: IPython's ``display_pub``; one that offers no hooks, as other kernels than ipykernel have it, is left
            as it is.
    """
    if hasattr(publisher, "register_hook"):
        publisher.publish = _routed(publisher, publisher.publish)
        publisher.clear_output = _routed(publisher, publisher.clear_output)


def _routed(publisher: Any, publish: Callable[..., None]) -> Callable[..., None]:
    def routed(*args: Any, **kwargs: Any) -> None:
        sink = streams.current()
        if sink is None:
            publish(*args, **kwargs)
            return

        def take(message: dict[str, Any]) -> dict[str, Any] | None:  # None: there's nothing left to be sent
            content = message["content"]
            plain = content.get("data", {}).get("text/plain")
            told = json.dumps({"type": message["header"]["msg_type"], "content": content}, default=_as_jupyter_does)
            with sink.call:
                taken = sink.display(told, "" if plain is None else f"{plain}\n")
            return None if taken else message

        publisher.register_hook(take)  # for this thread
        try:
            publish(*args, **kwargs)
        finally:
            publisher.unregister_hook(take)

    return routed


def _as_jupyter_does(value: Any) -> Any:
    """Return what stands in JSON for a value that JSON has no form for."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__!r} can't be shown: it has no form in JSON")

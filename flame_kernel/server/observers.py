"""What observers may say to a kernel: next to nothing, and the rest is answered in their frontend's own terms."""

from __future__ import annotations

from flame_kernel.errors import NotPermitted
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope, Header, compose, to_link
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.permits import may_ask

_ASKS = "_request"
_REPLIES = "_reply"


def filtered(attachment: Attachment, channel: Channel, envelope: Envelope, header: Header) -> Envelope | None:
    """Let a message of an observer through, or answer it.

    Args:
        attachment: The observer's conversation.
        channel: Where it came from.
        envelope: The message.
        header: Its header.

    Returns:
        What to pass on to the kernel, ``None`` when it was answered here.

    Raises:
        ProtocolError: Its content isn't JSON.
    """
    if may_ask(attachment.grant, header.msg_type):
        # Made anew from what was read: no two parsers can then differ about what the message is.
        content = envelope.content()
        target = content.get("target_name") if isinstance(content, dict) else None
        asked = {"target_name": target} if isinstance(target, str) else {}
        return compose(
            header.msg_type, asked, session=header.session, identities=envelope.identities, msg_id=header.msg_id
        )
    error = NotPermitted(f"this client only observes the session; {header.msg_type} needs the role execute in it")
    if header.msg_type.endswith(_ASKS):
        _answer(attachment, channel, envelope, header.msg_type, error)
    else:
        attachment.tell(messages.Failed(0, messages.Refusal.of(error)))
    return None


def _answer(attachment: Attachment, channel: Channel, envelope: Envelope, msg_type: str, error: NotPermitted) -> None:
    name = type(error).__name__
    content = {"status": "error", "ename": name, "evalue": str(error), "traceback": [f"{name}: {error}"]}

    def say(on: Channel, kind: str, what: object, identities: tuple[bytes, ...]) -> None:
        made = compose(kind, what, session="flame-server", parent=envelope.parts[0], identities=identities)
        attachment.deliver(to_link(on, made))

    say(Channel.IOPUB, "status", {"execution_state": "busy"}, (b"status",))
    if msg_type == "execute_request":
        say(Channel.IOPUB, "error", {key: content[key] for key in ("ename", "evalue", "traceback")}, (b"error",))
    reply = content | {"execution_count": 0} if msg_type == "execute_request" else content
    say(channel, msg_type.removesuffix(_ASKS) + _REPLIES, reply, envelope.identities)
    say(Channel.IOPUB, "status", {"execution_state": "idle"}, (b"status",))

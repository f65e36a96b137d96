"""What a server does first for a session that an earlier one has left: nobody shall wait for what was lost meanwhile.

Replies and outputs that a kernel sends while there is no server are gone. So the kernel is asked something of ours,
which it comes to when it's through with all it was asked before. Whatever has no reply then will never get one from the
kernel: it gets one from here, which says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope, compose
from flame_kernel.server import boot, bootstrap
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.kernel import Kernel

_US = "flame-server"


async def catch_up(kernel: Kernel, attachments: Mapping[str, Attachment]) -> None:
    """Tell every client that something may be missing, and answer what the kernel won't.

    Args:
        kernel: The kernel, connected again.
        attachments: The clients' conversations, as they were written down.
    """
    since = datetime.now().astimezone().strftime("%H:%M:%S")
    waiting = {name: attachment.unanswered() for name, attachment in attachments.items()}
    for attachment in attachments.values():
        attachment.tell(messages.Resumed(since))
    if not any(waiting.values()):
        return
    ids = [request.header().msg_id for requests in waiting.values() for _, request in requests]
    endings = await _endings(kernel, ids)
    for name, requests in waiting.items():
        for channel, request in requests:
            if name in attachments and attachments[name].waits_for(request):  # the client may have left meanwhile
                _answer(attachments[name], channel, request, endings.get(request.header().msg_id), since)


async def _endings(kernel: Kernel, ids: Sequence[str]) -> dict[str, dict[str, object]]:
    """Wait until the kernel is through with what it was asked before, and return what it knows of it."""
    if not kernel.facts.calls:
        await kernel.questions.ask("kernel_info_request", {}, settled=False)
        return {}
    reply = await kernel.questions.ask(
        "execute_request", boot.silent("", {"endings": bootstrap.endings(ids)}), settled=False
    )
    told = reply.content().get("user_expressions", {}).get("endings", {})
    found: dict[str, dict[str, object]] | None = bootstrap.told(told)
    return found or {}


def _answer(
    attachment: Attachment, channel: Channel, request: Envelope, ending: dict[str, object] | None, since: str
) -> None:
    header = request.header()
    content: dict[str, object] = {"status": "aborted"}
    if header.msg_type == "execute_request":
        content = {"execution_count": 0, "user_expressions": {}, "payload": [], **(ending or _lost(since))}
    if content["status"] == "error":
        failure = {part: content[part] for part in ("ename", "evalue", "traceback")}
        attachment.reply(Channel.IOPUB, _message("error", failure, request, (b"error",)))
    attachment.reply(Channel.IOPUB, _message("status", {"execution_state": "idle"}, request, (b"status",)))
    attachment.reply(
        channel, _message(header.msg_type.replace("_request", "_reply"), content, request, request.identities)
    )


def _lost(since: str) -> dict[str, object]:
    text = f"the server was started again at {since}, and there is no telling what became of this cell: it may have run"
    return {"status": "error", "ename": "SessionError", "evalue": text, "traceback": [f"SessionError: {text}"]}


def _message(msg_type: str, content: dict[str, object], request: Envelope, identities: tuple[bytes, ...]) -> Envelope:
    return compose(msg_type, content, session=_US, parent=request.parts[0], identities=identities)

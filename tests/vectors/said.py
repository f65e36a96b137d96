"""What packets carry: greetings, requests, Jupyter messages, and invites that come before all of it."""

from __future__ import annotations

import json
from typing import Any

from zmq.utils import z85

from flame_kernel.errors import _BY_CODE
from flame_kernel.protocol import jupyter, messages
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import raw_key
from flame_kernel.security.keys import KeyPair
from tests.vectors import conversations
from tests.vectors.hexadecimal import Vectors, all_in_hex, in_hex
from tests.vectors.wire import described


def message_vectors() -> Vectors:
    name = "0123456789abcdef" * 2
    session = messages.SessionInfo("lab", "python3", "ready", 4711, 1790000000.5, 1, names=("ada@laptop",), unseen=2)
    kernel = messages.KernelInfo("ir", "R", "R")
    said: dict[str, list[Any]] = {
        "hello": [
            messages.Hello((1,), "session", name),
            messages.Hello((1,), "session", name, "lab", "python3", "ada@laptop", resumed=True, folder="/home/ada"),
            messages.Hello((1,), "session", name, "ann@laptop/lab", observe=True, existing=True),
            messages.Hello((1,), "server", name, client="ada@laptop"),
            messages.Hello((1,), "calls", name, "lab"),
            messages.Hello((1,), "enrol", key="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", client="ada@laptop"),
        ],
        "welcome": [
            messages.Welcome(1, "gpu1", "lab", "python3", "python", True, True, 4711, "ready", 0, "admin", "", 2**31),
            messages.Welcome(1, "gpu1", "ann@laptop/lab", "ir", "R", state="dead", unseen=3, owner="ann"),
            messages.Welcome(1, "gpu1", "lab", "py39", direct=True, versions={"Python": "3.9.2", "numpy": "1.26.4"}),
            messages.Welcome(1, "gpu1"),
        ],
        "refused": [messages.Refusal("unknown-session", "gpu1 has no session 'lab' of yours — start one")],
        "request": [
            messages.Interrupt(1),
            messages.Interrupt(2, "lab"),
            messages.Restart(3),
            messages.Close(4, "lab"),
            messages.Rename(5, "night run"),
            messages.Detach(6),
            messages.AskMissed(7, keep=True),
            messages.Share(8, "*"),
            messages.Share(9, "bob", "execute", "lab"),
            messages.Unshare(10),
            messages.ListSessions(11, memory=True),
            messages.ListKernels(12),
        ],
        "answer": [
            messages.Done(1),
            messages.Done(11, sessions=(session,)),
            messages.Done(12, kernels=(kernel,)),
            messages.Done(7, running=("0f1e",), dropped_outputs=2, dropped_lines=40),
            messages.Done(8, shared=("bob (observe)",)),
            messages.Failed(4, messages.Refusal("not-permitted", "only its owner ends session 'lab'")),
            messages.Died("the kernel was killed by signal 9 (SIGKILL)"),
            messages.Restarted(4712, lost=("0f1e",)),
            messages.Ended(),
            messages.Renamed("night run"),
            messages.Detached(),
            messages.Resumed("2026-11-22 08:15:00"),
            messages.Direct(50017, "yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"),
        ],
    }  # fmt: skip
    made = [
        {"kind": kind, "bytes": in_hex(messages.encode(message)), "json": json.loads(messages.encode(message))}
        for kind, several in said.items()
        for message in several
    ]
    return {
        "about": "What greetings, refusals, requests and answers carry; fields with their default are left out",
        "messages": made,
    }


def jupyter_vectors() -> Vectors:
    header = conversations.HEADER
    status = {**header, "msg_id": "m-2", "msg_type": "status"}
    comm = {**header, "msg_id": "m-3", "msg_type": "comm_msg"}
    asked = {**header, "msg_id": "m-4", "msg_type": "input_request"}
    said: list[tuple[str, tuple[bytes, ...], list[Any], list[bytes]]] = [
        ("shell", (), [header, {}, {}, {"code": "1 + 1"}], []),
        ("shell", (b"\x00\x01", b"ui"), [header, {}, {"flame": True}, {"code": "'ü'"}], []),
        ("iopub", (b"kernel.status",), [status, header, {}, {"execution_state": "idle"}], []),
        ("iopub", (b"comm",), [comm, {}, {}, {"comm_id": "c", "data": {}}], [b"\x00\x01\x02", b""]),
        ("stdin", (), [asked, header, {}, {"prompt": "? ", "password": False}], []),
    ]
    made = []
    for channel, identities, contents, buffers in said:
        envelope = jupyter.Envelope(identities, (*map(jupyter.write_json, contents), *buffers))
        parts = jupyter.to_link(jupyter.Channel(channel.encode()), envelope)
        names = ("header", "parent", "metadata", "content")
        made.append(
            {
                "channel": channel,
                "identities": all_in_hex(identities),
                **dict(zip(names, contents, strict=True)),
                "buffers": all_in_hex(buffers),
                "parts": all_in_hex(parts),
            }
        )
    return {"about": "Jupyter messages as the parts of a numbered message on the session lane", "messages": made}


def invite_vectors() -> Vectors:
    server = KeyPair.from_secret(z85.encode(bytes(range(32))))
    made = []
    for host, port, secret in [
        ("gpu1", 9999, bytes(range(16))),
        ("fe80::1", 1, bytes(16)),
        ("10.0.0.7", 65535, b"\xff" * 16),
    ]:
        invite = Invite(host, port, server.public, secret)
        once = invite.keypair()
        made.append(
            {
                "invite": str(invite),
                "host": host,
                "port": port,
                "server_public": in_hex(raw_key(server.public)),
                "secret": in_hex(secret),
                "once_secret": in_hex(raw_key(once.secret)),
                "once_public": in_hex(raw_key(once.public)),
                "once_public_z85": once.public.decode("ascii"),
            }
        )
    good = made[0]["invite"]
    damaged = [good[:-1], good[:-2] + "AA", good.replace("flame:", "http:"), good.partition("#")[0]]
    return {"about": "Invites, and the key pairs that they stand for", "invites": made, "damaged": damaged}


def error_vectors() -> Vectors:
    return {"about": "The codes of errors, which docs/protocol.md explains", "codes": sorted(_BY_CODE)}


def conversation_vectors() -> Vectors:
    return {
        "about": "Whole conversations, packet by packet",
        "conversations": [
            {
                "name": name,
                "packets": [{"from": who, **described(what, frames)} for who, what, frames in said],
            }
            for name, said in conversations.everything().items()
        ],
    }

"""Packets, and what is delivered when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.protocol import delivery, messages, packets
from flame_kernel.protocol.frames import pack
from flame_kernel.protocol.packets import Kind
from tests.vectors.hexadecimal import Vectors, all_in_hex

KIB, MIB = 1024, 1024 * 1024


def described(name: str, frames: Sequence[Buffer]) -> Vectors:
    """Return a packet's frames, and what they mean."""
    kind, number, ack, parts = packets.decode(frames)
    return {
        "name": name,
        "kind": kind.name,
        "code": int(kind),
        "number": number,
        "ack": ack,
        "parts": all_in_hex(parts),
        "frames": all_in_hex(frames),
    }


def packet_vectors() -> Vectors:
    def packet(name: str, kind: Kind, parts: Sequence[bytes] = (), **counters: int) -> Vectors:
        return described(name, packets.encode(kind, parts, **counters))

    refusal = messages.encode(messages.Refusal("limit", "gpu1 has 64 sessions already"))
    made = [
        packet("a greeting", Kind.HELLO, [b'{"versions":[1],"lane":"server"}']),
        packet("a greeting to the worker", Kind.HELLO, [bytes(range(16)), bytes(range(16, 32))], ack=5),
        packet("an answer to a greeting", Kind.WELCOME, [b'{"version":1,"host":"gpu1"}'], ack=3),
        packet("a refusal", Kind.REFUSED, [refusal]),
        packet("a message", Kind.DATA, [b"one", b"", b"three"], number=1),
        packet("large counters", Kind.DATA, [b"x"], number=2**53 - 1, ack=2**32),
        packet("an acknowledgement", Kind.ACK, ack=258),
        packet("a gap", Kind.GAP, number=7, ack=2),
        packet("a sign of life asked for", Kind.PING, ack=9),
        packet("a sign of life", Kind.PONG, ack=4),
        packet("a new start", Kind.RESET),
        packet("a farewell", Kind.BYE, ack=11),
        packet("two messages in a row", Kind.ROW, [pack([b"one"])[0], pack([b"two", b""])[0]], number=3, ack=1),
        packet("the largest small part", Kind.DATA, [b"s" * (16 * KIB - 1)], number=1),
        packet("the smallest large part", Kind.DATA, [b"a", b"L" * 16 * KIB, b"z"], number=1),
        packet("a part in several frames", Kind.DATA, [b"h", b"V" * (2 * MIB + 5)], number=1),
        packet("two large parts", Kind.DATA, [b"A" * 20 * KIB, b"-", b"B" * (MIB + 1)], number=1),
        packet("more small parts than fit", Kind.DATA, [b"p" * 16_000] * 66, number=1),
    ]
    large = packets.encode(Kind.DATA, [b"L" * 20_000], number=1)[0]
    divided = [
        described("a large part in three frames", [large, b"L" * 1, b"L" * 19_000, b"L" * 999]),
        described("a small part in a frame of its own", _with_own_frame(b"tiny")),
    ]
    head = packets.encode(Kind.DATA, [b"abc"], number=1)[0]
    invalid = {
        "no frames": [],
        "an empty frame": [b""],
        "cut short in its head": [head[:17]],
        "cut short in its table": [head[:22]],
        "cut short in its part": [head[:-1]],
        "a byte too many": [head + b"!"],
        "a frame too many": [head, b"x"],
        "an unknown kind": [head[:1] + b"\x0c" + head[2:]],
        "kind 0": [head[:1] + b"\0" + head[2:]],
        "another wire format": [b"\xf2" + head[1:]],
        "no packet": [b"GET / HTTP/1.1\r\nHost: gpu1\r\n\r\n"],
        "a frame missing": [large, b"L" * 10_000],
        "a frame that is too long": [large, b"L" * 20_001],
        "an empty frame in a part": [large, b"L" * 10_000, b"", b"L" * 10_000],
        "too many parts": [head[:18] + (4097).to_bytes(2, "big") + bytes(8 * 4097)],
    }
    return {
        "about": "Packets: `packets` both ways; `divided` to be read only; `invalid` to be refused",
        "packets": made,
        "divided": divided,
        "invalid": [{"name": name, "frames": all_in_hex(frames)} for name, frames in invalid.items()],
    }


def _with_own_frame(part: bytes) -> list[Buffer]:
    head = bytes(packets.encode(Kind.DATA, [b""], number=1)[0][:20])
    return [head + (1 << 63 | len(part)).to_bytes(8, "big"), part]


def delivery_vectors() -> Vectors:
    receivers = {
        "in order": [1, 2, 3],
        "duplicates are dropped": [1, 1, 2, 1, 2, 3],
        "a hole asks for a new start, and what follows it is not taken": [1, 3, 4, 2, 3],
        "a gap is passed over": [1, {"gap": 5}, 5, 6],
        "a gap of what has come already": [1, 2, {"gap": 1}, 3],
    }
    senders: dict[str, list[tuple[Any, ...]]] = {
        "each message goes out once": [("push", 1), ("push", 1), ("due",), ("due",), ("push", 1), ("due",)],
        "what is not acknowledged goes out again on a new connection": [
            *[("push", 1)] * 3, ("due",), ("acknowledge", 1), ("resume", 2), ("due",), ("acknowledge", 3), ("due",)
        ],
        "256 messages are under way at most": [*[("push", 1)] * 258, ("due",), ("acknowledge", 1), ("due",)],
        "no message is begun beyond 16 MiB": [
            *[("push", 6 * MIB)] * 5, ("due",), ("acknowledge", 1), ("due",), ("acknowledge", 5), ("due",)
        ],
        "one message may always be under way": [
            ("push", 40 * MIB), ("push", 1), ("due",), ("acknowledge", 1), ("due",)
        ],
        "what was never sent can't be acknowledged": [("push", 1), ("due",), ("acknowledge", 2)],
    }  # fmt: skip
    return {
        "about": "Delivery: numbers that arrive, and what to do; messages of so many bytes, and which are sent when",
        "receivers": [{"name": name, "steps": _receive(steps)} for name, steps in receivers.items()],
        "senders": [{"name": name, "steps": _send(steps)} for name, steps in senders.items()],
    }


def _receive(steps: Sequence[Any]) -> list[Vectors]:
    inbox = delivery.Inbox()
    out = []
    for step in steps:
        if isinstance(step, dict):
            lost = inbox.skip(step["gap"])
            out.append({**step, "lost": lost, "received": inbox.received})
        else:
            verdict = {None: "hole", 0: "duplicate", 1: "new"}[inbox.accept(step)]
            out.append({"message": step, "verdict": verdict, "received": inbox.received})
    return out


def _send(steps: Sequence[tuple[Any, ...]]) -> list[Vectors]:
    outbox = delivery.Outbox()
    out: list[Vectors] = []
    for act, *operands in steps:
        if act == "push":
            number = outbox.push([bytes(operands[0])])
            if out and out[-1]["do"] == "push" and out[-1]["bytes"] == operands[0]:
                out[-1]["times"] += 1
            else:
                out.append({"do": "push", "bytes": operands[0], "times": 1, "from": number})
        elif act == "due":
            out.append({"do": "due", "gives": [message.number for message in outbox.due()]})
        else:
            step = {"do": act, "number": operands[0]}
            try:
                getattr(outbox, act)(operands[0])
            except Exception as error:  # noqa: BLE001  # which one is told
                step["error"] = error.code
            out.append(step)
    return out

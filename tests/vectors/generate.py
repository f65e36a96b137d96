"""The test vectors: what the real code makes of fixed input, as plain data, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.vectors import called, said, wire
from tests.vectors.hexadecimal import Vectors

FOLDER = Path(__file__).parent


def everything() -> dict[str, Vectors]:
    """Return what belongs into each file."""
    made: dict[str, Callable[[], Vectors]] = {
        "packets.json": wire.packet_vectors,
        "delivery.json": wire.delivery_vectors,
        "messages.json": said.message_vectors,
        "jupyter.json": said.jupyter_vectors,
        "calls.json": called.call_vectors,
        "fragments.json": called.fragment_vectors,
        "invites.json": said.invite_vectors,
        "errors.json": said.error_vectors,
        "conversations.json": said.conversation_vectors,
    }
    return {name: make() for name, make in made.items()}


def as_text(vectors: Vectors) -> str:
    """Return vectors as a file holds them: a line for each but the outermost lists."""
    out = []
    for name, value in vectors.items():
        if isinstance(value, list):
            lines = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value)
            out.append(f"{json.dumps(name)}: [\n  {lines}\n ]")
        else:
            out.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n " + ",\n ".join(out) + "\n}\n"

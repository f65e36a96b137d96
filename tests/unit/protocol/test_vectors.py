"""The test vectors say what this implementation does, and docs/protocol.md what they mean.

`python -m tests.vectors` writes them anew: for a change of the protocol that was meant. Look at the difference.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.calls import Operation, decode_requests
from flame_kernel.protocol.fragments import Assembler
from flame_kernel.worker.operators import OPERATORS
from tests.vectors.generate import FOLDER, as_text, everything

EVERYTHING = everything()
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "protocol.md").read_text("utf-8")


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_file_holds_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == as_text(EVERYTHING[name]), "see this module's first lines"


def test_no_file_is_left_of_former_vectors() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(EVERYTHING)


def test_what_is_to_be_refused_is_refused() -> None:
    for vector in EVERYTHING["packets.json"]["invalid"]:
        with pytest.raises(ProtocolError):
            packets.decode([from_hex(frame) for frame in vector["frames"]])


def test_what_nobody_writes_is_read_all_the_same() -> None:
    for vector in EVERYTHING["packets.json"]["divided"]:
        parts = packets.decode([from_hex(frame) for frame in vector["frames"]]).parts
        assert [bytes(part) for part in parts] == [from_hex(part) for part in vector["parts"]]


def test_fragments_that_are_to_be_refused_are_refused() -> None:
    for vector in EVERYTHING["fragments.json"]["invalid"]:
        assembler = Assembler()
        *before, last = [[from_hex(part) for part in message] for message in vector["messages"]]
        for message in before:
            assert assembler.take(message) is None
        with pytest.raises(ProtocolError):
            assembler.take(last)


def test_bundles_that_are_to_be_refused_are_refused() -> None:
    for vector in EVERYTHING["calls.json"]["invalid"]:
        with pytest.raises(ProtocolError):
            decode_requests(1, [from_hex(part) for part in vector["parts"]])


@pytest.mark.parametrize("kind", packets.Kind, ids=lambda kind: kind.name)
def test_each_kind_of_packet_has_a_vector(kind: packets.Kind) -> None:
    assert kind.name in {vector["kind"] for vector in EVERYTHING["packets.json"]["packets"]}


@pytest.mark.parametrize(
    "message",
    [*messages.Request.__args__, *messages.Answer.__args__],
    ids=lambda message: message.__name__,
)
def test_each_message_has_a_vector(message: type) -> None:
    tag = message.__struct_config__.tag
    assert tag in {vector["json"].get("type") for vector in EVERYTHING["messages.json"]["messages"]}
    assert f"`{tag}`" in PAGE


@pytest.mark.parametrize(
    "message", [messages.Hello, messages.Welcome, messages.SessionInfo, messages.KernelInfo], ids=lambda it: it.__name__
)
def test_the_page_names_each_field(message: type) -> None:
    assert [field for field in message.__struct_fields__ if f"`{field}`" not in PAGE] == []


@pytest.mark.parametrize("code", EVERYTHING["errors.json"]["codes"])
def test_the_page_explains_each_error(code: str) -> None:
    errors = PAGE.partition("\n## Errors\n")[2]
    assert re.search(rf"^\| `{code}` \| .+ \|$", errors, re.MULTILINE)


@pytest.mark.parametrize("operation", Operation, ids=lambda operation: operation.name)
def test_the_page_explains_each_operation(operation: Operation) -> None:
    assert re.search(rf"^\| {int(operation)} {operation.name} \|", PAGE, re.MULTILINE)


def test_the_page_names_each_operator() -> None:
    paragraph = PAGE.partition("Operators, with their arguments")[2].partition("\n\n")[0]
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", paragraph))))
    derived = {f"{prefix}{name}" for prefix in "ri" for name in named}
    assert set(OPERATORS) - named - derived == set()


def from_hex(written: str | list[str | dict[str, object]]) -> bytes:
    if isinstance(written, str):
        return bytes.fromhex(written)
    return b"".join(
        bytes.fromhex(piece) if isinstance(piece, str) else bytes.fromhex(str(piece["hex"])) * int(str(piece["times"]))
        for piece in written
    )

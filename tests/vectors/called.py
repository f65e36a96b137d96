"""Requests on the calls lane, and their answers."""

from __future__ import annotations

import json
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.protocol import calls
from flame_kernel.protocol.bundles import bundled
from flame_kernel.protocol.calls import Operation, Outcome, encode_answer, encode_request
from flame_kernel.protocol.fragments import split
from flame_kernel.protocol.references import Reference
from flame_kernel.serialize import Format, Parts, dump
from tests.vectors.hexadecimal import Vectors, all_in_hex


def call_vectors() -> Vectors:
    held = Reference("00ff00ff00ff00ff", 7, "object", "io.StringIO", "<_io.StringIO object at 0x7f>")
    asked: list[tuple[str, Operation, Any, bool, bool]] = [
        ("an evaluation", Operation.EVALUATE, ["2 ** 10"], True, False),
        ("statements", Operation.EXECUTE, ["x = 'ü'"], True, False),
        ("nobody waits for it", Operation.EXECUTE, ["x = 1"], True, True),
        ("a call in a module", Operation.CALL, ["os", "path.join", ["a", "b"], {}], True, False),
        ("a call with keywords", Operation.CALL, ["builtins", "sorted", [[3, 1, 2]], {"reverse": True}], True, False),
        ("a call of what is held", Operation.CALL, [["00ff00ff00ff00ff", 7], "write", ["text"], {}], True, False),
        ("an attribute's value", Operation.GET, ["math", "pi"], True, False),
        ("a variable set", Operation.PUSH, ["x", {"a": [1, 2.5, None, True]}], True, False),
        ("an operator", Operation.OPERATE, [["00ff00ff00ff00ff", 7], "", "getitem", [0]], True, False),
        ("the next items", Operation.NEXT, [["00ff00ff00ff00ff", 8], 100], True, False),
        ("what is given back", Operation.RELEASE, [[[7, 1]]], True, False),
        ("a file's piece", Operation.WRITE, Parts(["here", "a.bin", "t0", 0, "9f86d081"], [b"test"]), True, False),
        ("a stream to a port there", Operation.CONNECT, Parts([1, "127.0.0.1", 8787]), True, False),
        ("an evaluation, pickled", Operation.EVALUATE, ("2 ** 10",), False, False),
    ]
    requests = []
    for name, operation, operands, plain, oneway in asked:
        form, written = dump(operands, plain)
        parts = encode_request(operation, form, written, plain, oneway)
        shown = operands.value if isinstance(operands, Parts) else operands
        extra = {"buffers": all_in_hex(operands.buffers)} if isinstance(operands, Parts) else {}
        requests.append(
            {
                "name": name,
                "operation": operation.name,
                "format": int(form),
                "flags": (calls.PLAIN if plain else 0) | (calls.ONEWAY if oneway else 0),
                "operands": shown,
                **extra,
                "parts": all_in_hex(parts),
            }
        )
    failure = calls.Failure("ZeroDivisionError", "division by zero", "Traceback (most recent call last):\n  …\n")
    ours = calls.Failure("SerializationError", "a plain connection carries plain data only", "", "serialization")
    displayed = {"type": "display_data", "content": {"data": {"text/plain": "2"}, "metadata": {}, "transient": {}}}
    told: list[tuple[str, Outcome, int, int, list[Buffer], Any]] = [
        ("a value", Outcome.RESULT, 1, Format.JSON, dump([1, 2.5, None, True, "ü", {"k": 1}], True)[1],
         [1, 2.5, None, True, "ü", {"k": 1}]),
        ("numbers that JSON has no form for", Outcome.RESULT, 2, Format.JSON,
         dump([float("nan"), float("inf"), float("-inf"), "NaN"], True)[1], ["nan", "inf", "-inf", "NaN"]),
        ("bytes", Outcome.RESULT, 3, Format.RAW, [b"\x00\xff"], "00ff"),
        ("a file's piece", Outcome.RESULT, 4, Format.PARTS, dump(Parts(["done", "9f86d081"], [b"test"]))[1],
         {"value": ["done", "9f86d081"], "buffers": ["74657374"]}),
        ("a piece of a stream", Outcome.PIECE, 9, Format.RAW, [b"GET /"], "474554202f"),
        ("credit for a stream", Outcome.NOTE, 9, *dump({"credit": 65536}, True), {"credit": 65536}),
        ("what it printed", Outcome.STDOUT, 5, 0, ["grüße\n".encode()], "grüße\n"),
        ("what it complained of", Outcome.STDERR, 5, 0, [b"oh\n"], "oh\n"),
        ("what it displayed", Outcome.DISPLAY, 5, 0, [_dumped(displayed)], displayed),
        ("an exception", Outcome.ERROR, 6, Format.JSON, [failure.encode()], vars(failure)),
        ("an error of ours", Outcome.ERROR, 7, Format.JSON, [ours.encode()], vars(ours)),
        ("what stays there", Outcome.REFERENCE, 8, Format.JSON, [held.encode()], vars(held)),
    ]  # fmt: skip
    answers = [
        {
            "name": name,
            "outcome": outcome.name,
            "call": call,
            "format": int(form),
            "value": value,
            "parts": all_in_hex(encode_answer(outcome, call, form, written)),
        }
        for name, outcome, call, form, written, value in told
    ]
    asked_together = [encode_request(Operation.EVALUATE, *dump([text], True), plain=True) for text in ("1 + 1", "x")]
    told_together = [
        encode_answer(Outcome.RESULT, calls.call_number(7, 1), *dump(2, True)),
        encode_answer(Outcome.ERROR, calls.call_number(7, 0), Format.JSON, [failure.encode()]),
    ]
    return {
        "about": "Requests on the calls lane, and their answers; pickled ones are for those who have Python",
        "operations": {operation.name: int(operation) for operation in Operation},
        "outcomes": {outcome.name: int(outcome) for outcome in Outcome},
        "formats": {form.name: int(form) for form in Format},
        "requests": requests,
        "answers": answers,
        "bundles": [
            _bundle("requests, in message 7", asked_together, [calls.call_number(7, place) for place in (0, 1)]),
            _bundle("answers, the second first", told_together, [calls.call_number(7, place) for place in (1, 0)]),
        ],
        "invalid": [
            {"name": "a bundle of nothing", "parts": ["ff"]},
            {"name": "a bundle of requests with a head too few", "parts": ["ff010201", "5b5d", "5b5d"]},
            {"name": "a bundle of requests with a part too few", "parts": ["ff010201010201", "5b5d"]},
        ],
    }


def _bundle(name: str, messages: list[list[Buffer]], numbers: list[int]) -> Vectors:
    ((parts, _),) = bundled(messages)
    head = len(messages[0][0])
    held = [{"call": number, "parts": all_in_hex(message)} for number, message in zip(numbers, messages, strict=True)]
    return {"name": name, "head": head, "parts": all_in_hex(parts), "holds": held}


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def fragment_vectors() -> Vectors:
    mib = 1024 * 1024
    head = encode_answer(Outcome.RESULT, 3, Format.RAW)[0]
    messages: list[tuple[str, list[Buffer]]] = [
        ("one that is whole", [head, b"small"]),
        ("the largest that is whole", [head, b"w" * (mib + 16 * 1024 - len(head))]),
        ("a large value", [head, b"V" * (2 * mib + 5)]),
        ("parts of all sizes", [head, b"a", b"", b"B" * (mib + 1), bytearray(b"C" * mib), b"", b"z"]),
    ]
    empty = b"\0" + (2**63 + 5).to_bytes(8, "big")
    invalid = {
        "a piece of nothing": [[b"\0", b"abc"]],
        "something else in between": [[empty], [b"\0", b"abc"], [head, b"x"]],
        "another opening in between": [[empty], [empty]],
        "a byte too many": [[empty], [b"\0", b"abcdef"]],
        "an empty piece": [[empty], [b"\0", b""]],
        "a table that is cut short": [[empty[:-1]]],
    }
    return {
        "about": "Large messages of the calls lane: the parts of a whole message, and those of the messages in which "
        "it travels (as senders do it; receivers take other divisions too); `invalid` to be refused",
        "fragments": [
            {"name": name, "parts": all_in_hex(parts), "messages": [all_in_hex(message) for message in split(parts)]}
            for name, parts in messages
        ],
        "invalid": [
            {"name": name, "messages": [all_in_hex(message) for message in sent]} for name, sent in invalid.items()
        ],
    }

"""Who may come in is asked in the form of RFC 27, and nothing else gets a yes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from flame_kernel.security.question import Question

CREDENTIAL = bytes(range(32))


@dataclass(frozen=True)
class Asked:
    """A question as libzmq asks it."""

    version: bytes = b"1.0"
    domain: bytes = b"flame"
    address: bytes = b"192.0.2.7"
    mechanism: bytes = b"CURVE"
    credentials: tuple[bytes, ...] = (CREDENTIAL,)

    def read(self) -> Question:
        head = [b"peer", b"", self.version, b"42", self.domain, self.address, b"identity", self.mechanism]
        question = Question.read([*head, *self.credentials])
        assert question is not None
        return question


def test_who_proves_a_key_is_asked_for_by_it() -> None:
    question = Asked(address=b"::ffff:192.0.2.7").read()

    assert question.may_ask("flame")
    assert (question.key, question.address) == (z85.encode(CREDENTIAL), "192.0.2.7")
    assert question.answer(True) == [b"peer", b"", b"1.0", b"42", b"200", b"OK", z85.encode(CREDENTIAL), b""]
    assert question.answer(False) == [b"peer", b"", b"1.0", b"42", b"400", b"not admitted", b"", b""]


@pytest.mark.parametrize(
    "change",
    [
        {"version": b"2.0"},
        {"domain": b"other"},
        {"domain": b""},
        {"mechanism": b"NULL", "credentials": ()},
        {"mechanism": b"PLAIN", "credentials": (b"admin", b"password")},
        {"mechanism": b"PLAIN", "credentials": (CREDENTIAL, b"")},
        {"mechanism": b"GSSAPI", "credentials": (CREDENTIAL,)},
        {"credentials": ()},
        {"credentials": (CREDENTIAL[:31],)},
        {"credentials": (CREDENTIAL + b"x",)},
    ],
    ids=str,
)
def test_nobody_else_may_ask(change: dict[str, object]) -> None:
    assert not replace(Asked(), **change).read().may_ask("flame")  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_arbitrary_frames_get_no_yes(frames: list[bytes]) -> None:
    question = Question.read(frames)
    assert question is None or not question.may_ask("flame")

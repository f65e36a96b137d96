from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import Session

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import (
    DELIMITER,
    Channel,
    Envelope,
    Signer,
    compose,
    from_link,
    read_header,
    read_json,
    to_link,
)

KEY = b"0123456789abcdef"

identity = st.binary(max_size=12).filter(lambda frame: frame != DELIMITER)
envelopes = st.builds(
    lambda identities, parts: Envelope(tuple(identities), tuple(parts)),
    st.lists(identity, max_size=3),
    st.lists(st.binary(max_size=30), min_size=4, max_size=7),
)


@given(envelope=envelopes, key=st.sampled_from([b"", KEY]))
def test_what_is_sealed_opens_again(envelope: Envelope, key: bytes) -> None:
    signer = Signer(key)

    assert signer.open(signer.seal(envelope)) == envelope


@given(envelope=envelopes, channel=st.sampled_from(Channel))
def test_a_message_crosses_a_link_unchanged(envelope: Envelope, channel: Channel) -> None:
    assert from_link(to_link(channel, envelope)) == (channel, envelope)


@given(envelope=envelopes, position=st.integers(0, 3))
def test_a_message_that_was_changed_does_not_open(envelope: Envelope, position: int) -> None:
    signer = Signer(KEY)
    frames = signer.seal(envelope)
    frames[len(envelope.identities) + 2 + position] = bytes(envelope.parts[position]) + b"!"

    with pytest.raises(ProtocolError, match="wrong signature"):
        signer.open(frames)


@given(frames=st.lists(st.one_of(st.binary(max_size=12), st.just(DELIMITER), st.just(b"shell")), max_size=8))
def test_arbitrary_frames_are_a_message_or_a_protocol_error(frames: list[bytes]) -> None:
    for read in (Signer(b"").open, from_link):
        with contextlib.suppress(ProtocolError):
            read(frames)


@given(data=st.binary(max_size=40))
def test_arbitrary_bytes_are_json_or_a_protocol_error(data: bytes) -> None:
    for read in (read_header, read_json):
        with contextlib.suppress(ProtocolError):
            read(data)


@pytest.mark.parametrize("data", [b"", b"{", b'"\xff"', b"[" * 100_000], ids=lambda data: repr(data[:8]))
def test_what_is_no_json_is_a_protocol_error(data: bytes) -> None:
    for read in (read_header, read_json):
        with pytest.raises(ProtocolError):
            read(data)


def test_jupyter_client_reads_what_is_composed_and_sealed() -> None:
    theirs = Session(key=KEY, check_pid=False)
    envelope = compose("execute_request", {"code": "1"}, session="s", metadata={"flame": True}, msg_id="m1")

    frames = [bytes(frame) for frame in Signer(KEY).seal(envelope)]
    message: dict[str, Any] = theirs.deserialize(theirs.feed_identities(frames, copy=True)[1], copy=True)

    assert message["msg_id"] == "m1"
    assert message["msg_type"] == "execute_request"
    assert message["content"] == {"code": "1"}
    assert message["metadata"] == {"flame": True}
    assert message["parent_header"] == {}


def test_what_jupyter_client_writes_opens_and_keeps_its_bytes() -> None:
    theirs = Session(key=KEY, check_pid=False)
    request = theirs.msg("kernel_info_request", {"a": 1})
    frames = theirs.serialize(request, ident=[b"peer"])

    envelope = Signer(KEY).open(frames)

    assert envelope.identities == (b"peer",)
    assert list(envelope.parts) == frames[3:]
    assert envelope.header().msg_id == request["header"]["msg_id"]
    assert envelope.parent() is None
    assert envelope.content() == {"a": 1}


def test_an_answer_names_its_parent() -> None:
    request = compose("execute_request", {}, session="s")
    reply = compose("execute_reply", {}, session="t", parent=request.parts[0])

    assert reply.parent() == request.header()


def test_messages_of_the_same_maker_have_ids_of_their_own() -> None:
    ids = {compose("status", {}, session="s").header().msg_id for _ in range(100)}

    assert len(ids) == 100


@pytest.mark.parametrize("parts", [[], [b"heartbeat", DELIMITER, b"", b"", b"", b""], [b"shell", DELIMITER, b"{}"]])
def test_what_is_for_no_channel_or_is_cut_short_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        from_link(parts)


def test_a_message_that_is_played_back_is_refused_as_long_as_it_is_remembered() -> None:
    signer = Signer(b"secret", remember=2)
    sealed = [signer.seal(Envelope((), (b"%d" % number, b"{}", b"{}", b"{}"))) for number in range(3)]
    for frames in sealed:
        signer.open(frames)
    for frames in sealed[1:]:
        with pytest.raises(ProtocolError, match="second time"):
            signer.open(frames)
    signer.open(sealed[0])  # that long ago


def test_without_a_key_nothing_is_remembered() -> None:
    signer = Signer(b"", remember=2)
    frames = signer.seal(Envelope((), (b"{}", b"{}", b"{}", b"{}")))
    assert signer.open(frames) == signer.open(frames)

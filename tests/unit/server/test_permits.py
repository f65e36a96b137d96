"""Who may do what: the table, and the gate that keeps to it, over a network in memory."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from flame_kernel.errors import NotPermitted
from flame_kernel.protocol import jupyter, messages
from flame_kernel.protocol.jupyter import Channel, compose, from_link, to_link
from flame_kernel.protocol.messages import SessionInfo
from flame_kernel.protocol.packets import Kind
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.key_text import fingerprint
from flame_kernel.security.keys import KeyPair
from flame_kernel.server import permits
from flame_kernel.server.permits import Grant
from tests.unit.server.house import ANN, BOB, Caller, House, house
from tests.unit.waiting import settled, until

__all__ = ["house"]  # a fixture

EVE, OTTO = KeyPair.generate(), KeyPair.generate()
ANNS = fingerprint(ANN.public)


# ---------------------------------------------------------------- the table


def test_every_request_is_in_the_table() -> None:
    assert set(typing.get_args(messages.Request)) == set(permits.REQUESTS)


def test_a_request_that_is_not_in_the_table_is_for_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(permits.REQUESTS, messages.ListKernels)
    request = messages.ListKernels(1)

    permits.require(Grant(key=Role.ADMIN, role=Role.ADMIN), request)
    with pytest.raises(NotPermitted):
        permits.require(Grant(key=Role.FILES, role=Role.FILES, owner=True), request)


REQUESTS: dict[str, tuple[messages.Request, Role]] = {
    "interrupt": (messages.Interrupt(1), Role.EXECUTE),
    "restart": (messages.Restart(1), Role.EXECUTE),
    "close": (messages.Close(1), Role.EXECUTE),
    "rename": (messages.Rename(1, "x"), Role.EXECUTE),
    "detach": (messages.Detach(1), Role.EXECUTE),
    "missed": (messages.AskMissed(1), Role.EXECUTE),
    "share": (messages.Share(1, "*"), Role.ADMIN),
    "unshare": (messages.Unshare(1), Role.ADMIN),
    "sessions": (messages.ListSessions(1), Role.OBSERVE),
    "kernels": (messages.ListKernels(1), Role.OBSERVE),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("role", list(Role), ids=[role.value for role in Role])
def test_an_owner_may_do_what_the_role_of_the_key_allows(name: str, role: Role) -> None:
    request, needed = REQUESTS[name]
    grant = Grant("SHA256:x", "ann", role, role, owner=True)
    if role >= needed:
        permits.require(grant, request)
    else:
        with pytest.raises(NotPermitted, match=f"'{name}' needs the role {needed.value}; this client may {role.value}"):
            permits.require(grant, request)


@pytest.mark.parametrize("request_", [messages.Close(1), messages.Unshare(1)], ids=["close", "unshare"])
def test_who_a_session_is_shared_with_does_not_end_it(request_: messages.Request) -> None:
    with pytest.raises(NotPermitted):
        permits.require(Grant("SHA256:x", "bob", Role.FILES, Role.FILES), request_)


@pytest.mark.parametrize("msg_type", ["execute_request", "complete_request", "inspect_request", "history_request",
                                      "comm_open", "comm_msg", "input_reply", "debug_request", "shutdown_request",
                                      "is_complete_request", "anything"])  # fmt: skip
def test_observers_only_ask_what_changes_nothing(msg_type: str) -> None:
    observer = Grant(role=Role.OBSERVE, key=Role.ADMIN)
    assert not permits.may_ask(observer, msg_type)
    assert permits.may_ask(Grant(role=Role.EXECUTE), msg_type)
    assert permits.may_ask(observer, "kernel_info_request")


# ---------------------------------------------------------------- whose sessions


async def ask(caller: Caller, request: Any, number: int) -> messages.Answer:
    caller.packets.clear()
    caller.say(Kind.DATA, messages.TOPIC, messages.encode(request), number=number)
    return await caller.answer()


async def owners(house: House, **fields: Any) -> Caller:
    return await house.attached(session="work", **fields)


async def sessions_of(caller: Caller, number: int, **fields: Any) -> list[SessionInfo]:
    done = await ask(caller, messages.ListSessions(9, **fields), number)
    assert isinstance(done, messages.Done), done
    return list(done.sessions)


async def bob_with(house: House, role: Role = Role.ADMIN, **hello: Any) -> Caller:
    house.authorized.add(BOB.public, role, "bob")
    caller = await house.caller(BOB)
    caller.hello(attachment="b1", **hello)
    return caller


@pytest.mark.parametrize("lane", ["session", "calls"])
@pytest.mark.parametrize("name", ["ann/work", f"{ANNS}/work"], ids=["comment", "fingerprint"])
async def test_nobody_gets_into_a_session_that_is_not_shared(house: House, lane: str, name: str) -> None:
    await owners(house)
    caller = await house.caller(BOB)
    caller.hello(lane, session=name, attachment="b1")

    assert await caller.refusal() == "unknown-session"
    assert len(house.registry.sessions) == 1


async def test_nobody_takes_up_the_conversation_of_another_key(house: House) -> None:
    owner = await owners(house)
    await ask(owner, messages.Share(1, "bob", "execute"), 1)
    thief = await house.caller(BOB)
    thief.hello(session="ann/work", attachment="a1", resumed=True)

    assert await thief.refusal() == "unknown-session"


async def test_a_session_of_the_same_name_is_another_one(house: House) -> None:
    await owners(house)
    caller = await bob_with(house, session="work")

    assert (await caller.welcome()).created
    assert len(house.registry.sessions) == 2


async def test_a_shared_session_is_seen_by_who_it_is_shared_with_and_nobody_else(house: House) -> None:
    house.authorized.add(EVE.public, Role.ADMIN, "eve")
    owner = await owners(house)
    assert await ask(owner, messages.Share(1, "bob"), 1) == messages.Done(1, shared=("bob (observe)",))

    bob = await bob_with(house, session="ann/work", observe=True)
    welcome = await bob.welcome()
    assert (welcome.session, welcome.role, welcome.owner, welcome.calls) == ("ann/work", "observe", "ann", False)
    assert [(info.name, info.owner, info.role) for info in await sessions_of(bob, 1)] == [
        ("ann/work", "ann", "observe")
    ]
    eve = await house.caller(EVE)
    eve.hello(session="mine", attachment="e1")
    await eve.welcome()
    assert [info.name for info in await sessions_of(eve, 1)] == ["mine"]
    assert sorted(info.name for info in await sessions_of(eve, 2, everyone=True)) == ["ann/work", "mine"]
    assert [info.shared for info in await sessions_of(owner, 2)] == [("bob (observe)",)]


async def test_a_name_that_two_keys_have_is_not_enough(house: House) -> None:
    house.authorized.add(EVE.public, Role.ADMIN, "bob")
    owner = await owners(house)
    answer = await ask(owner, messages.Share(1, "bob"), 1)
    assert isinstance(answer, messages.Failed)
    assert fingerprint(EVE.public) in answer.why.message
    done = await ask(owner, messages.Share(2, fingerprint(BOB.public)), 2)
    assert done == messages.Done(2, shared=(f"{fingerprint(BOB.public)} (observe)",))


@pytest.mark.parametrize(
    ("who", "role", "code"),
    [("nobody", "observe", "configuration"), ("bob", "admin", "configuration"), ("bob", "king", "configuration")],
)
async def test_what_can_not_be_shared_is_refused(house: House, who: str, role: str, code: str) -> None:
    answer = await ask(await owners(house), messages.Share(1, who, role), 1)
    assert isinstance(answer, messages.Failed)
    assert answer.why.code == code
    assert house.only_session().shares == {}


async def test_a_private_session_is_not_shared(house: House) -> None:
    answer = await ask(await house.attached(), messages.Share(1, "bob"), 1)
    assert isinstance(answer, messages.Failed)
    assert "give it a name" in answer.why.message


@pytest.mark.parametrize(
    ("given", "key", "may"),
    [("execute", Role.ADMIN, "execute"), ("execute", Role.EXECUTE, "execute"), ("files", Role.EXECUTE, "execute")],
)
async def test_in_a_shared_session_one_may_no_more_than_both_allow(
    house: House, given: str, key: Role, may: str
) -> None:
    await ask(await owners(house), messages.Share(1, "*", given), 1)
    bob = await bob_with(house, key, session="ann/work")

    assert (await bob.welcome()).role == may


async def test_who_may_only_observe_has_to_say_so(house: House) -> None:
    await ask(await owners(house), messages.Share(1, "bob", "execute"), 1)
    bob = await bob_with(house, Role.OBSERVE, session="ann/work")
    refusal = messages.decode(bytes((await bob.next(Kind.REFUSED)).parts[0]), messages.Refusal)
    assert refusal.code == "not-permitted"
    assert "observe=True" in refusal.message


@pytest.mark.parametrize("lane", ["session", "calls"])
async def test_a_key_that_may_only_observe_starts_and_calls_nothing(house: House, lane: str) -> None:
    await ask(await owners(house), messages.Share(1, "bob", "execute"), 1)
    house.authorized.add(BOB.public, Role.OBSERVE, "bob")
    bob = await house.caller(BOB)
    bob.hello(lane, session="mine" if lane == "session" else "ann/work", attachment="b1")

    assert await bob.refusal() == "not-permitted"
    assert len(house.registry.sessions) == 1


async def test_an_observer_is_answered_in_the_terms_of_its_frontend(house: House) -> None:
    await ask(await owners(house), messages.Share(1, "bob"), 1)
    bob = await bob_with(house, session="ann/work", observe=True)
    await bob.welcome()
    request = compose("execute_request", {"code": "1"}, session="s", identities=(b"me",))
    bob.say(Kind.DATA, *to_link(Channel.SHELL, request), number=1)

    told = [from_link((await bob.next(Kind.DATA)).parts) for _ in range(4)]
    assert [(channel, envelope.header().msg_type) for channel, envelope in told] == [
        (Channel.IOPUB, "status"),
        (Channel.IOPUB, "error"),
        (Channel.SHELL, "execute_reply"),
        (Channel.IOPUB, "status"),
    ]
    reply = told[2][1]
    assert reply.identities == (b"me",)
    assert reply.content()["ename"] == "NotPermitted"
    assert {envelope.parent() for _, envelope in told} == {request.header()}


async def test_an_observer_may_ask_about_the_kernel_and_nothing_rides_along(house: House) -> None:
    await ask(await owners(house), messages.Share(1, "bob"), 1)
    bob = await bob_with(house, session="ann/work", observe=True)
    await bob.welcome()
    asked = compose("kernel_info_request", {"code": "rm"}, session="s", metadata={"x": 1})
    bob.say(Kind.DATA, *to_link(Channel.SHELL, asked), b"a buffer", number=1)

    _, passed = from_link((await bob.next(Kind.DATA)).parts)  # the fake kernel says it back
    assert passed.header().msg_id == asked.header().msg_id
    assert [jupyter.read_json(part) for part in passed.parts[2:]] == [{}, {}]


async def test_an_admin_ends_the_session_of_another_key_and_others_do_not(house: House) -> None:
    await owners(house)
    house.authorized.add(OTTO.public, Role.FILES, "otto")
    otto = await house.caller(OTTO)
    otto.hello(session="o", attachment="o1")
    await otto.welcome()
    assert isinstance(await ask(otto, messages.Close(1, "ann/work"), 1), messages.Failed)
    bob = await bob_with(house, session="b")
    await bob.welcome()
    assert await ask(bob, messages.Close(2, "ann/work"), 1) == messages.Done(2)

    (work,) = (session for key, session in house.registry.sessions.items() if key.name == "work")
    assert work.closed == 1
    denied, ended = [record for record in house.records if record["event"] in ("denied", "end")]
    assert (denied["name"], denied["denied"]) == ("otto", "end")
    assert (ended["name"], ended["session"], ended["owner"]) == ("bob", "work", ANNS)


# ---------------------------------------------------------------- what changes while they are there


async def test_who_a_session_is_no_longer_shared_with_is_let_go_at_once(house: House) -> None:
    owner = await owners(house)
    await ask(owner, messages.Share(1, "bob", "execute"), 1)
    bob = await bob_with(house, session="ann/work")
    await bob.welcome()
    assert await ask(owner, messages.Unshare(2, "bob"), 2) == messages.Done(2)

    await bob.next(Kind.RESET)
    assert not house.only_session().attachments["b1"].connected
    bob.hello(session="ann/work", attachment="b1", resumed=True)
    assert await bob.refusal() == "unknown-session"


async def test_a_removed_key_loses_its_connections_and_what_was_kept_for_it(house: House) -> None:
    ann = await owners(house)
    house.authorized.remove("ann")
    assert house.gate.recheck(house.authorized.roles()).total() == 1

    assert await ann.refusal() == "key-refused"
    await settled()
    assert house.only_session().attachments == {}
    assert house.gate._peers == {}
    # It is hung up on, and what it dials again is not let in.
    await until(lambda: ann.ups == 2)
    ann.hello(session="work", resumed=True)
    assert await ann.refusal() == "key-refused"


async def test_a_key_that_may_do_less_greets_again_and_gets_what_it_may(house: House) -> None:
    ann = await owners(house)
    house.authorized.add(ANN.public, Role.OBSERVE, "ann")
    house.gate.recheck(house.authorized.roles())
    await ann.next(Kind.RESET)
    ann.hello(session="work", resumed=True)
    assert await ann.refusal() == "not-permitted"

    house.authorized.add(ANN.public, Role.EXECUTE, "ann")
    again = await owners(house, resumed=True)
    answer = await ask(again, messages.Share(1, "*"), 1)
    assert isinstance(answer, messages.Failed)
    assert answer.why.code == "not-permitted"


async def test_a_look_that_finds_nothing_changed_disturbs_nobody(house: House) -> None:
    ann = await owners(house)
    assert house.gate.recheck(house.authorized.roles()).total() == 0
    ann.say(Kind.PING)
    await ann.next(Kind.PONG)


# ---------------------------------------------------------------- limits


async def test_a_session_has_room_for_so_many_clients(house: House) -> None:
    for name in ("a1", "a2", "a3"):
        await owners(house, attachment=name)
    one_more = await house.caller()
    one_more.hello(session="work", attachment="a4")
    refusal = messages.decode(bytes((await one_more.next(Kind.REFUSED)).parts[0]), messages.Refusal)
    assert refusal.code == "limit"
    assert "limits.clients" in refusal.message
    again = await house.caller()
    again.hello(session="work", attachment="a3", resumed=True)
    await again.welcome()  # who has a place keeps it


async def test_a_key_has_so_many_connections_and_the_others_notice_nothing(house: House) -> None:
    callers = [await house.caller() for _ in range(4)]
    for number, caller in enumerate(callers):
        caller.hello(session="work" if number < 3 else "more", attachment=f"a{number}")
        await caller.welcome()
    one_more = await house.caller()
    one_more.hello(session="other")
    refusal = messages.decode(bytes((await one_more.next(Kind.REFUSED)).parts[0]), messages.Refusal)
    assert refusal.code == "limit"
    assert "limits.connections_per_key" in refusal.message
    bob = await bob_with(house, session="mine")
    await bob.welcome()
    callers[0].say(Kind.PING)
    await callers[0].next(Kind.PONG)


async def test_a_message_at_the_limit_is_taken_and_one_above_it_refused(house: House) -> None:
    ann, other = await owners(house), await bob_with(house, session="mine")
    ann.say(Kind.DATA, *to_link(Channel.SHELL, compose("x", {}, session="s")), bytes(195_000), number=1)
    await ann.next(Kind.DATA)
    ann.say(Kind.DATA, *to_link(Channel.SHELL, compose("x", {}, session="s")), bytes(270_000), number=2)

    refusal = messages.decode(bytes((await ann.next(Kind.REFUSED)).parts[0]), messages.Refusal)
    assert refusal.code == "limit"
    assert "limits.message_bytes" in refusal.message
    await other.welcome()

"""The server's door, over a network in memory; its sessions have no kernel, but workers are real."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flame_kernel.buffers import Buffer
from flame_kernel.client.links.link import Link
from flame_kernel.errors import FlameError, SessionDied
from flame_kernel.protocol import calls, messages, packets
from flame_kernel.protocol.jupyter import Channel, compose, to_link
from flame_kernel.protocol.messages import Hello, Refusal, Welcome
from flame_kernel.protocol.packets import Kind
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import public_to_text
from flame_kernel.server.boot import KernelFacts
from flame_kernel.transport.interface import Cause
from tests.unit.server.house import ANN, BOB, NOW, SERVER, STRANGER, House, house, jupyter
from tests.unit.waiting import settled, until

__all__ = ["house"]  # a fixture


async def test_a_greeting_attaches_to_a_session_and_says_what_it_is(house: House) -> None:
    caller = await house.caller()
    caller.hello(session="work")

    welcome = await caller.welcome()
    assert (welcome.host, welcome.session, welcome.kernel) == ("gpu1", "work", "python3")
    assert (welcome.language, welcome.created, welcome.calls) == ("python", True, True)
    assert (welcome.pid, welcome.state) == (7, "ready")


@pytest.mark.parametrize("lane", ["session", "server"])
async def test_who_greets_is_told_how_often_to_say_something(house: House, lane: str) -> None:
    caller = await house.caller()
    caller.hello(lane, session="work" if lane == "session" else "")
    assert (await caller.welcome()).silence_s == 20.0


async def test_requests_are_carried_out_and_jupyter_messages_passed_on(house: House) -> None:
    caller = await house.attached(session="work")
    caller.say(Kind.DATA, messages.TOPIC, messages.encode(messages.Interrupt(5)), number=1)
    assert await caller.answer() == messages.Done(5)
    assert house.only_session().interrupts == 1

    caller.say(Kind.DATA, messages.TOPIC, messages.encode(messages.Restart(6)), number=2)
    assert await caller.answer() == messages.Failed(6, Refusal("session", "not now"))

    kind, parts, number = jupyter(3)
    caller.say(kind, *parts, number=number)
    assert (await caller.next(Kind.DATA)).parts == parts


async def test_a_message_to_a_dead_session_is_answered_with_its_death(house: House) -> None:
    caller = await house.attached(session="work")
    house.only_session().state = SessionState.DEAD
    kind, parts, number = jupyter(1)
    caller.say(kind, *parts, number=number)

    assert await caller.answer() == messages.Died("session 'work' died: it was killed")


async def test_keys_have_sessions_of_their_own(house: House) -> None:
    await house.attached(session="work")
    bob = await house.caller(BOB)
    bob.hello("calls", session="work")

    assert await bob.refusal() == "unknown-session"


async def test_who_is_not_admitted_is_refused_and_nothing_is_started(house: House) -> None:
    caller = await house.caller(STRANGER)
    caller.hello(session="work")

    assert await caller.refusal() == "key-refused"
    assert house.registry.sessions == {}


async def test_an_invite_enrols_and_does_nothing_else(house: House) -> None:
    invite = Invite.mint("gpu1", 9999, SERVER.public)
    house.invites.issue(invite, 60.0, NOW)
    caller = await house.caller(invite.keypair())
    caller.hello(session="work")
    assert await caller.refusal() == "key-refused"

    again = await house.caller(invite.keypair())
    again.hello("enrol", key=public_to_text(STRANGER.public), client="new")
    assert (await again.welcome()).host == "gpu1"
    stranger = await house.caller(STRANGER)
    stranger.hello(session="work")
    assert (await stranger.welcome()).session == "work"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"session": "one too many"}, "limit"),
        ({"session": "work", "resumed": True}, "unknown-session"),
        ({"lane": "unheard-of"}, "protocol"),
        ({"attachment": ""}, "protocol"),
        ({"attachment": "../a"}, "protocol"),
        ({"attachment": "käse"}, "protocol"),
        ({"lane": "calls", "session": "work"}, "unknown-session"),
    ],
    ids=str,
)
async def test_a_greeting_that_can_not_be_met_is_refused_with_the_reason(
    house: House, fields: dict[str, Any], code: str
) -> None:
    caller = await house.caller()
    caller.hello(**fields)

    assert await caller.refusal() == code


async def test_a_client_of_another_version_is_told_which_to_install(house: House) -> None:
    caller = await house.caller()
    caller.say(Kind.HELLO, messages.encode(Hello((99,), "session", "a1")))

    refusal = messages.decode(bytes((await caller.next(Kind.REFUSED)).parts[0]), Refusal)
    assert refusal.code == "version"
    assert "this client speaks 99" in refusal.message


@pytest.mark.parametrize("frames", [[b"junk"], [b"\xf1"], packets.encode(Kind.HELLO, [b"{"])], ids=repr)
async def test_junk_is_refused_and_the_others_notice_nothing(house: House, frames: list[Buffer]) -> None:
    other = await house.attached(session="work")
    caller = await house.caller()
    caller.dialler.send(frames)

    assert await caller.refusal() == "protocol"
    other.say(Kind.PING)
    await other.next(Kind.PONG)


async def test_who_was_not_greeted_is_asked_to_greet(house: House) -> None:
    caller = await house.caller()
    caller.say(Kind.PING)

    await caller.next(Kind.RESET)


async def test_greetings_that_follow_each_other_at_once_are_met_with_one_session(house: House) -> None:
    caller = await house.caller()
    for _ in range(3):  # as a client does that is told RESET for each packet of a connection the server had forgotten
        caller.hello()

    await caller.welcome()
    await settled()
    assert Kind.REFUSED not in caller.kinds
    assert len(house.registry.sessions) == 1


async def test_a_ping_is_answered_while_the_session_starts(house: House) -> None:
    house.registry.may_start.clear()
    caller = await house.caller()
    caller.hello(session="work")
    caller.say(Kind.PING)

    await caller.next(Kind.PONG)
    house.registry.may_start.set()
    await caller.welcome()


async def test_a_client_that_leaves_while_its_private_session_starts_leaves_nothing_behind(house: House) -> None:
    house.registry.may_start.clear()
    caller = await house.caller()
    caller.hello()
    caller.say(Kind.BYE)
    await settled()
    house.registry.may_start.set()

    await until(lambda: house.registry.sessions and house.only_session().closed)
    assert house.only_session().attachments == {}


@pytest.mark.parametrize(("session", "closed"), [("", 1), ("work", 0)])
async def test_bye_ends_a_private_session_only(house: House, session: str, closed: int) -> None:
    caller = await house.attached(session=session)
    caller.say(Kind.BYE)
    await settled()

    assert house.only_session().attachments == {}
    assert house.only_session().closed == closed


async def test_a_client_that_comes_back_gets_what_it_missed(house: House) -> None:
    caller = await house.attached(session="work")
    attachment = house.only_session().attachments["a1"]
    attachment.deliver([b"seen"])
    await caller.next(Kind.DATA)
    house.network.cut()
    attachment.deliver([b"missed"])
    await until(lambda: caller.ups == 2)
    caller.hello(session="work", resumed=True, ack=1)

    assert (await caller.welcome()).created is False
    assert (await caller.next(Kind.DATA)).parts == [b"missed"]


async def test_a_connection_that_fell_silent_after_a_cut_takes_nothing_from_the_one_that_replaced_it(
    house: House,
) -> None:
    caller = await house.attached(session="work")
    house.network.cut()
    await until(lambda: caller.ups == 2)
    house.now = 15.0
    caller.hello(session="work", resumed=True)
    await caller.welcome()

    house.now = 25.0
    house.gate.expire(20.0)

    assert house.only_session().attachments["a1"].connected
    caller.say(Kind.PING)
    await caller.next(Kind.PONG)


async def test_a_client_that_fell_silent_is_let_go_and_greets_when_it_speaks_again(house: House) -> None:
    caller = await house.attached(session="work")
    house.now = 30.0
    house.gate.expire(20.0)
    assert not house.only_session().attachments["a1"].connected

    caller.say(Kind.PING)
    await caller.next(Kind.RESET)
    caller.hello(session="work", resumed=True)
    await caller.welcome()
    assert house.only_session().attachments["a1"].connected


async def test_closing_lets_go_of_everybody_and_ends_nobody(house: House) -> None:
    for name in ("a1", "a2"):
        await house.attached(session="work", attachment=name)
    house.gate.close()

    assert [attachment.connected for attachment in house.only_session().attachments.values()] == [False, False]
    assert house.only_session().closed == 0


async def test_a_calls_lane_reaches_the_worker(house: House) -> None:
    await house.attached(session="work")
    house.start_worker({"x": 41})
    lane = await house.lane()
    lane.say(Kind.DATA, *calls.encode_request(calls.Operation.EVALUATE, 2, [b'["x + 1"]'], plain=True), number=1)

    answer = calls.decode_answer((await lane.next(Kind.DATA)).parts)
    assert (answer.outcome, bytes(answer.parts[0])) == (calls.Outcome.RESULT, b"42")


async def test_a_client_may_greet_the_worker_right_behind_the_server(house: House) -> None:
    await house.attached(session="work")
    house.start_worker({})
    lane = await house.caller()
    lane.hello("calls", session="work")
    lane.say(Kind.HELLO, bytes(16), bytes(16))

    assert (await lane.welcome()).session == "work"
    assert len((await lane.next(Kind.WELCOME)).parts[0]) == 16


async def test_what_a_refused_client_says_besides_is_passed_over(house: House) -> None:
    lane = await house.caller()
    lane.hello("calls", session="nowhere")
    lane.say(Kind.HELLO, bytes(16), bytes(16))
    lane.say(Kind.DATA, b"x", number=1)
    assert await lane.refusal() == "unknown-session"
    await house.attached(session="work")  # what was said before that has been dealt with

    assert lane.kinds == []
    assert [record["event"] for record in house.records].count("refused") == 1


async def test_a_calls_lane_that_waits_in_silence_for_its_answer_gets_it(house: House) -> None:
    await house.attached(session="work")
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    house.start_worker({"wait": lambda: asyncio.run_coroutine_threadsafe(done.wait(), loop).result()})
    lane = await house.lane()
    lane.say(Kind.DATA, *calls.encode_request(calls.Operation.EVALUATE, 2, [b'["wait()"]'], plain=True), number=1)
    for _ in range(5):
        house.now += 30.0
        house.gate.expire(20.0)
    done.set()

    answer = calls.decode_answer((await lane.next(Kind.DATA)).parts)
    assert bytes(answer.parts[0]) == b"true"


async def test_a_calls_lane_whose_connection_is_gone_is_let_go(house: House) -> None:
    await house.attached(session="work")
    house.start_worker({})
    await house.lane()
    house.network.refuse(Cause.NO_ANSWER)
    house.network.cut()
    house.now = 30.0
    house.gate.expire(20.0)

    assert house.gate._peers == {}


async def test_a_calls_lane_is_asked_to_greet_when_the_session_has_a_new_process(house: House) -> None:
    await house.attached(session="work")
    house.start_worker({})
    lane = await house.lane()
    house.only_session().on_process_change.pop()(None)
    await lane.next(Kind.RESET)

    await house.lane()
    house.only_session().on_process_change.pop()(SessionDied("it died"))


async def test_a_calls_lane_is_refused_when_the_session_has_died_is_ending_or_has_no_calls(house: House) -> None:
    await house.attached(session="work")
    session = house.only_session()
    for state, facts, code in (
        (SessionState.DEAD, session.facts, "session-died"),
        (SessionState.ENDED, session.facts, "session"),
        (SessionState.READY, KernelFacts("R", calls=False), "calls-unavailable"),
    ):
        session.state, session.facts = state, facts
        lane = await house.caller()
        lane.hello("calls", session="work")
        assert await lane.refusal() == code


async def test_an_unexpected_failure_of_a_request_is_told_to_who_asked(house: House) -> None:
    caller = await house.attached(session="work")
    house.registry.all = None
    caller.say(Kind.DATA, messages.TOPIC, messages.encode(messages.ListSessions(5)), number=1)

    answer = await caller.answer()
    assert isinstance(answer, messages.Failed)
    assert answer.id == 5
    assert "the server failed" in answer.why.message


async def test_what_is_no_request_is_refused_without_ending_the_link(house: House) -> None:
    caller = await house.attached(session="work")
    caller.say(Kind.DATA, messages.TOPIC, b"{", number=1)

    answer = await caller.answer()
    assert isinstance(answer, messages.Failed)
    assert answer.why.code == "protocol"
    caller.say(Kind.PING)
    await caller.next(Kind.PONG)


class Heard:
    """A link's events: what it hears, and how often it was opened."""

    def __init__(self) -> None:
        self.opened = 0
        self.heard: list[bytes] = []
        self.troubles: list[object] = []

    def on_open(self, welcome: Welcome) -> None:
        self.opened += 1

    def on_message(self, parts: Sequence[Buffer]) -> None:
        self.heard.append(bytes(parts[-1]))

    def on_missing(self, count: int) -> None:
        self.troubles.append(count)

    def on_down(self, cause: Cause) -> None:
        pass

    def on_ended(self, error: FlameError) -> None:
        self.troubles.append(error)


def _echo(text: bytes) -> list[Buffer]:
    return [*to_link(Channel.SHELL, compose("comm_msg", {}, session="s")), text]


async def test_a_link_to_the_gate_loses_nothing_over_cuts_and_forgotten_connections(house: House) -> None:
    events = Heard()
    hello = Hello((packets.VERSION,), "session", "a1")
    link = Link(lambda told: house.network.dialler(told, ANN.public), hello, events, "gpu1")
    link.start()
    await until(lambda: events.opened)
    (session,) = house.registry.sessions.values()
    expected = [b"%d" % number for number in range(40)]
    for number, text in enumerate(expected):
        link.send(_echo(text))
        if number % 8 == 3:
            house.network.cut()
        if number % 8 == 7:  # the server was asleep, and knows the connection no more
            house.now += 30.0
            house.gate.expire(20.0)
            for again in range(3):
                link.send(_echo(b"%d more" % again))
        if number % 3 == 0:
            await settled(number % 7)

    await until(lambda: len(events.heard) == len(expected) + 5 * 3)
    assert [text for text in events.heard if b"more" not in text] == expected
    assert events.troubles == []
    assert house.registry.sessions == {session.key: session}, "it's one session all the time"
    link.close(leave=True)
    await until(lambda: session.closed)

"""A notebook's connections, by name."""

from __future__ import annotations

from typing import Any

import pytest

from flame_kernel.errors import ConnectError
from flame_magics.connections import Connected, Connections
from flame_magics.settings import FlameMagics
from flame_magics.status import Status


class Session:
    """As much of a session as names it."""

    def __init__(self, address: str, name: str) -> None:
        self.host, self.address, self.name = "gpu1", address, name or "private-1"
        self.private = not name
        self.kernel, self.linked = "python3", True


class Flame:
    """A connection to nowhere."""

    def __init__(self, address: str = "gpu1:9999", session: str = "") -> None:
        self.session = Session(address, session)
        self.closed = False

    def close(self) -> None:
        self.closed = True


def connected(flame: Any, name: str) -> Connected:
    return Connected.by("%flame_connect", flame, name, flame.session.address)


@pytest.fixture
def connections() -> Connections:
    return Connections(FlameMagics())


def test_the_first_is_the_default_until_it_ends_or_another_is_made_it(connections: Connections) -> None:
    a, b, c = Flame(), Flame(), Flame()
    connections.add(connected(a, "a"))
    connections.add(connected(b, "b"))
    assert connections.get() is a
    a.close()
    connections.add(connected(c, "c"))
    assert connections.get() is c
    assert connections.set_default("b") is b
    assert connections.get() is b
    assert connections.remove(None).flame is b
    assert connections.default == "c"


def test_of_two_with_one_name_the_first_is_closed(connections: Connections) -> None:
    first, second = Flame(), Flame()
    connections.add(connected(first, "a"))
    connections.add(connected(second, "a"))
    assert first.closed
    assert not second.closed
    assert connections.get("a") is second


@pytest.mark.parametrize(
    ("existing", "new", "name"),
    [
        ([], Flame(), "gpu1"),
        ([Flame()], Flame(), "gpu1"),  # the same place once more
        ([Flame("gpu1:9999")], Flame("gpu1:7777"), "gpu1:7777"),
        ([Flame()], Flame(session="work"), "gpu1:9999"),
        ([Flame(), Flame(session="work")], Flame(session="other"), "gpu1/other"),
    ],
)
def test_a_name_is_as_short_as_it_can_be(connections: Connections, existing: list[Any], new: Any, name: str) -> None:
    for flame in existing:
        connections.add(connected(flame, connections.name_for(flame, None)))
    assert connections.name_for(new, None) == name
    assert connections.name_for(new, "mine") == "mine"


def test_several_are_named_by_commas_or_all(connections: Connections) -> None:
    for name in ("a", "b", "c"):
        connections.add(connected(Flame(), name))
    assert [one.name for one in connections.several("a, c,a")] == ["a", "c"]
    assert [one.name for one in connections.several("all")] == ["a", "b", "c"]
    assert [one.name for one in connections.several(None)] == ["a"]
    with pytest.raises(ConnectError, match="no connection named 'd'; there are: a, b, c"):
        connections.several("a,d")


def test_what_is_missing_or_has_ended_says_what_to_type(connections: Connections) -> None:
    for wanted in (None, "all", "a"):
        with pytest.raises(ConnectError, match="not connected: %flame_connect HOST first"):
            connections.several(wanted)
    flame = Flame()
    connections.add(connected(flame, "a b"))
    flame.close()
    with pytest.raises(ConnectError, match="has ended: %flame_connect gpu1:9999 -n 'a b' connects again"):
        connections.get()
    assert "has ended" not in repr(Status(connections.items(), connections.default))
    assert "ended: %flame_connect gpu1:9999 -n 'a b' connects again" in repr(
        Status(connections.items(), connections.default)
    )


def test_a_session_that_was_left_is_attached_to_again(connections: Connections) -> None:
    flame = Flame(session="work")
    one = connected(flame, "a")
    connections.add(one)
    flame.close()
    connections.leave(one)
    with pytest.raises(ConnectError, match="%flame_attach work gpu1:9999 -n a connects again"):
        connections.get()


def test_closing_closes_all(connections: Connections) -> None:
    flames = [Flame(), Flame()]
    for number, flame in enumerate(flames):
        connections.add(connected(flame, str(number)))
    connections.close()
    assert all(flame.closed for flame in flames)
    assert connections.items() == []
    assert connections.default == ""

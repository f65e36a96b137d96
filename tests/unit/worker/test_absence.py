"""What is held for a client outlives a cut, but not its absence for good."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import pytest

from flame_kernel.worker.absence import LEASE_S, Absence
from flame_kernel.worker.objects import Objects
from tests.unit.clock import Clock


class Thing:
    pass


class Scene:
    """A client that comes and goes, and a thing that is held for it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.there = {b"ann"}
        self.objects = Objects(bytes(8))
        self.absence = Absence(self.objects, self.there.__contains__, LEASE_S, self.clock)
        self.thing = self.hold(b"ann")

    def hold(self, client: bytes) -> weakref.ref[Any]:
        thing = Thing()
        self.objects.hold(client, thing)
        return weakref.ref(thing)

    def look_after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.absence.look()
        for thread in threading.enumerate():
            if thread.name == "flame-release":
                thread.join(30)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_held_for_a_client_outlives_an_hour_in_which_it_is_there(scene: Scene) -> None:
    for _ in range(5):
        scene.look_after(LEASE_S)

    assert scene.thing() is not None


def test_a_client_that_stays_away_loses_it_after_an_hour_and_not_before(scene: Scene) -> None:
    scene.there.clear()
    scene.look_after(0)
    scene.look_after(3599.0)
    assert scene.thing() is not None
    scene.look_after(1.0)

    assert scene.thing() is None
    assert scene.absence.wait_s is None  # nothing to look after


def test_a_client_that_comes_back_has_another_hour(scene: Scene) -> None:
    scene.there.clear()
    scene.look_after(0)
    scene.look_after(3599.0)
    scene.there.add(b"ann")
    scene.look_after(1.0)
    scene.there.clear()
    scene.look_after(1.0)
    scene.look_after(3599.0)
    assert scene.thing() is not None
    scene.look_after(1.0)

    assert scene.thing() is None


def test_only_those_of_the_client_that_is_away_are_let_go_of(scene: Scene) -> None:
    scene.there.add(b"bob")
    bobs = scene.hold(b"bob")
    scene.there.discard(b"ann")
    scene.look_after(0)
    scene.look_after(LEASE_S)

    assert scene.thing() is None
    assert bobs() is not None


def test_a_client_that_leaves_loses_it_at_once(scene: Scene) -> None:
    scene.absence.left(b"ann")
    scene.look_after(0)

    assert scene.thing() is None

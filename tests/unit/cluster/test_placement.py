from __future__ import annotations

from typing import Any

import pytest

from flame_kernel.cluster.members import Member, Terms
from flame_kernel.cluster.placement import Placement, Shares
from flame_kernel.errors import SessionError

GIB = 2**30


def host(name: str, cores: int = 8, memory: int = 16 * GIB) -> Member:
    member = Member(name, name, "dask-x-workers", None, Terms(None, 60.0, {}))
    member.facts = {"cores": cores, "memory": memory}
    return member


def placed(placement: Placement, count: int) -> dict[str, Any]:
    specs: dict[str, Any] = {}
    for _ in range(count):
        member, name = placement.next(specs)
        specs[name] = {"options": {"member": member}}
    return specs


def test_workers_are_spread_evenly_the_first_host_first() -> None:
    placement = Placement([host("a"), host("b")], Shares(2))
    assert list(placed(placement, 5)) == ["a-0", "b-0", "a-1", "b-1", "a-2"]


def test_a_name_is_not_used_again() -> None:
    placement = Placement([host("a")], Shares(1))
    assert list(placed(placement, 1)) == ["a-0"]
    assert placement.next({})[1] == "a-1"


def test_a_host_that_is_lost_gets_none() -> None:
    a, b = host("a"), host("b")
    a.lost = "it did not answer"
    placement = Placement([a, b], Shares(1))
    assert list(placed(placement, 2)) == ["b-0", "b-1"]
    b.lost = "nor did it"
    with pytest.raises(SessionError, match=r"no host left \(a: it did not answer; b: nor did it\)"):
        placement.next({})


def test_cores_and_memory_are_divided_unless_told() -> None:
    large, small = host("large", 32, 64 * GIB), host("small", 1, 2 * GIB)
    divided = Placement([large, small], Shares(4))
    assert (divided.threads(large), divided.threads(small), divided.fewest_threads()) == (8, 1, 1)
    assert divided.least_memory() == 2 * GIB
    assert divided.options(large)["memory_limit"] == "auto"

    told = Placement([large, small], Shares(4, 2, "3 GiB", {"nthreads": 5, "resources": {"GPU": 1}}))
    assert (told.fewest_threads(), told.least_memory()) == (2, 3 * GIB)
    options = told.options(large)
    assert (options["memory_limit"], options["nthreads"], options["resources"]) == ("3 GiB", 5, {"GPU": 1})

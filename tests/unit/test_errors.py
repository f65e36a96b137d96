from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from flame_kernel import errors
from flame_kernel.errors import FlameError, RemoteError, RemoteTraceback, from_code


def tree(root: type[FlameError]) -> Iterator[type[FlameError]]:
    yield root
    for branch in root.__subclasses__():
        if branch.__module__ == errors.__name__:
            yield from tree(branch)


ALL = list(tree(FlameError))
BY_CODE = [error for error in ALL if error not in (RemoteError, RemoteTraceback)]


def test_every_error_has_a_code_of_its_own() -> None:
    assert len({error.code for error in ALL}) == len(ALL)


@pytest.mark.parametrize("error", BY_CODE, ids=lambda error: error.__name__)
def test_an_error_crosses_as_its_code(error: type[FlameError]) -> None:
    again = from_code(error.code, "why")

    assert type(again) is error
    assert str(again) == "why"


@pytest.mark.parametrize("code", ["of-a-newer-server", "", "remote", "remote-traceback"])
def test_a_code_that_stands_for_nothing_here_still_reaches_the_user(code: str) -> None:
    assert type(from_code(code, "why")) is FlameError


@pytest.mark.parametrize("error", BY_CODE, ids=lambda error: error.__name__)
def test_an_error_can_be_pickled(error: type[FlameError]) -> None:
    again = pickle.loads(pickle.dumps(error("why")))  # noqa: TID251  # it was made here

    assert (type(again), str(again)) == (error, "why")


def test_a_remote_error_keeps_its_three_parts_when_pickled() -> None:
    again = pickle.loads(pickle.dumps(RemoteError("E", "no", "tb")))  # noqa: TID251  # it was made here

    assert (again.ename, again.evalue, again.traceback, str(again)) == ("E", "no", "tb", "E: no")


def test_a_remote_error_without_a_message_is_its_name() -> None:
    assert str(RemoteError("KeyboardInterrupt", "")) == "KeyboardInterrupt"


def test_errors_are_caught_as_what_they_are_in_python_too() -> None:
    assert issubclass(errors.ConnectError, ConnectionError)
    assert issubclass(errors.FlameTimeout, TimeoutError)


def test_the_remote_traceback_begins_on_a_line_of_its_own() -> None:
    assert str(RemoteTraceback("here\nthere\n")) == "\nhere\nthere"

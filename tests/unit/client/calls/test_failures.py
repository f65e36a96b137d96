from __future__ import annotations

import pickle
import threading
import traceback

import pytest

from flame_kernel.client.calls.failures import from_answer, marked
from flame_kernel.errors import RemoteError, RemoteTraceback, SerializationError
from flame_kernel.protocol.calls import CallAnswer, Failure, Outcome
from flame_kernel.serialize import dump
from flame_kernel.worker import failures as worker_failures

TEXT = 'Traceback (most recent call last):\n  File "<flame 1>", line 1\n    1 // 0\nZeroDivisionError: no\n'


def answer_with(error: BaseException, plain: bool = False) -> CallAnswer:
    form, parts = worker_failures.encode(error, plain)
    return CallAnswer(Outcome.ERROR, form, 1, parts)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  # whatever it is, it was raised
        return caught


def test_an_exception_is_of_its_own_type_and_shows_where_it_happened() -> None:
    error = raised(from_answer(answer_with(ZeroDivisionError("no")), "gpu1:9999, session 'work'", plain=False))

    assert type(error) is ZeroDivisionError
    assert error.args == ("no",)
    text = "".join(traceback.format_exception(error))
    assert "Remote traceback (gpu1:9999, session 'work'):\n" in text
    assert text.index("Remote traceback") < text.index("in raised"), "the remote half comes first"


class Own(Exception):
    pass


@pytest.mark.parametrize("plain", [False, True])
def test_what_cannot_be_loaded_here_is_a_remote_error(plain: bool) -> None:
    broken = Own("no") if plain else Own(threading.Lock())
    error = from_answer(answer_with(broken, plain), "gpu1", plain)

    assert isinstance(error, RemoteError)
    assert error.ename == "Own"
    assert "Own" in error.traceback


def test_a_plain_connection_does_not_unpickle_an_exception() -> None:
    assert isinstance(from_answer(answer_with(Own("no"), plain=False), "gpu1", plain=True), RemoteError)


def test_on_a_plain_connection_builtin_exceptions_and_ours_are_made_of_their_words() -> None:
    error = from_answer(answer_with(ValueError("no"), plain=True), "gpu1", plain=True)
    assert (type(error), error.args) == (ValueError, ("no",))
    error = from_answer(answer_with(SerializationError("can't cross"), plain=True), "gpu1", plain=True)
    assert (type(error), str(error)) == (SerializationError, "can't cross")


def test_what_loads_as_something_else_is_not_raised() -> None:
    form, parts = dump("not an exception")
    described = Failure("E", "no", "tb").encode()

    error = from_answer(CallAnswer(Outcome.ERROR, form, 1, [described, *parts]), "gpu1", plain=False)

    assert isinstance(error, RemoteError)
    assert str(error) == "E: no"


def test_ipython_is_shown_the_remote_frames_and_then_the_callers_without_ours() -> None:
    error = raised(marked(ZeroDivisionError("no"), "gpu1", TEXT))

    lines = error._render_traceback_()  # type: ignore[attr-defined]

    assert lines[0] == "Remote traceback (gpu1):"
    assert lines.index("    1 // 0") < lines.index("Called from here:")
    assert any("in raised" in line for line in lines)
    assert not any("/flame_kernel/" in line for line in lines)


def test_python_is_shown_no_colours() -> None:
    error = marked(ValueError("no"), "gpu1", "\x1b[31mValueError\x1b[39m: no")

    assert str(error.__cause__) == "\nRemote traceback (gpu1):\nValueError: no"
    assert "\x1b[31m" in "".join(error._render_traceback_())  # type: ignore[attr-defined]


def test_a_marked_exception_can_still_be_pickled() -> None:
    error = marked(ZeroDivisionError("no"), "gpu1", TEXT)

    again = pickle.loads(pickle.dumps(error))  # noqa: TID251  # it was made here

    assert type(again) is ZeroDivisionError
    assert isinstance(error.__cause__, RemoteTraceback)

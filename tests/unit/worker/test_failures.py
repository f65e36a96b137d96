from __future__ import annotations

import linecache
import sys
import threading
import traceback

import pytest

from flame_kernel.protocol.calls import Failure
from flame_kernel.serialize import Format, load
from flame_kernel.worker import failures
from flame_kernel.worker.failures import Sources, describe, encode
from flame_kernel.worker.operations import Operations


def raised_by(code: str, mode: str = "exec") -> BaseException:
    operations = Operations({})
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # whatever it is, it's looked at
        operations.execute(code) if mode == "exec" else operations.evaluate(code)
    error = caught.value
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)  # without the frame of this test


def test_the_traceback_shows_the_users_frames_with_their_source_and_none_of_ours() -> None:
    failure = describe(raised_by("def f(x):\n    return 1 / x\nf(0)"))

    assert failure.ename == "ZeroDivisionError"
    assert failure.evalue == "division by zero"
    assert "    f(0)\n" in failure.traceback
    assert "    return 1 / x\n" in failure.traceback
    assert "operations.py" not in failure.traceback


def test_an_expression_with_blank_lines_around_it_shows_its_source() -> None:
    assert "1 / 0" in describe(raised_by("\n\n  1 / 0  \n", "eval")).traceback


def test_what_an_exception_came_from_is_shown_too() -> None:
    text = describe(raised_by("try:\n    {}['k']\nexcept KeyError as e:\n    raise OSError('no') from e")).traceback

    assert "KeyError: 'k'" in text
    assert "direct cause" in text


def test_an_exception_crosses_as_itself() -> None:
    form, parts = encode(KeyError("k"), plain=False)

    assert Failure.decode(parts[0]).ename == "KeyError"
    error = load(form, parts[1:])
    assert type(error) is KeyError
    assert error.args == ("k",)


def test_an_exception_that_cannot_cross_leaves_its_description() -> None:
    _form, parts = encode(ValueError(threading.Lock()), plain=False)

    assert len(parts) == 1
    assert Failure.decode(parts[0]).ename == "ValueError"


def test_a_plain_client_gets_the_description_only() -> None:
    form, parts = encode(KeyError("k"), plain=True)

    assert (form, len(parts)) == (Format.JSON, 1)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_whose_message_cannot_be_shown_is_described_all_the_same() -> None:
    assert describe(Unspeakable()).evalue == "<its message can't be shown: RuntimeError>"


class Word(str):
    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


class Odd(Exception):
    def __str__(self) -> str:
        return Word("odd")


def test_an_exception_whose_message_is_no_ordinary_string_is_described_all_the_same() -> None:
    _, parts = encode(Odd(), plain=True)

    assert Failure.decode(parts[0]).evalue == "odd"


class Untransportable(Exception):
    def __reduce__(self) -> str:
        raise Unspeakable


def test_an_exception_that_fails_in_every_way_still_leaves_its_name() -> None:
    _, parts = encode(Untransportable("x"), plain=False)

    assert Failure.decode(parts[0]).ename == "Untransportable"


def same_as_python(error: BaseException) -> bool:
    tb = failures.user_frames(error.__traceback__)
    return describe(error).traceback == "".join(traceback.format_exception(type(error), error, tb))


@pytest.mark.parametrize(
    "code",
    [
        "1 // 0",
        "def deep(n):\n    return deep(n - 1) if n else 1 / 0\ndeep(20)",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['k']",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise OSError('no') from None",
        "compile('1 +', 'mine', 'eval')",
        "error = ValueError('x'); error.__notes__ = ['a note']; raise error",
        "raise ValueError",
        "raise KeyError('')",
        "raise OSError(2, 'no such file', 'gone.txt')",
        "raise RuntimeError('two\\nlines')",
        "lenght = 1\nlength",
        "'a'.uper()",
        "from os import pth",
        "class Own(Exception):\n    class Inner(Exception): pass\nraise Own.Inner('x')",
        "class Own(Exception): __module__ = '__main__'\nraise Own('x')",
        "class Own(Exception): __module__ = 'mine.__main__'\nraise Own('x')",
        "class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute",
        "import subprocess; raise subprocess.CalledProcessError(1, ['false'])",
        "class Group(Exception): exceptions = (ValueError('one'),)\nraise Group",
        *(["raise ExceptionGroup('all', [ValueError(1), OSError(2)])"] if sys.version_info >= (3, 11) else []),
    ],
)
def test_a_traceback_is_told_as_python_tells_it_the_first_time_and_the_next(code: str) -> None:
    assert same_as_python(raised_by(code))
    assert same_as_python(raised_by(code))


def test_each_exception_of_one_place_has_its_own_message_and_each_place_its_own_line() -> None:
    code = "x = iter((0, '', 1))\ndef f(): return 1 / next(x)\nresults = []\n"
    code += "for _ in range(3):\n    try: results.append(f())\n    except Exception as e: results.append(e)"
    operations = Operations({})
    operations.execute(code)
    first, second, value = operations.pull("results")

    assert value == 1
    assert "ZeroDivisionError: division by zero" in describe(first).traceback
    assert "TypeError: unsupported operand" in describe(second).traceback
    assert "line 2, in f" in describe(second).traceback


def test_stacks_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_MAX_STACKS", 2)
    errors = [raised_by(f"{number} / 0") for number in range(5)]

    assert all(map(same_as_python, errors + errors))


def test_code_that_comes_again_is_not_compiled_again() -> None:
    sources = Sources()

    assert sources.compile("1 + 1", "eval") is sources.compile(" 1 + 1\n", "eval")
    assert sources.compile("1 + 1", "exec") is not sources.compile("1 + 1", "eval")


def test_sources_are_kept_for_tracebacks_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_MAX_SOURCES", 2)
    sources = Sources()
    names = [sources.compile(f"{number}", "eval").co_filename for number in range(3)]

    assert len(set(names)) == 3
    assert [name in linecache.cache for name in names] == [False, True, True]
    linecache.checkcache()
    assert linecache.getline(names[2], 1) == "2\n"

"""What is typed behind a magic's name, and how errors are told."""

from __future__ import annotations

import pickle

import pytest
from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel.errors import ConnectError, RemoteError
from flame_magics.cells import _split
from flame_magics.usage import names, parse, short_errors


@magic_arguments()
@argument("-n", "--name", help="a name")
@argument("target", nargs="?", help="where to")
def magic(line: str) -> None:
    """Do something."""


def test_a_line_that_is_right() -> None:
    arguments = parse(magic, "gpu1 -n 'a name'")
    assert (arguments.target, arguments.name.strip("'")) == ("gpu1", "a name")


@pytest.mark.parametrize("line", ["-x", "a b", "-n", "'no end"])
def test_a_line_that_is_wrong_tells_what_is_right(line: str) -> None:
    with pytest.raises(UsageError, match=r"\nusage: %magic \[-n NAME\] \[target\]$"):
        parse(magic, line)


def test_names_of_options_that_take_several() -> None:
    assert names(["x,y", " z ", ",", ""]) == ["x", "y", "z"]
    assert names(None) == []


def test_an_error_of_ours_is_one_line_and_can_still_be_pickled() -> None:
    with pytest.raises(ConnectError) as caught, short_errors():
        raise ConnectError("not connected")
    assert caught.value._render_traceback_() == ["ConnectError: not connected"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == "not connected"  # noqa: TID251  # what others do with it


def test_an_error_of_remote_code_keeps_its_frames() -> None:
    error = RemoteError("CudaError", "out of memory")
    error._render_traceback_ = lambda: ["frames"]
    with pytest.raises(RemoteError), short_errors():
        raise error
    assert error._render_traceback_() == ["frames"]


@pytest.mark.parametrize(
    ("line", "target", "expression"),
    [
        ("df.shape", None, "df.shape"),
        ("-t gpu1 df.shape", "gpu1", "df.shape"),
        ("--target=gpu1 df.shape", "gpu1", "df.shape"),
        ("-t a,b x + 1", "a,b", "x + 1"),
        ("-t all x", "all", "x"),
        ("-t", None, "-t"),
        ("-t + 1", None, "-t + 1"),
        ("-t if x else y", None, "-t if x else y"),
        ("-t in x", None, "-t in x"),
        ("-x.y", None, "-x.y"),
    ],
)
def test_an_expression_may_say_where(line: str, target: str | None, expression: str) -> None:
    assert _split(line) == (target, expression)

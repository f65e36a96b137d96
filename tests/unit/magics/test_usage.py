"""What is typed behind a magic's name, and how errors are told."""

from __future__ import annotations

import pickle

import pytest
from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel.errors import ConnectError, RemoteError
from flame_magics.expressions import split
from flame_magics.usage import expanded, names, pairs, parse, short_errors


@magic_arguments()
@argument("-n", "--name", help="a name")
@argument("target", nargs="?", help="where to")
def magic(line: str) -> None:
    """Do something."""


def test_a_line_that_is_right() -> None:
    arguments = parse(magic, "gpu1 -n 'a name'")
    assert (arguments.target, arguments.name) == ("gpu1", "a name")


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
    ("line", "options", "expression"),
    [
        ("df.shape", "", "df.shape"),
        ("-t gpu1 df.shape", "-t gpu1", "df.shape"),
        ("--target=gpu1 df.shape", "--target=gpu1", "df.shape"),
        ("-t a,b x + 1", "-t a,b", "x + 1"),
        ("-t all x", "-t all", "x"),
        ("-t 'a b' 'x'", "-t 'a b'", "'x'"),
        ("-t $host {1: 2}", "-t $host", "{1: 2}"),
        ("-t {host} x", "-t {host}", "x"),
        ("--quiet 1 + 1", "--quiet", "1 + 1"),
        ("--timeout 3 -t gpu1 --quiet -x", "--timeout 3 -t gpu1 --quiet", "-x"),
        ("--timeout=0.5 [1]", "--timeout=0.5", "[1]"),
        ("-t gpu1", "-t gpu1", ""),
        ("-t", "", "-t"),
        ("-t + 1", "", "-t + 1"),
        ("-t (x)", "", "-t (x)"),
        ("-t if x else y", "", "-t if x else y"),
        ("-t in x", "", "-t in x"),
        ("-o in x", "", "-o in x"),
        ("-o.x", "", "-o.x"),
        ("-i", "", "-i"),
        ("--quiet.x", "", "--quiet.x"),
        ("-x.y", "", "-x.y"),
        ("u -t b", "", "u -t b"),
        ("'x' '-t b'", "", "'x' '-t b'"),
    ],
)
def test_options_may_stand_before_an_expression(line: str, options: str, expression: str) -> None:
    assert split(line) == (options, expression)


@pytest.mark.parametrize(
    "line", ["-o u u", "-O kept 1 + 1", "-i x x", "--bg 1", "-t a --keep=y 1", "--quiet --output y y"]
)
def test_options_of_cells_do_not_become_python(line: str) -> None:
    with pytest.raises(UsageError, match=r"^--?\w+ belongs to %%flame cells; [^\n]*$"):
        split(line)


@pytest.mark.parametrize(
    ("line", "name", "target"),
    [
        ('-n "all"', "all", None),
        ("-n 'a b' c", "a b", "c"),
        ('--name="a b"', "a b", None),
        ('-n ""', "", None),
        (r"C:\new -n a\b", r"a\b", r"C:\new"),
        ('it"\'"s -n \'say "it"\'', 'say "it"', "it's"),
        ("a#b", None, "a#b"),
    ],
)
def test_quotes_are_those_of_a_shell(line: str, name: str | None, target: str | None) -> None:
    arguments = parse(magic, line)
    assert (arguments.name, arguments.target) == (name, target)


def test_what_is_expanded_and_what_is_not() -> None:
    names_here = {"x": 1, "d": {"k": "v"}, "s": "a b"}
    assert expanded("-t $x {x + 1} {d['k']} $$x {{x}} $s", names_here) == "-t 1 2 v $x {x} a b"
    for line in ("{missing}/$x", "$missing {x}", "a{", "{}", "{1/0}"):
        assert expanded(line, names_here) == line


def test_pairs_of_names() -> None:
    assert pairs(["x,y=z", " a = b "]) == [("x", "x"), ("y", "z"), ("a", "b")]
    assert pairs(None) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("u=1", "'1' in 'u=1'"),
        ("u=a.b", "'a.b' in 'u=a.b'"),
        ("=", "'' in '='"),
        ("u=", "'' in 'u='"),
        ("x,1y", "'1y'"),
        ("if", "'if'"),
    ],
)
def test_what_is_no_variable_is_refused(value: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        pairs([value])
    assert str(caught.value) == f"{told} is no variable's name: say x, or x,y, or local=remote"

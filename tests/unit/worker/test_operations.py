from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from flame_kernel.errors import ProtocolError
from flame_kernel.files.ends import OPERATIONS
from flame_kernel.protocol.calls import Operation
from flame_kernel.serialize import Parts
from flame_kernel.worker.answers import ByPath
from flame_kernel.worker.operations import Operations
from flame_kernel.worker.permits import PORTS


@pytest.fixture
def namespace() -> dict[str, Any]:
    return {}


@pytest.fixture
def operations(namespace: dict[str, Any]) -> Operations:
    return Operations(namespace)


def test_every_operation_is_carried_out_by_something(operations: Operations) -> None:
    of_the_worker = {Operation.HOLD, Operation.RELEASE, Operation.INTERRUPT}
    of_the_worker |= set(map(Operation, PORTS))
    assert set(operations._acts) | OPERATIONS | of_the_worker == set(Operation)


def test_execute_and_evaluate_share_the_sessions_namespace(operations: Operations, namespace: dict[str, Any]) -> None:
    operations.run(Operation.EXECUTE, ("import math\ndef f(): return math.pi * k\nk = 2",))

    assert operations.run(Operation.EVALUATE, (" f() ",)) == 2 * math.pi
    assert namespace["k"] == 2


def test_what_is_defined_later_is_seen_by_what_was_defined_before(operations: Operations) -> None:
    operations.run(Operation.EXECUTE, ("def f(): return later",))
    operations.run(Operation.PUSH, ("later", 5))

    assert operations.run(Operation.EVALUATE, ("f()",)) == 5


def test_pull_returns_what_was_pushed_and_names_what_is_missing(operations: Operations) -> None:
    operations.run(Operation.PUSH, ("x", [1]))

    assert operations.run(Operation.PULL, ("x",)) == [1]
    with pytest.raises(NameError, match="name 'y' is not defined"):
        operations.run(Operation.PULL, ("y",))


def test_modules_and_builtins_are_called_with_everything(operations: Operations) -> None:
    assert operations.run(Operation.CALL, ("math", "sqrt", (16,), {})) == 4
    assert operations.run(Operation.CALL, ("builtins", "sorted", ([1, 3, 2],), {"reverse": True})) == [3, 2, 1]
    assert operations.run(Operation.CALL, ("os", "path.join", ("a", "b"), {})) == "a/b"


def test_a_submodule_is_imported_when_it_is_named(operations: Operations) -> None:
    assert operations.run(Operation.CALL, ("xml", "etree.ElementTree.fromstring", ("<a/>",), {})).tag == "a"


def test_a_submodule_that_fails_to_import_says_so_itself(
    operations: Operations, tmp_path: Any, monkeypatch: Any
) -> None:
    (tmp_path / "flame_broken").mkdir()
    (tmp_path / "flame_broken" / "__init__.py").touch()
    (tmp_path / "flame_broken" / "part.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        operations.run(Operation.GET, ("flame_broken", "part"))
    with pytest.raises(AttributeError, match="nothing"):
        operations.run(Operation.GET, ("flame_broken", "nothing"))


def test_an_attribute_is_its_value_and_a_callable_goes_by_its_path(operations: Operations) -> None:
    assert operations.run(Operation.GET, ("os", "name")) == "posix"
    assert operations.run(Operation.GET, ("os", "path")).__name__ == "posixpath"
    assert operations.run(Operation.GET, ("math", "")).__name__ == "math"
    assert type(operations.run(Operation.GET, ("math", "sqrt"))) is ByPath


def test_a_cells_outcome_is_given_out_once(operations: Operations) -> None:
    operations.keep_outcome("m1", 5, None)

    assert operations.run(Operation.OUTCOME, ("m1", 1000)) == ("", 5, None)
    assert operations.run(Operation.OUTCOME, ("m1", 1000)) == ("", None, None)


def test_a_cells_value_that_cannot_cross_or_is_too_large_is_a_note(operations: Operations) -> None:
    operations.keep_outcome("lock", threading.Lock(), None)
    operations.keep_outcome("large", b"x" * 100_000, None)

    note, value, _ = operations.run(Operation.OUTCOME, ("lock", 1000))
    assert "lock" in note
    assert value is None
    note, value, _ = operations.run(Operation.OUTCOME, ("large", 1000))
    assert note == "the value has 100,000 bytes; up to 1,000 are fetched unasked"
    assert value is None


def test_a_cells_exception_crosses_where_it_can(operations: Operations) -> None:
    error, stubborn = ValueError("no"), ValueError(threading.Lock())
    operations.keep_outcome("m1", None, error)
    operations.keep_outcome("m2", None, stubborn)

    assert operations.run(Operation.OUTCOME, ("m1", 1000)) == ("", None, error)
    assert operations.run(Operation.OUTCOME, ("m2", 1000)) == ("", None, None)


def test_outcomes_that_nobody_fetches_are_forgotten(operations: Operations) -> None:
    for number in range(100):
        operations.keep_outcome(f"m{number}", number, None)

    assert len(operations._outcomes) <= 32
    assert operations.run(Operation.OUTCOME, ("m99", 1000))[1] == 99


@pytest.mark.parametrize("operands", [None, 5, "x", {"a": 1}, ()], ids=repr)
def test_operands_of_the_wrong_kind_break_the_protocol(operations: Operations, operands: Any) -> None:
    with pytest.raises(ProtocolError):
        operations.run(Operation.EVALUATE, operands)


@pytest.mark.parametrize("expression", [5, [], None], ids=repr)
def test_an_expression_is_a_string(operations: Operations, expression: Any) -> None:
    with pytest.raises(TypeError, match="evaluate takes a string"):
        operations.run(Operation.EVALUATE, (expression,))


def test_operations_on_files_are_told_from_others_by_their_form(operations: Operations) -> None:
    told = operations.run(Operation.WHERE, Parts(["/"]))
    assert told.value[0] == "done"
    with pytest.raises(ProtocolError):
        operations.run(Operation.WHERE, ("/",))
    with pytest.raises(ProtocolError):
        operations.run(Operation.EVALUATE, Parts(["1"]))
    with pytest.raises(ProtocolError):
        operations.run(Operation.WHERE, Parts("/"))

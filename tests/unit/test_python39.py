"""What a session loads runs on Python 3.9, with the standard library and pyzmq alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flame_kernel

ROOT = Path(flame_kernel.__file__).parent.parent
ALLOWED = {"zmq", "cloudpickle", "flame_kernel"}


def path_of(module: str) -> Path | None:
    stem = ROOT.joinpath(*module.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.exists():
            return path
    return None


def imported_by(tree: ast.AST) -> Iterator[str]:
    """Return all that is imported anywhere, but for what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if path_of(f"{node.module}.{alias.name}"))
        else:
            yield from imported_by(node)


def closure(start: str) -> dict[str, ast.Module]:
    """Return the modules of ours that a module loads, itself and the packages they are in included."""
    found: dict[str, ast.Module] = {}
    due = [start]
    while due:
        module = due.pop()
        path = path_of(module)
        if module in found or path is None:
            continue
        found[module] = ast.parse(path.read_text("utf-8"), str(path))
        due += [name for name in imported_by(found[module]) if name.startswith("flame_kernel")]
        due.append(module.rpartition(".")[0] or "flame_kernel")
    return found


LOADED = {**closure("flame_kernel.worker.main"), **closure("flame_kernel.versions")}
each_module = pytest.mark.parametrize("module", sorted(LOADED))


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Return every node but annotations, which are never evaluated here."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node
                yield from runtime_nodes(node)


def test_the_closure_is_what_a_session_loads() -> None:
    assert {
        "flame_kernel",
        "flame_kernel.worker.main",
        "flame_kernel.worker.callers",
        "flame_kernel.protocol.delivery",
        "flame_kernel.transport.entrance",
        "flame_kernel.transport.shared",
        "flame_kernel.transport.stream",
        "flame_kernel.serialize",
        "flame_kernel.errors",
    } <= set(LOADED)
    assert not any(name.startswith(("flame_kernel.client", "flame_kernel.server")) for name in LOADED)


@each_module
def test_it_is_python_39(module: str) -> None:
    path = path_of(module)
    assert path is not None
    ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 9))


@each_module
def test_it_imports_nothing_else(module: str) -> None:
    # Names that came after 3.9 would not be found by this; what is imported here has been there for long.
    others = {name.partition(".")[0] for name in imported_by(LOADED[module])} - ALLOWED

    assert others <= set(sys.stdlib_module_names)
    assert others.isdisjoint({"tomllib"})


@each_module
def test_annotations_are_not_evaluated_and_unions_stand_in_annotations_only(module: str) -> None:
    tree = LOADED[module]
    annotated = any(isinstance(node, ast.AnnAssign | ast.arg | ast.FunctionDef) for node in ast.walk(tree))
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    assert lazy or not annotated

    for node in runtime_nodes(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            for side in (node.left, node.right):
                is_type = isinstance(side, ast.Constant) and side.value is None
                is_type |= isinstance(side, ast.Name) and (side.id in dir(__builtins__) or side.id[:1].isupper())
                constant = isinstance(side, ast.Name) and side.id.isupper()
                assert not is_type or constant, f"{module}:{node.lineno}: a union at run time needs Python 3.10"


@each_module
def test_it_uses_no_syntax_or_arguments_that_came_later(module: str) -> None:
    for node in ast.walk(LOADED[module]):
        if isinstance(node, ast.Call):
            names = {keyword.arg for keyword in node.keywords}
            callee = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert not (callee == "zip" and "strict" in names), f"{module}:{node.lineno}: zip(strict=) came with 3.10"
            assert not (callee == "dataclass" and names & {"slots", "kw_only"}), f"{module}:{node.lineno}: 3.10"
        assert not isinstance(node, ast.Match), f"{module}: match came with 3.10"

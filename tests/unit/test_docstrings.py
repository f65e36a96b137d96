"""The examples in docstrings of modules that need no server are run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest


def modules_of(package: str) -> list[str]:
    return [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")]


PURE = [
    "flame_kernel.buffers",
    "flame_kernel.errors",
    "flame_kernel.serialize",
    "flame_kernel.versions",
    "flame_kernel.client.about",
    "flame_kernel.client.cells.missed",
    "flame_kernel.client.cells.rendering",
    "flame_kernel.client.links.target",
    "flame_kernel.server.environments",
    "flame_kernel.server.process",
    "flame_magics.candidates",
    "flame_magics.expressions",
    "flame_magics.places",
    "flame_magics.settings",
    "flame_magics.usage",
    *modules_of("flame_kernel.ports"),
    *modules_of("flame_kernel.protocol"),
    *modules_of("flame_kernel.security"),
    *modules_of("flame_kernel.transport"),
    *modules_of("flame_kernel.worker"),
]


@pytest.mark.parametrize("name", PURE)
def test_its_examples_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    examples = [test for name in PURE for test in finder.find(importlib.import_module(name)) if test.examples]

    assert len(examples) > 20

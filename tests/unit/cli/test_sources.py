"""What is read of a script: the same as Python reads."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest

from flame_kernel.cli.sources import read_source
from flame_kernel.errors import ConfigurationError

LATIN = "# -*- coding: latin-1 -*-\nprint('é')\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("print('é')\n".encode(), "print('é')\n"),
        (codecs.BOM_UTF8 + b"print(1)\n", "print(1)\n"),
        (LATIN.encode("latin-1"), LATIN),
        (b"#!/usr/bin/python\n# vim: set fileencoding=latin-1 :\n'\xe9'\n", None),
        (b"1\r\n2\r3\n", "1\n2\n3\n"),
    ],
)
def test_reads_as_python_does(tmp_path: Path, data: bytes, text: str | None) -> None:
    script = tmp_path / "script.py"
    script.write_bytes(data)
    assert read_source(script) == (data.decode("latin-1") if text is None else text)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"print('\xff')\n", r"line 1: SyntaxError: Non-UTF-8 code starting with '\xff'"),
        (b"1\n2\n3\nprint('\xe9')\n", r"line 4: SyntaxError: Non-UTF-8 code starting with '\xe9'"),
        (codecs.BOM_UTF8 + b"1\n2\n3\n'\xe9'", r"line 4: SyntaxError: Non-UTF-8 code starting with '\xe9'"),
        (b"# coding: ascii\n\n\n'\xe9'\n", "line 4: SyntaxError: (unicode error) 'ascii' codec can't decode"),
        (b"# coding: nonesuch\n1\n", "SyntaxError: unknown encoding: nonesuch"),
        (b"# coding: nonesuch\n'\xe9'\n", "SyntaxError: unknown encoding: nonesuch"),
        (codecs.BOM_UTF8 + b"# coding: latin-1\n1\n", "SyntaxError: encoding problem: utf-8"),
        ("print(1)\n".encode("utf-16"), r"line 1: SyntaxError: Non-UTF-8 code starting with '\xff'"),
    ],
)
def test_what_cannot_be_decoded_is_one_line(tmp_path: Path, data: bytes, told: str) -> None:
    script = tmp_path / "script.py"
    script.write_bytes(data)
    with pytest.raises(ConfigurationError, match=re.escape(told)) as raised:
        read_source(script)
    assert str(raised.value).startswith(f"{script}")
    assert len(str(raised.value).splitlines()) == 1

"""Reading a source as Python reads it: its encoding stands in it (PEP 263), and a byte order mark is no part of it."""

from __future__ import annotations

import io
import sys
import tokenize
from pathlib import Path

from flame_kernel.errors import ConfigurationError


def read_source(file: Path) -> str:
    """Read a script.

    Args:
        file: Its path; - for stdin.

    Returns:
        Its text, with lines that end with a newline wherever it was written.

    Raises:
        ConfigurationError: It can't be decoded.
    """
    if str(file) == "-":
        return _decoded(sys.stdin.buffer.read(), "<stdin>")
    return _decoded(file.read_bytes(), str(file))


def _decoded(data: bytes, name: str) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(name, error) from None
    except SyntaxError as error:  # it names an encoding that there isn't, or its first lines are in none that it names
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as unreadable:
            if "unknown" not in str(error):
                raise _undecodable(name, unreadable) from None
        raise ConfigurationError(f"{name}: SyntaxError: {error.msg}") from None
    return io.IncrementalNewlineDecoder(None, translate=True).decode(text, final=True)


def _undecodable(name: str, error: UnicodeDecodeError) -> ConfigurationError:
    data = error.object
    line = data.count(b"\n", 0, error.start) + 1
    if not error.encoding.startswith("utf"):
        return ConfigurationError(f"{name}, line {line}: SyntaxError: (unicode error) {error}")
    return ConfigurationError(
        f"{name}, line {line}: SyntaxError: Non-UTF-8 code starting with '\\x{data[error.start]:02x}', and no other "
        "encoding declared; see https://peps.python.org/pep-0263/ for details"
    )

"""Write what ``docs/magics.md`` says of each magic, from the magics themselves: ``make docs``.

What stands between the two marks of the page is made here; the rest of it is written by hand.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from flame_magics.base import FlameMagic
from flame_magics.cells import CellMagics
from flame_magics.clusters import ClusterMagics
from flame_magics.connecting import ConnectingMagics
from flame_magics.console import ConsoleMagics
from flame_magics.expressions import ExpressionMagics
from flame_magics.modules import ModuleMagics
from flame_magics.moving import MovingMagics
from flame_magics.ports import PortMagics
from flame_magics.sessions import SessionMagics
from flame_magics.settings import FlameMagics

PAGE = Path(__file__).with_suffix(".md")

BEGIN = "<!-- From here on written by `make docs`. -->\n"
END = "<!-- Up to here. -->\n"

SECTIONS: tuple[tuple[str, type[FlameMagic]], ...] = (
    ("Connections", ConnectingMagics),
    ("Cells", CellMagics),
    ("Expressions", ExpressionMagics),
    ("Variables and files", MovingMagics),
    ("Modules", ModuleMagics),
    ("Console and debugger", ConsoleMagics),
    ("Sessions", SessionMagics),
    ("Ports", PortMagics),
    ("Clusters", ClusterMagics),
)


def page(written: str) -> str:
    """Return the page as it should be.

    Args:
        written: The page as it is.
    """
    before, rest = written.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return what the page says of the magics and their settings."""
    parts = []
    for title, kind in SECTIONS:
        parts.append(f"## {title}\n")
        parts += [_magic(magic) for magic in magics(kind)]
    parts.append(_settings())
    return "\n".join(parts)


def magics(kind: type[FlameMagic]) -> list[Any]:
    """Return the magics of a class, in the order in which it has them."""
    return [member for member in vars(kind).values() if hasattr(member, "parser")]


def examples(magic: Any) -> list[str]:
    """Return the cells of a magic's example; an empty line stands between two."""
    _, _, example = inspect.cleandoc(magic.parser.description).partition("Example::\n")
    return [cell for cell in inspect.cleandoc(example).split("\n\n") if cell]


def _magic(magic: Any) -> str:
    parser = magic.parser
    told, _, _ = inspect.cleandoc(parser.description).partition("Example::\n")
    lines = [
        f"### `%{parser.prog}`\n",
        f"```text\n{' '.join(parser.format_usage().replace('::', '').split())}\n```\n",
        _markdown(told).strip() + "\n",
    ]
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    if shown:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| {_argument(action)} | {_cell(action.help or '')} |" for action in shown]
        lines.append("")
    if cells := examples(magic):
        lines.append("```ipython\n" + "\n\n".join(cells) + "\n```\n")
    return "\n".join(lines)


def _argument(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return f"`{value}`"
    value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else value
    return ", ".join(f"`{option}`" if action.nargs == 0 else f"`{option} {value}`" for option in action.option_strings)


def _settings() -> str:
    lines = [
        "## Settings\n",
        "In `ipython_config.py` as `c.FlameMagics.NAME = …`, in a notebook as `%config FlameMagics.NAME = …`.\n",
    ]
    lines += ["| name | unless told | meaning |", "|---|---|---|"]
    own = FlameMagics.class_own_traits(config=True).items()
    lines += [f"| `{name}` | `{trait.default_value!r}` | {_cell(trait.help)} |" for name, trait in own]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return _markdown(text.replace("%%", "%")).replace("|", "\\|")


def _markdown(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", text)


def main() -> None:
    """Write the page; with ``--check``, tell by the exit status whether it is as it should be."""
    written = PAGE.read_text("utf-8")
    if "--check" in sys.argv:
        sys.exit(written != page(written))
    PAGE.write_text(page(written), "utf-8")


if __name__ == "__main__":
    main()

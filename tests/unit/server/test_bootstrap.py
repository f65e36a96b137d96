from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

from flame_kernel.server import bootstrap

RECORD = Path('/nowhere/it\'s a "record".json')
ADDRESS = 'ipc:///tmp/it\'s a "path"'


def test_it_is_one_statement_that_leaves_no_name_behind() -> None:
    (statement,) = ast.parse(bootstrap.load(ADDRESS, RECORD)).body

    assert isinstance(statement, ast.Expr)


def test_the_worker_is_loaded_from_this_very_copy_without_a_path(tmp_path: Path) -> None:
    # -I -S: neither this folder nor site-packages; zmq is all that a session's environment has of its own.
    zmq_folder = Path(__import__("zmq").__file__).parent
    (tmp_path / "zmq").symlink_to(zmq_folder)
    (tmp_path / f"{zmq_folder.name}.libs").parent.mkdir(exist_ok=True)
    script = f"""
import sys
sys.path.append({str(tmp_path)!r})
path, before = list(sys.path), set(globals())
{bootstrap.load(f"ipc://{tmp_path / 'w'}", RECORD)}
assert sys.path == path
assert set(globals()) - before <= {{"path", "before"}}, set(globals()) - before
import cloudpickle, flame_kernel
print(flame_kernel.__file__, cloudpickle.__file__)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=30)

    assert done.stderr == ""
    ours, theirs = done.stdout.split()
    assert ours == str(Path(bootstrap.__file__).parents[1] / "__init__.py")
    assert theirs.endswith("cloudpickle/__init__.py")
    assert (tmp_path / "w").exists()


def test_an_address_with_quotes_arrives_as_it_is() -> None:
    calls: list[Any] = []
    code = bootstrap.load(ADDRESS, RECORD).replace(
        "from flame_kernel.worker.main import start", "start = lambda *given: report.extend(given)"
    )
    exec(code.replace("{}", "{'report': report}"), {"report": calls})  # the code under test is code

    assert calls == [ADDRESS, 32]

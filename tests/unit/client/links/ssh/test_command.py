"""What is asked of ssh, and what login shells over there make of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flame_kernel.client.links.ssh.command import MARKER, Program, serve, shell
from flame_kernel.client.links.target import Ssh
from flame_kernel.errors import ConfigurationError

SHELLS = [name for name in ("sh", "bash", "zsh", "fish", "csh", "tcsh") if shutil.which(name)]


def call(**options: object) -> str:
    return " ".join(Program(("ssh",)).call(Ssh("gpu1", "ada", 2222), "true", **{"ask": False, **options}))  # type: ignore[arg-type]


def test_the_users_options_come_first_and_so_win() -> None:
    program = Program.find({"FLAME_SSH": "sh -o 'BatchMode no'", "PATH": "/bin:/usr/bin"})
    words = program.call(Ssh("gpu1"), "true", ask=False)
    assert Path(words[0]).name == "sh"
    assert words[1:3] == ["-o", "BatchMode no"]
    assert words.index("BatchMode no") < words.index("BatchMode=yes")


def test_a_host_can_not_be_taken_for_an_option() -> None:
    assert call().endswith("-l ada -p 2222 -- gpu1 true")


def test_ssh_asks_only_where_somebody_can_answer() -> None:
    assert "BatchMode=yes" in call()
    assert "BatchMode" not in call(ask=True)


def test_other_logins_never_depend_on_ours() -> None:
    assert "ControlMaster=no" in call()
    assert "ControlPath" not in call()
    assert "ControlPath=none" in call(direct=True)


@pytest.mark.parametrize("text", ["no-such-program", "'ssh", " "])
def test_a_program_that_can_not_be_called(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no program|can't be read"):
        Program.find({"FLAME_SSH": text, "PATH": "/bin"})


@pytest.mark.parametrize("name", SHELLS)
def test_every_login_shell_passes_the_command_on(name: str) -> None:
    command = shell('for word in "$1" "$2"; do echo "<$word>"; done', "a b", "$HOME")
    done = subprocess.run([name, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "<a b>\n<$HOME>\n"


def looked_for(tmp_path: Path, target: Ssh, **environ: str) -> str:
    """Return what the far side's command runs, or says."""
    environ = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", **environ}
    done = subprocess.run(["sh", "-c", serve(target)], capture_output=True, text=True, check=True, env=environ)
    return done.stdout.strip()


def executable(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {says} "$@"\n')
    path.chmod(0o755)
    return path


def test_a_private_environment_comes_before_what_is_on_the_path(tmp_path: Path) -> None:
    missing = MARKER + '{"missing":true}'
    executable(tmp_path / "bin" / "python3", "other").write_text("#!/bin/sh\nexit 1\n")
    assert looked_for(tmp_path, Ssh("gpu1")) == missing
    executable(tmp_path / ".local" / "bin" / "flame", "of-user")
    assert looked_for(tmp_path, Ssh("gpu1")) == "of-user ssh-serve"
    executable(tmp_path / "bin" / "flame", "on-path")
    assert looked_for(tmp_path, Ssh("gpu1")) == "on-path ssh-serve"
    root = tmp_path / ".local" / "share" / "remote-flame" / "ssh"
    executable(root / "0.1.0-1" / "bin" / "python", "own")
    (root / "current").symlink_to("0.1.0-1")
    assert looked_for(tmp_path, Ssh("gpu1")) == "own -m flame_kernel ssh-serve"
    assert looked_for(tmp_path, Ssh("gpu1"), FLAME_HOME=str(tmp_path / "home")) == "on-path ssh-serve"


def test_a_named_python_is_the_only_one_that_counts(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "flame", "on-path")
    python = executable(tmp_path / "venv" / "bin" / "python", "named")
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo named "$@"\n')
    for named in (f"{tmp_path}/venv", f"{tmp_path}/venv/bin/python", "~/venv"):
        assert looked_for(tmp_path, Ssh("gpu1", python=named)) == "named -m flame_kernel ssh-serve"
    assert looked_for(tmp_path, Ssh("gpu1", python="/nowhere")) == MARKER + '{"missing":true}'

"""Environments are found by their files, in a home that is laid out as conda, venv and pyenv do it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec, NoSuchKernel

from flame_kernel.server import environments, kernelspecs
from flame_kernel.server.environments import Environment
from flame_kernel.server.process import KernelProcess


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(prefix: Path, *, version: str = "3.11", ipykernel: bool = True) -> Path:
    """Lay out an environment."""
    executable(prefix / "bin" / "python")
    packages = prefix / "lib" / f"python{version}" / "site-packages"
    (packages / "ipykernel" if ipykernel else packages).mkdir(parents=True)
    return prefix


def conda(prefix: Path, **options: bool) -> Path:
    make(prefix, **options)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "python-3.12.4-h99910a6_1_cpython.json").touch()
    (prefix / "conda-meta" / "python-dateutil-2.9.0-pyhd8ed1ab_0.json").touch()
    return prefix


def venv(prefix: Path, more: str = "", **options: bool) -> Path:
    make(prefix, **options)
    (prefix / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.10.2\n{more}"
    )
    return prefix


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    for name in ("WORKON_HOME", "PYENV_ROOT", "CONDA_EXE", "MAMBA_ROOT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    (conda(home / "miniforge3") / "condabin").mkdir()
    conda(home / "miniforge3" / "envs" / "ml", ipykernel=False)
    conda(tmp_path / "elsewhere" / "gpu")
    (home / ".conda").mkdir()
    (home / ".conda" / "environments.txt").write_text(f"{home}/miniforge3\n{tmp_path}/elsewhere/gpu\n{tmp_path}/gone\n")
    venv(home / ".virtualenvs" / "web")
    venv(home / "project" / ".venv")
    venv(home / "venvs" / "ml")
    make(home / ".pyenv" / "versions" / "3.9.18")
    make(home / ".pyenv" / "versions" / "3.8.1", version="3.8")
    (home / "project2").mkdir()
    return home


def found(home: Path, **environ: str) -> dict[str, Environment]:
    ours = [one for one in environments.found(environ, home) if home.parent in one.prefix.parents]
    return {one.name: one for one in ours}


def test_those_of_conda_venv_and_pyenv_are_found(home: Path) -> None:
    listed = found(home)

    assert {name: (one.kind, one.version, one.ready) for name, one in listed.items()} == {
        "base": ("conda", "3.12.4", True),
        "gpu": ("conda", "3.12.4", True),
        "ml": ("conda", "3.12.4", False),
        "web": ("venv", "3.10.2", True),
        str(home / "venvs" / "ml"): ("venv", "3.10.2", True),  # the name is taken
        "project": ("venv", "3.10.2", True),
        "3.8.1": ("pyenv", "3.8.1", False),
        "3.9.18": ("pyenv", "3.9.18", True),
    }
    assert all(one.python == one.prefix / "bin" / "python" for one in listed.values())


def test_where_tools_are_told_to_keep_theirs(home: Path, tmp_path: Path) -> None:
    venv(tmp_path / "work" / "own")
    make(tmp_path / "pyenv" / "versions" / "3.13.1")
    conda(tmp_path / "mamba" / "envs" / "two")
    conda(tmp_path / "conda" / "envs" / "three")
    listed = found(
        home,
        WORKON_HOME=str(tmp_path / "work"),
        PYENV_ROOT=str(tmp_path / "pyenv"),
        MAMBA_ROOT_PREFIX=str(tmp_path / "mamba"),
        CONDA_EXE=str(tmp_path / "conda" / "bin" / "conda"),
    )

    assert {"own", "3.13.1", "two", "three"} <= set(listed)
    assert "3.9.18" not in listed


def test_one_is_known_by_its_folder_or_its_python(home: Path) -> None:
    prefix = home / "project" / ".venv"

    assert environments.of(prefix) == environments.of(prefix / "bin" / "python") == found(home)["project"]
    assert environments.of(home) is None
    assert environments.of(home / "nothing") is None
    assert environments.of(prefix / "pyvenv.cfg") is None


def test_an_environment_that_uses_the_systems_packages_may_be_ready(home: Path) -> None:
    prefix = venv(home / "venvs" / "system", ipykernel=False)
    assert not found(home)["system"].ready
    (prefix / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    assert found(home)["system"].ready


def test_relative_paths_begin_at_the_sessions_folder(home: Path) -> None:
    work = Path("/srv/data")

    assert environments.absolute("python3", work) == "python3"
    assert environments.absolute("./.venv", work) == environments.absolute(".venv", work) == "/srv/data/.venv"
    assert environments.absolute("~/venvs/ml", work) == str(home / "venvs" / "ml")
    assert environments.absolute("/x/../y/bin/python", work) == "/y/bin/python"


def test_a_kernel_is_found_by_name_or_path_and_kernelspecs_come_first(home: Path) -> None:
    kernels = kernelspecs.HostKernels()
    web = str(home / ".virtualenvs" / "web" / "bin" / "python")

    assert kernels.get_kernel_spec("python3").argv[0] != web
    for name in ("web", str(home / ".virtualenvs" / "web"), web):
        assert kernels.get_kernel_spec(name).argv[:3] == [web, "-m", "ipykernel_launcher"]
    with pytest.raises(NoSuchKernel):
        kernels.get_kernel_spec("cobol")


def test_the_listing_has_names_that_lead_back(home: Path) -> None:
    venv(home / "venvs" / "python3")  # a kernelspec has that name
    listed = {info.name: info for info in kernelspecs.listed()}

    assert listed["python3"].kind == "kernelspec"
    assert listed[str(home / "venvs" / "python3")].kind == "venv"
    assert (listed["web"].path, listed["web"].version) == (str(home / ".virtualenvs" / "web"), "3.10.2")
    for name in listed:
        kernelspecs.HostKernels().get_kernel_spec(name)


@pytest.mark.parametrize(
    ("name", "kind", "variables"),
    [
        ("ml", "conda", {"CONDA_PREFIX": "{prefix}", "CONDA_DEFAULT_ENV": "ml", "CONDA_SHLVL": "1"}),
        ("web", "venv", {"VIRTUAL_ENV": "{prefix}"}),
        ("3.9.18", "pyenv", {"PYENV_VERSION": "3.9.18"}),
    ],
)
def test_it_is_activated_and_no_other_is(
    home: Path, tmp_path: Path, name: str, kind: str, variables: dict[str, str]
) -> None:
    environment = found(home)[name]
    other = {"VIRTUAL_ENV": "/other", "CONDA_PREFIX": "/other", "PYTHONHOME": "/other", "PYENV_VERSION": "2.7"}
    process = KernelProcess(name, tmp_path, {**other, "PATH": "/usr/bin", "LANG": "C"}, tmp_path)

    assert process._environ == {"PATH": "/usr/bin", "LANG": "C"}
    assert environment.kind == kind
    assert environment.kernelspec().env == {
        "PATH": f"{environment.prefix}/bin:${{PATH}}",
        **{key: value.format(prefix=environment.prefix) for key, value in variables.items()},
    }


def test_a_kernelspec_inherits_what_is_active(tmp_path: Path) -> None:
    process = KernelProcess("python3", tmp_path, {"VIRTUAL_ENV": "/own"}, tmp_path)

    assert process._environ == {"VIRTUAL_ENV": "/own"}


def test_what_condas_packages_want_to_be_run_is_run(home: Path) -> None:
    prefix = home / "miniforge3" / "envs" / "ml"
    executable(prefix / "bin" / "python", '#!/bin/sh\necho "$GDAL_DATA" "$@"\n')
    executable(prefix / "etc" / "conda" / "activate.d" / "gdal.sh", 'export GDAL_DATA="$CONDA_PREFIX/share"\n')
    spec = found(home)["ml"].kernelspec()
    done = subprocess.run(spec.argv, env={"CONDA_PREFIX": str(prefix)}, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == f"{prefix}/share -m ipykernel_launcher -f {{connection_file}}"


def test_a_dollar_in_a_path_is_no_variable(tmp_path: Path) -> None:
    environment = environments.of(venv(tmp_path / "a$b"))
    assert environment is not None

    assert environment.kernelspec().env["VIRTUAL_ENV"] == f"{tmp_path}/a$$b"


@pytest.mark.parametrize(
    ("tells", "why"),
    [
        ("3.11 True True", ""),
        ("3.11 False True", "{python} has no ipykernel; install it there: {python} -m pip install ipykernel"),
        ("3.11 False False", "{python} has no ipykernel; install it there: uv pip install --python {python} ipykernel"),
        ("3.8", "{python} is Python 3.8, and a session needs 3.9 or newer"),
        ("", ""),
    ],
)
async def test_why_a_kernel_did_not_come_up(tmp_path: Path, tells: str, why: str) -> None:
    python = executable(tmp_path / "bin" / "python", f"#!/bin/sh\necho {tells}\n")

    assert await kernelspecs.why_not(spec(str(python))) == why.format(python=python)


async def test_a_python_that_can_not_be_run(tmp_path: Path) -> None:
    assert "can't be run: " in await kernelspecs.why_not(spec(str(tmp_path / "python")))
    assert await kernelspecs.why_not(None) == await kernelspecs.why_not(KernelSpec(argv=["R"])) == ""


def spec(python: str) -> KernelSpec:
    return KernelSpec(argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"])

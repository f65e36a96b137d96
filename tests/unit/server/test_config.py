from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from flame_kernel.errors import ConfigurationError, FlameDisabled
from flame_kernel.server.config import Direct, Limits, ServerConfig, config_file, load


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"FLAME_HOME": str(tmp_path / "home")}


def write(environ: dict[str, str], text: str | bytes) -> None:
    path = config_file(load(environ).folders)
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_without_a_word_the_server_is_disabled_and_on_loopback(environ: dict[str, str]) -> None:
    config = load(environ)

    assert (config.enabled, config.host, config.port, config.kernel) == (False, "127.0.0.1", 9999, "python3")
    assert config.limits == Limits()
    with pytest.raises(FlameDisabled, match=r"FLAME_ENABLED=true, with --enable, or with 'enabled = true' in .*toml"):
        config.require_enabled()


def test_the_file_is_read(environ: dict[str, str]) -> None:
    write(
        environ, 'enabled = true\nhost = "0.0.0.0"\nport = 1234\nkernel = "ir"\n[limits]\nsessions = 2\nlease_s = 1.5'
    )
    config = load(environ)

    config.require_enabled()
    assert (config.host, config.port, config.kernel) == ("0.0.0.0", 1234, "ir")
    assert (config.limits.sessions, config.limits.lease_s) == (2, 1.5)
    assert config.limits.journal_bytes == Limits().journal_bytes


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", " Yes "])
def test_the_environment_enables(environ: dict[str, str], word: str) -> None:
    assert load({**environ, "FLAME_ENABLED": word}).enabled


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "", "OFF"])
def test_the_environment_disables_what_the_file_enables(environ: dict[str, str], word: str) -> None:
    write(environ, "enabled = true")

    assert not load({**environ, "FLAME_ENABLED": word}).enabled


@pytest.mark.parametrize("word", ["maybe", "2", "ja", "truee"])
def test_what_is_neither_yes_nor_no_is_an_error(environ: dict[str, str], word: str) -> None:
    with pytest.raises(ConfigurationError, match="neither yes nor no"):
        load({**environ, "FLAME_ENABLED": word})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("enabled = ", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        ("colour = 1", "'colour' is unknown; known are enabled, host"),
        ('enabled = "true"', "enabled must be a bool, not 'true'"),
        ("port = true", "port must be a int"),
        ("limits = 5", "limits must be a table"),
        ("[limits]\ncolour = 1", "limits.colour is unknown; known are sessions"),
        ("[limits]\n__class__ = 1", "limits.__class__ is unknown"),
        ("[limits]\nsessions = 0", "must be a number above 0"),
        ('[limits]\nsessions = "5"', "must be a number above 0"),
        ("[limits]\nsessions = true", "must be a number above 0"),
        ("[limits]\nsessions = 1.5", "must be a whole number"),
        ("[limits]\nlease_s = nan", "must be a number above 0"),
        ("port = 70000", "port must be"),
        ("port = -1", "port must be"),
        ("direct = 5", "direct must be a table"),
        ("[direct]\ncolour = 1", "direct.colour is unknown; known are enabled, ports"),
        ("[direct]\nenabled = 1", "direct.enabled must be a bool"),
        ("[direct]\nports = 50000", "direct.ports must be a str"),
        ('[direct]\nports = "some"', "auto, any, none or a range such as 50000-50100"),
        ('[direct]\nports = "5-"', "auto, any, none or a range such as 50000-50100"),
        ('[direct]\nports = "9-5"', "between 1 and 65535, the lower one first"),
        ('[direct]\nports = "0-5"', "between 1 and 65535, the lower one first"),
        ('[direct]\nports = "5-70000"', "between 1 and 65535, the lower one first"),
    ],
    ids=repr,
)
def test_what_is_wrong_in_the_file_is_named(environ: dict[str, str], text: str | bytes, complaint: str) -> None:
    write(environ, text)

    with pytest.raises(ConfigurationError, match=complaint) as caught:
        load(environ)
    assert "server.toml" in str(caught.value)


def test_a_configuration_does_not_change(environ: dict[str, str]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(environ).host = "0.0.0.0"  # type: ignore[misc]
    assert dataclasses.fields(ServerConfig)


@pytest.mark.parametrize(
    ("direct", "host", "ports"),
    [
        (Direct(), "127.0.0.1", (0, 0)),
        (Direct(), "::1", (0, 0)),
        (Direct(), "192.168.1.7", None),
        (Direct(), "", None),
        (Direct(), "nonsense", None),
        (Direct(ports="any"), "192.168.1.7", (0, 0)),
        (Direct(ports="any"), "", None),
        (Direct(ports="none"), "127.0.0.1", None),
        (Direct(ports="50000-50100"), "192.168.1.7", (50000, 50100)),
        (Direct(ports="50000"), "127.0.0.1", (50000, 50000)),
        (Direct(enabled=False), "127.0.0.1", None),
        (Direct(enabled=False, ports="50000"), "127.0.0.1", None),
    ],
)
def test_beyond_loopback_no_port_is_opened_unless_the_file_says_which(
    direct: Direct, host: str, ports: tuple[int, int] | None
) -> None:
    assert direct.ports_at(host) == ports

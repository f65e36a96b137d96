from __future__ import annotations

from pathlib import Path

import pytest

from flame_kernel.errors import ConfigurationError
from flame_kernel.kernel.arguments import Arguments
from flame_kernel.kernel.install import Choice


@pytest.mark.parametrize(
    "words",
    [["-f", "/run/k.json"], ["--f=/run/k.json"], ['--f="/run/k.json"'], ["--debug", "-f", "/run/k.json", "--x=y"]],
)
def test_the_connection_file_as_frontends_give_it(words: list[str]) -> None:
    assert Arguments.read(words) == Arguments(Path("/run/k.json"))


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("kernel", ["", "ir"])
@pytest.mark.parametrize("host", ["", "gpu1:9999", "/run/flame.sock"])
def test_what_an_installed_kernelspec_says_is_understood(host: str, kernel: str, detach: bool) -> None:
    words = ["-f", "k.json", *Choice(host, kernel, detach).arguments()]
    assert Arguments.read(words) == Arguments(Path("k.json"), host, kernel, detach)


@pytest.mark.parametrize(
    "words", [[], ["k.json"], ["-f"], ["-f", "k", "--host"], ["-f", "k", "--on-shutdown", "never"]]
)
def test_what_can_not_be_understood_is_one_line(words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Arguments.read(words)
    assert "\n" not in str(caught.value)

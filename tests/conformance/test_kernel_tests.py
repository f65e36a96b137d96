"""Jupyter's own tests for kernels, with every sample filled in: for Remote Flame, and for the ipykernel beside it."""

from typing import ClassVar

import jupyter_kernel_test
import pytest
from jupyter_client.manager import start_new_kernel

from tests.conformance.kernels import Home


class Samples(jupyter_kernel_test.KernelTests):
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "import this_is_no_mod", "matches": set()},
    ]
    complete_code_samples: ClassVar = [
        "1",
        "print('hello, world')",
        "def f(x):\n  return x*2\n\n\n",
        "%matplotlib inline",
    ]
    incomplete_code_samples: ClassVar = ["print('''hello", "def f(x):\n  x*2", "%%time", "["]
    invalid_code_samples: ClassVar = ["import = 7q", "a = 1)"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result: ClassVar = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
        {"code": "from IPython.display import HTML; HTML('<b>ü</b>')", "mime": "text/html", "result": "<b>ü</b>"},
    ]
    code_display_data: ClassVar = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\\\frac{1}{2}'))", "mime": "text/latex"},
    ]
    code_history_pattern = "1?2*"
    # Not "range": IPython calls the running session 0 in its answer, which is not what the test asks for.
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    home: ClassVar[Home]

    @classmethod
    def setUpClass(cls) -> None:
        cls.home = Home()
        cls.addClassCleanup(cls.nothing_is_left)
        cls.km, cls.kc = start_new_kernel(kernel_name=cls.kernel_name, env=cls.home.environ)

    @classmethod
    def nothing_is_left(cls) -> None:
        left = cls.home.close()
        assert left == []

    def test_every_sample_is_filled_in(self) -> None:
        samples = [name for name, value in vars(jupyter_kernel_test.KernelTests).items() if value in ("", [], ())]
        assert len(samples) > 10
        assert [name for name in samples if not getattr(self, name)] == []


class TestRemoteFlame(Samples):
    kernel_name = "flame"


class TestIpykernel(Samples):
    kernel_name = "python3"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    support_iopub_welcome = True
    home: ClassVar[Home]

    @classmethod
    def setUpClass(cls) -> None:
        cls.home = Home()
        cls.addClassCleanup(cls.nothing_is_left)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in cls.home.environ.items():
                patch.setenv(name, value)
            super().setUpClass()

    @classmethod
    def nothing_is_left(cls) -> None:
        assert cls.home.close() == []


class TestRemoteFlameWelcome(Welcome):
    kernel_name = "flame"


# The bases themselves are not to be collected.
del Samples, Welcome

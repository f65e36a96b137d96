from __future__ import annotations

from typing import Any

import pytest

from flame_kernel.errors import ServerUnreachable
from flame_kernel.kernel.answers import Answers
from flame_kernel.protocol.jupyter import Channel, Envelope, compose

ERROR = ServerUnreachable("nothing listens at gpu1:9999")


class Notebook:
    """Keeps what a bridge sends."""

    def __init__(self) -> None:
        self.got: list[tuple[Channel, Envelope]] = []
        self.answers = Answers(lambda channel, envelope: self.got.append((channel, envelope)))

    @property
    def kinds(self) -> list[tuple[Channel, str]]:
        return [(channel, envelope.header().msg_type) for channel, envelope in self.got]

    def content(self, msg_type: str) -> Any:
        return next(envelope.content() for _, envelope in self.got if envelope.header().msg_type == msg_type)


def asked(msg_type: str, **content: Any) -> Envelope:
    return compose(msg_type, content, session="frontend", identities=(b"peer",))


def test_a_reply_stands_between_busy_and_idle_and_goes_to_who_asked() -> None:
    notebook, request = Notebook(), asked("interrupt_request")
    notebook.answers.reply(Channel.CONTROL, request, "interrupt_reply", {"status": "ok"})

    assert notebook.kinds == [
        (Channel.IOPUB, "status"),
        (Channel.CONTROL, "interrupt_reply"),
        (Channel.IOPUB, "status"),
    ]
    assert [notebook.got[n][1].content()["execution_state"] for n in (0, 2)] == ["busy", "idle"]
    assert notebook.got[1][1].identities == (b"peer",)
    assert all(envelope.parent() == request.header() for _, envelope in notebook.got)


def test_a_cell_without_a_session_shows_why_and_fails() -> None:
    notebook = Notebook()
    notebook.answers.without_session(Channel.SHELL, asked("execute_request", code="1 + 1"), ERROR)

    assert [kind for _, kind in notebook.kinds] == ["status", "execute_input", "error", "execute_reply", "status"]
    assert notebook.content("execute_input")["code"] == "1 + 1"
    for kind in ("error", "execute_reply"):
        assert notebook.content(kind)["evalue"] == str(ERROR)
        assert notebook.content(kind)["ename"] == "ServerUnreachable"


@pytest.mark.parametrize("kind", ["complete", "inspect", "history", "is_complete", "comm_info", "usage", "kernel_info"])
def test_what_frontends_ask_of_every_kernel_is_answered_without_a_session(kind: str) -> None:
    notebook = Notebook()
    notebook.answers.without_session(Channel.SHELL, asked(f"{kind}_request"), ERROR)

    assert notebook.content(f"{kind}_reply")["status"] == ("unknown" if kind == "is_complete" else "ok")


def test_the_banner_says_why_there_is_no_session() -> None:
    notebook = Notebook()
    notebook.answers.without_session(Channel.SHELL, asked("kernel_info_request"), ERROR)

    assert str(ERROR) in notebook.content("kernel_info_reply")["banner"]


@pytest.mark.parametrize("kind", ["comm_msg", "unheard_of_request"])
def test_what_has_no_answer_gets_none(kind: str) -> None:
    notebook = Notebook()
    notebook.answers.without_session(Channel.SHELL, asked(kind), ERROR)

    assert notebook.got == []


def test_messages_are_said_to_be_the_kernels_own_once_it_is_known() -> None:
    notebook = Notebook()
    notebook.answers.status("starting")
    notebook.answers.session = "kernel"
    notebook.answers.status("idle")

    assert [envelope.header().session == "kernel" for _, envelope in notebook.got] == [False, True]


def test_news_stands_below_a_cell_and_a_welcome_names_the_topic() -> None:
    notebook, cell = Notebook(), asked("execute_request")
    notebook.answers.stream("[flame] news\n", cell.parts[0])
    notebook.answers.welcome(b"topic")

    assert notebook.content("stream") == {"name": "stderr", "text": "[flame] news\n"}
    assert notebook.got[0][1].parent() == cell.header()
    assert notebook.got[1][1].identities == (b"topic",)

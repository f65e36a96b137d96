from __future__ import annotations

from flame_kernel.protocol.replies import ReplyMatcher


def test_who_waits_is_found_until_taken_and_taken_once() -> None:
    matcher: ReplyMatcher[str] = ReplyMatcher()
    matcher.expect(1, "ann")

    assert matcher.find(1) == matcher.find(1) == "ann"
    assert (matcher.take(1), matcher.take(1), matcher.find(1)) == ("ann", None, None)


def test_an_answer_that_nobody_waits_for_is_nobodys() -> None:
    assert ReplyMatcher[str]().take("unknown") is None


def test_everybody_is_told_once_that_nothing_will_come() -> None:
    matcher: ReplyMatcher[str] = ReplyMatcher()
    for key, waiter in enumerate(("ann", "bob")):
        matcher.expect(key, waiter)
    told: list[str] = []

    matcher.drop_all(told.append)
    matcher.drop_all(told.append)

    assert told == ["ann", "bob"]
    assert len(matcher) == 0


def test_who_begins_to_wait_while_the_others_are_told_goes_on_waiting() -> None:
    matcher: ReplyMatcher[str] = ReplyMatcher()
    matcher.expect(1, "ann")

    matcher.drop_all(lambda _: matcher.expect(2, "bob"))

    assert matcher.take(2) == "bob"

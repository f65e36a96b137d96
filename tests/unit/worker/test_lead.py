"""How the lead passes between threads."""

from __future__ import annotations

import threading

from flame_kernel.worker.lead import Lead
from tests.unit.waiting import eventually

# So long that whatever happens within a test did not happen because it was over.
_FOR_EVER_S = 3600.0


def next_leader(lead: Lead) -> threading.Event:
    """Have another thread wait for the lead; the event tells that it has it."""
    leads = threading.Event()

    def follow() -> None:
        lead.take()
        leads.set()

    lead.follow()
    threading.Thread(target=follow, daemon=True).start()
    return leads


def leading(patience_s: float) -> Lead:
    lead = Lead(patience_s)
    lead.follow()
    lead.take()
    return lead


def asleep(lead: Lead) -> None:
    """Wait until the watch sleeps."""
    eventually(lambda: lead._sleeping)


def test_a_quick_call_keeps_the_lead() -> None:
    lead = leading(_FOR_EVER_S)
    taken = next_leader(lead)
    for _ in range(1000):
        lead.keep()
        assert lead.kept()
    assert not taken.is_set()
    assert lead.followers == 1
    lead.leave()
    assert taken.wait(10)


def test_a_call_that_takes_long_loses_it() -> None:
    lead = leading(0.001)
    taken = next_leader(lead)
    lead.keep()
    assert taken.wait(10)
    assert lead.followers == 0
    assert not lead.kept()


def test_a_call_that_takes_long_loses_it_also_when_the_watch_slept() -> None:
    lead = leading(0.001)
    taken = next_leader(lead)
    asleep(lead)
    assert not taken.is_set()
    lead.keep()
    assert taken.wait(10)
    assert not lead.kept()


def test_the_lead_is_left_at_once() -> None:
    lead = leading(_FOR_EVER_S)
    taken = next_leader(lead)
    lead.leave()
    assert taken.wait(10)
    lead.follow()
    again = threading.Thread(target=lead.take, daemon=True)
    again.start()
    assert lead.followers == 1


def test_one_thread_leads_whoever_comes_and_goes() -> None:
    lead, leaders, rounds = Lead(0.0001), [0], 200
    most = [0]

    def work() -> None:
        for turn in range(rounds):
            lead.follow()
            lead.take()
            leaders[0] += 1
            most[0] = max(most[0], leaders[0])
            leaders[0] -= 1  # from here on somebody else may lead
            if turn % 3:
                lead.leave()
                continue
            lead.keep()
            if lead.kept():
                lead.leave()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert most == [1]
    assert lead.followers == 0

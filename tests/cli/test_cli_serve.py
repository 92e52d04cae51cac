"""How `saferun serve` is told to end."""

import os
import signal
import sys
import threading

import pytest

from saferun.cli.serve import until_told


class _Heard(threading.Event):
    """An event that keeps which thread has set it."""

    thread: int | None = None

    def set(self) -> None:
        self.thread = threading.get_ident()
        super().set()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_no_lock_that_the_thread_which_it_interrupts_may_hold(told) -> None:
    leaving = _Heard()
    with until_told(leaving):
        signal.raise_signal(told)
        assert leaving.wait(30)
    # The handler runs in this thread, wherever that is: in the middle of `leaving.wait`, say.
    assert leaving.thread != threading.get_ident()


def test_a_signal_is_heard_that_does_not_wake_the_thread_which_waits() -> None:
    leaving, waiting = _Heard(), threading.get_ident()

    def waits() -> bool:
        frame = sys._current_frames()[waiting]
        above = frame.f_back
        return (
            frame.f_code is threading.Condition.wait.__code__
            and above is not None
            and above.f_locals.get("self") is leaving
        )

    def send() -> None:
        # Once the other one waits, and to this thread: as where a signal comes between the last
        # look for one and the wait itself.
        while not waits():
            os.sched_yield()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    with until_told(leaving):
        other = threading.Thread(target=send)
        other.start()
        assert leaving.wait(30)
        other.join()


def test_a_second_signal_is_what_it_was_before() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        leaving = _Heard()
        with until_told(leaving):
            signal.raise_signal(signal.SIGTERM)
            assert leaving.wait(30)
            assert heard == []
            signal.raise_signal(signal.SIGTERM)
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)

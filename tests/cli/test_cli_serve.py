"""How `saferun serve` is told to end."""

import signal
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

"""Whoever wants to be told of every decision of this process."""

import logging
from collections.abc import Callable

from saferun.call import Decision

log = logging.getLogger("saferun")

_listeners: list[Callable[[Decision], None]] = []
_timing: list[Callable[[Decision, int], None]] = []


def on_decision(listen: Callable[[Decision], None]) -> Callable[[Decision], None]:
    """Have `listen` called with every decision of this process; usable as a decorator.

    It is told and not asked: what it raises is logged and changes nothing.
    """
    _listeners.append(listen)
    return listen


def stop_listening(listen: Callable[[Decision], None]) -> None:
    """Tell `listen` nothing more. Raises ValueError where it was not told anything."""
    _listeners.remove(listen)


def time_decisions(listen: Callable[[Decision, int], None]) -> None:
    """Have `listen` called with every decision and the nanoseconds that it took.

    They include the time that people took, where they were asked.
    """
    _timing.append(listen)


def stop_timing(listen: Callable[[Decision, int], None]) -> None:
    """Tell `listen` nothing more. Raises ValueError where it was not told anything."""
    _timing.remove(listen)


def tell(decision: Decision, spent: int = 0) -> None:
    """Tell the log and the listeners what was decided. Never raises.

    `spent` is the time that it took, in nanoseconds.
    """
    if not decision.allowed:
        log.info("saferun: %s", decision.for_people)
    elif decision.verdict != "allow":
        ids = ", ".join(reason.id for reason in decision.reasons)
        log.info(
            "saferun: in shadow, %s ran; enforced: %s (%s)", decision.tool, decision.verdict, ids
        )
    for listen in tuple(_listeners):
        try:
            listen(decision)
        except Exception:
            log.exception("saferun: a listener of on_decision failed")
    for listener in tuple(_timing):
        try:
            listener(decision, spent)
        except Exception:
            log.exception("saferun: a listener to the time of decisions failed")

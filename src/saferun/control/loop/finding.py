"""What the loop control says of a call, to the gate and to the model."""

import msgspec

from saferun.control.loop.ladder import Rung


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A loop, or what may become one.

    `step` is `nudge` where the call is let through and the model told, else what it is refused
    with. `signal` is the field of `Loops` that it was found by, `count` what has been made and
    `limit` what is allowed; with `poll_for`, both are in microseconds. `message` is for the
    model: it names the tool and what came of it in kind, and never arguments or results.
    """

    step: Rung
    signal: str
    count: int
    limit: int
    message: str


_WORDS = {
    "same_result": (
        "{tool} has been called {count} times with the same arguments and the same result",
        "Use the result that you have, or do something else.",
    ),
    "spaced_result": (
        "{tool} has been called {count} times with the same arguments and the same result",
        "Go on with something else, or say what you are waiting for.",
    ),
    "same_error": (
        "{tool} has been called {count} times with the same arguments and the same error",
        "Change the arguments, use another tool, or say what is missing.",
    ),
    "transient_error": (
        "{tool} has been called {count} times with the same arguments, and failed each time",
        "It does not work at present: go on without it, or say so.",
    ),
    "masked": (
        "{tool} has been called {count} times in much the same way and with the same outcome",
        "Calling it once more brings nothing new: use what you have, or do something else.",
    ),
    "cycle": (
        "a round of calls, {tool} among them, has come to the same {count} times",
        "Another round brings nothing new: change the approach, or say what is missing.",
    ),
    "barren": (
        "{tool} has failed or found nothing {count} times, without anything new in between",
        "Other arguments have not helped: use another way, or say that it cannot be done or found.",
    ),
    "lifetime": (
        "{tool} has been called {count} times in this run with the same outcome",
        "Use what it brought, and finish without calling it again.",
    ),
    "changing": (
        "{tool} has been called {count} times in a row with the same arguments",
        "Use the results that you have, or do something else in between.",
    ),
    "poll_burst": (
        "{tool} has been called {count} times within ten seconds",
        "Wait before you ask again.",
    ),
    "poll_for": (
        "{tool} has been asked for {minutes} minutes without any change",
        "Stop waiting: go on with something else, or say what you are waiting for.",
    ),
    "retries": (
        "{tool} has been tried again {count} times, and failed each time",
        "Trying again has not helped: change something, use another tool, or say what failed.",
    ),
}


_WORDS_OF_UNKNOWN = {
    "same_error": (
        "{tool} has been called {count} times with the same arguments and an unknown outcome",
        "It may have happened: find out before you call it again, or say that nobody knows.",
    ),
    "retries": (
        "{tool} has been tried again {count} times, and its outcome is unknown",
        "It may have happened: find out before you call it again, or say that nobody knows.",
    ),
}

_STOPPED = "This run is stopped now; a person has to resume it."


def message(signal: str, tool: str, count: int, step: Rung, *, unknown: bool) -> str:
    """What the model is told: what it repeated, what came of it, and what to do instead.

    `unknown` says that nobody knows whether the call did its work when it was made last.
    """
    what, instead = _WORDS_OF_UNKNOWN.get(signal, _WORDS[signal]) if unknown else _WORDS[signal]
    said = what.format(tool=tool, count=count, minutes=count // 60_000_000)
    return f"{said}. {instead} {_STOPPED}" if step == "stop" else f"{said}. {instead}"

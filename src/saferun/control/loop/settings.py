"""At how many repeats an agent is told, refused, and in the end stopped."""

import msgspec


class Loops(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The thresholds of each signal, at which a call is denied; None is off.

    Each counts what has been made already: with `same_result: 6` six calls bring the same, and
    the seventh is denied. At about half of each, and at the last call before the denial, the model
    is told and the call is let through.

    same_result: a call with the same arguments and the same result, made again within 5 seconds.
    spaced_result: the same, whatever time lies between.
    same_error: the same arguments and the same error, with other calls of the run between. That
        nobody knows whether the call did its work is such an error as well.
    transient_error: likewise, where the errors are such that may pass, as timeouts.
    masked: same as `same_result`, but for times, durations and request ids.
    cycle: rounds of two to eight calls that come to the same each time.
    barren: calls of one tool, whatever their arguments, that fail or find nothing; three
        times as many where they find nothing about different things.
    lifetime: a call that comes to the same, over the whole run and whatever lies between.
    changing: one call in a row, whatever its results.
    poll_burst: calls of a tool with `poll: true` in 10 seconds.
    poll_for: for how long such a call may come to the same, in microseconds.
    retries: a call made again after an error, with no other call of the run between, however
        long that waited.

    denials: after so many denials for a loop in a run, a person is asked instead.
    asks: after so many of these were not answered with yes, the run is stopped.
    """

    same_result: int | None = 6
    spaced_result: int | None = 12
    same_error: int | None = 3
    transient_error: int | None = 6
    masked: int | None = 10
    cycle: int | None = 3
    barren: int | None = 12
    lifetime: int | None = 40
    changing: int | None = 50
    poll_burst: int | None = 10
    poll_for: int | None = 3_600_000_000
    retries: int | None = 3
    denials: int = 3
    asks: int = 2

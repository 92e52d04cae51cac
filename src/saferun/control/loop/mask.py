"""What differs between two calls, or two results, that mean the same.

Arguments are masked sparingly. An id or a date tells one order, user or day from the next, so
a batch over them is work; only what by its name or its form belongs to the very attempt is
masked. Results are masked more freely, since they are only compared between repeats of one
call. Values under names such as `id` stay in both: a call that takes the next job from a queue
differs in nothing else.

All patterns are linear, and only the first and the last `END` bytes are looked at: that is where
times and totals stand.
"""

import re
from collections.abc import Callable

END = 4 * 1024
"""Bytes that are masked at either end. What lies between is compared as it is."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NUMBER = rb"-?\d[\d.eE+-]*"

# Seconds, milliseconds, microseconds or nanoseconds since 1970, from 2014 to 2033.
_EPOCH = rb'"?1[4-9]\d{8}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?(?!\d)"?'

# Names of what belongs to the attempt and not to what is attempted.
_OF_ATTEMPT = b"|".join(
    (
        rb"(?:request|trace|span|correlation|invocation|call|tool_?[cC]all)[-_]?[iI][dD]",
        rb"[xX][-_]request[-_]?[iI][dD]",
        rb"idempotency[-_]?[kK]ey|nonce|e[tT]ag",
        rb"(?:attempts?|retry|retries)(?:_?(?:no|number|count))?",
    )
)
_PRESENT = rb"timestamp|ts|now|_|current_?[tT]ime|(?:sent|requested|called|checked)_?[aA]t"
_NAMED = rb'(?:%b)":(?:%b|%b)|(?:%b)":%b' % (_OF_ATTEMPT, _STRING, _NUMBER, _PRESENT, _EPOCH)

# In URLs and in headers, within a string.
_PARAMETER = (
    rb"[?&](?:_|ts|timestamp|nonce|cb|cache_?bust(?:er)?|rand|request_?[iI]d)=[^&\"\s\\#]*"
    rb"|[xX]-[rR]equest-[iI][dD]: ?[\w-]+"
)

# A whole minute names a slot or a bucket, and an odd second the moment in which it was written.
_MOMENT = (
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:(?:(?!00)\d\d(?:[.,]\d+)?|00[.,]\d+)"
    rb"(?:Z|[+-]\d\d:?\d\d)?"
)

_CLOCK = (
    rb"\d(?<![\d:].)(?:\d{3}-\d\d-\d\d[T ]\d)?\d?:\d\d:\d\d(?![\d:])(?:[.,]\d+)?"
    rb"(?:Z| ?[aApP][mM]\b|[+-]\d\d:?\d\d)?"
)

# By the end of a name, seen from the quote after it: "updated_at":1714000000, "elapsed_ms":12.
_WHEN = rb"(?:(?<=ime.)|(?<=amp.)|(?<=_at.)|(?<=At.)|(?<=\"ts.)|(?<=now.)):" + _EPOCH
_LASTED = (
    rb"(?:(?<=elapsed.)|(?<=uration.)|(?<=atency.)|(?<=uptime.)|(?<=took.)|(?<=response_time.)"
    rb'|(?<=_ms.)|(?<=_seconds.)|(?<=_secs.)):"?%b' % _NUMBER
)

_WORDED = (
    rb"\b(?:(?:took|in|after|for|[eE]lapsed:?|[dD]uration:?) \d+(?:\.\d+)? ?"
    rb"(?:ns|\xc2\xb5s|us|ms|s|secs?|seconds?)\b"
    rb"|(?:[rR]equest|[tT]race|[cC]orrelation)[ _-]?[iI][dD][:= ]{1,3}[\w-]+"
    rb"|pid[ =:]{1,3}\d+)"
)
_MACHINE = rb"0x[0-9a-fA-F]{6,16}\b|/tmp/[\w./-]*"

# What a match may begin with comes first, so that most of a text is passed over quickly.
_ARGUMENTS = re.compile(rb'(?=["\d?&xX])(?:"(?:%b)|%b|%b)' % (_NAMED, _MOMENT, _PARAMETER))
_RESULTS = re.compile(
    rb'"(?:%b|%b|%b)|%b|%b|%b|%b' % (_NAMED, _WHEN, _LASTED, _CLOCK, _PARAMETER, _MACHINE, _WORDED)
)

# Why the model makes the call, in words that are different every time.
_WHY = re.compile(rb'"(?:explanation|thoughts?|reasoning|rationale|justification)":' + _STRING)


# Ten digits, a clock, or a date.
_TIMES = re.compile(r"\d(?:\d{9}|:\d\d:\d|\d{3}-\d\d-\d)")


# Nearly everything has nothing in it that is masked. Each kind of match has one of these in it,
# and to look for them costs a fraction of what the patterns do. Written out, since a loop over
# them would cost as much again; and in text, where that is three times as fast as in bytes.


def _may_vary(text: str) -> bool:
    """Whether arguments may hold anything that is masked; False is certain."""
    return (
        "?" in text
        or "&" in text
        or "equest" in text
        or "race" in text
        or "span" in text
        or "orrelation" in text
        or "nvocation" in text
        or "call" in text
        or "Call" in text
        or "dempotency" in text
        or "nonce" in text
        or "tag" in text
        or "Tag" in text
        or "ttempt" in text
        or "retr" in text
        or _TIMES.search(text) is not None
    )


def _may_differ(text: str) -> bool:
    """Whether a result may hold anything that is masked; False is certain."""
    return (
        "lapsed" in text
        or "uration" in text
        or "atency" in text
        or "uptime" in text
        or "took" in text
        or "response_time" in text
        or '_ms"' in text
        or "_sec" in text
        or "in " in text
        or "after " in text
        or "for " in text
        or "pid" in text
        or "0x" in text
        or "/tmp" in text  # noqa: S108 - it is looked for, and not used
        or _may_vary(text)
    )


def arguments(data: bytes) -> bytes:
    """Canonical JSON of arguments, without what changes from attempt to attempt."""
    masked = _masked(_ARGUMENTS, data, _may_vary)
    if (
        b'ation":' in masked
        or b"thought" in masked
        or b'reasoning":' in masked
        or b'nale":' in masked
    ):
        bare = _masked(_WHY, masked)
        # For a tool that only takes thoughts they are the call itself.
        if bare.strip(b"{}~,"):
            return bare
    return masked


def result(data: bytes) -> bytes:
    """A result or an error, without times, durations, request ids and addresses."""
    return _masked(_RESULTS, data, _may_differ)


def _certainly(_: str) -> bool:
    return True


def _masked(
    pattern: re.Pattern[bytes], data: bytes, may: Callable[[str], bool] = _certainly
) -> bytes:
    """The data with `~` for what the pattern matches; the same object where it matches nothing."""
    if len(data) > 2 * END:
        first, last = data[:END], data[-END:]
        return _masked(pattern, first, may) + data[END:-END] + _masked(pattern, last, may)
    # Whatever the bytes mean, each of them is one character of this.
    return pattern.sub(b"~", data) if may(data.decode("latin-1")) else data

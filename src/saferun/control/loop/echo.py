"""What came of a call, as digests and a few facts."""

import re

import msgspec

from saferun.call import Status
from saferun.control.loop import mask
from saferun.control.loop.sign import Digest

_SHORT = 1024
"""Bytes of a result that may be a mere notice; what is longer has something in it."""

_TRANSIENT = re.compile(
    r"time[d-]? ?out|deadline exceeded|connection|temporar|unavailable|rate.?limit|"
    r"too many requests|overloaded|throttl|try again|retry (?:later|after)|deadlock|"
    r"database is locked|broken pipe|unreachable|bad gateway|internal server error|"
    r"econn|etimedout|eai_again|name resolution|remote end closed|"
    r"(?:http|status|code|error)(?:[ _]?(?:code|error|status))?[\s:=(]{0,3}(?:408|425|429|5\d\d)\b|"
    r"\b(?:429|50[0234]) (?:[a-z]+ )?(?:error|for url)",
    re.IGNORECASE,
)

# Tools that hand errors back as results: "Error: no such user", {"error": "no such user"}.
_SAID_ERROR = re.compile(
    rb'"(?:\w{0,40}Error|ERROR|[eE]rror)\b ?[:\-(]|'
    rb'\{"error":(?!null|false|""|\{\}|\[\])|'
    rb'"is_?[eE]rror":true|'
    rb'\{"(?:ok|success)":false|"success":false|"status":"(?:error|failed|failure)"'
)

# "No results found", "0 matches"; likewise as the text of an object.
_NOTHING = (
    rb'"(?:(?:no|0|zero|nothing|none|not|empty)\b[^"]{0,40}?\b(?:found|results?|match(?:es|ed|ing)?'
    rb"|records?|items?|rows?|hits?|entries|documents?|data)\b"
    rb'|(?:none|null|n/a|empty|nothing|\[\]|\{\})\.?")'
)
_FOUND_NOTHING = re.compile(_NOTHING, re.IGNORECASE)
_SAID_NOTHING = re.compile(rb'"(?:text|result|message|output)":' + _NOTHING, re.IGNORECASE)

# `[]` and `{"items": [], "total": 0}`, whatever the names, but `{"errors": []}`: of these there had
# better be none, and an empty list of them is an answer with something in it.
_HOLLOW = re.compile(
    rb'(?:[\[\]{},]|null|""|"(?:count|total|total_?[cC]ount|total_results|num_results|size|hits)":0'
    rb'|"(?!(?:errors|warnings|issues|problems|violations|flags|alerts|conflicts)")[^"\\]*":)+'
)

# What a tool comes back with that has nothing to say.
_SILENT = (b"null", b'""', b"{}")


class Echo(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What came of a call, as the loop control knows it.

    `status` is that of the outcome, but `error` where the tool handed an error back as its
    result. `unknown` is held to be a failure that does not pass: what may have happened is not
    to be made again and again. `exact` and `masked` are digests of the result or the error;
    `masked` is equal also where only times, durations and request ids differ. `empty` says that
    the result holds nothing, and `silent` that there is none: None, an empty text or object.
    `transient` says that the error is of a kind that passes by itself.
    """

    status: Status
    exact: bytes
    masked: bytes
    empty: bool = False
    silent: bool = False
    transient: bool = False

    @property
    def failed(self) -> bool:
        return self.status in ("error", "timeout", "unknown")

    @property
    def known(self) -> bool:
        """Whether it came to anything: a call that was cancelled or never began did not."""
        return self.status in ("ok", "error", "timeout", "unknown")


def echo(status: Status, data: bytes | None, error: str | None, digest: Digest) -> Echo:
    """What came of a call.

    Args:
        status: that of its outcome.
        data: the canonical JSON of its result, None where there is none.
        error: `TypeName: text` where it failed.
        digest: the one that the signs are made with.

    """
    if status == "ok":
        found = b"null" if data is None else data
        if len(found) > _SHORT or not _SAID_ERROR.search(found):
            return _echo(status, found, digest, empty=_empty(found), silent=found in _SILENT)
        status, text = "error", found.decode(errors="replace")
    else:
        text = error or ""
        found = text.encode(errors="surrogatepass")
    # What may have happened does not pass by itself, though it says that its time ran out.
    passing = status != "unknown" and _TRANSIENT.search(text, 0, _SHORT) is not None
    return _echo(status, found, digest, transient=passing or status == "timeout")


def _echo(
    status: Status,
    found: bytes,
    digest: Digest,
    *,
    empty: bool = False,
    silent: bool = False,
    transient: bool = False,
) -> Echo:
    name = status.encode() + b"\0"
    exact = digest(name + found)
    masked = mask.result(found)
    return Echo(
        status=status,
        exact=exact,
        masked=exact if masked == found else digest(name + masked),
        empty=empty,
        silent=silent,
        transient=transient,
    )


def _empty(data: bytes) -> bool:
    if len(data) > _SHORT:
        return False
    if data[:1] == b'"':
        return data == b'""' or _FOUND_NOTHING.match(data) is not None
    if data[:1] not in b"{[n":
        return False
    return _HOLLOW.fullmatch(data) is not None or _SAID_NOTHING.search(data) is not None

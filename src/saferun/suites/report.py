"""A failed case in words, for people: in a terminal, in pytest and on a build server."""

from collections.abc import Iterator

from saferun.call import canonical
from saferun.suites.trial import Failure

_MAX_VALUE = 200
"""Characters of a value in a report."""


def sentence(failure: Failure) -> list[str]:
    """What was expected, what was found, and why: line by line.

    It holds the values of the call and belongs to whoever wrote the test. What it quotes may
    hold control characters, which are the business of whatever shows it.
    """
    width = max(len(difference.about) for difference in failure.differences)
    which = f"call {failure.number} of {failure.of}: " if failure.of > 1 else ""
    return [
        f"{which}{failure.call.tool}({_args(failure)})",
        *(
            f"  {each.about:{width}}  expected {_cut(each.expected)}, found {_cut(each.found)}"
            for each in failure.differences
        ),
        *_why(failure),
    ]


def _why(failure: Failure) -> Iterator[str]:
    """Everything that spoke, each with its conditions and the values they saw."""
    spoken = {each.id: each for each in failure.explanation.rules}
    for reason in failure.told.reasons:
        line = f" (line {reason.line})" if reason.line is not None else ""
        yield f"  {reason.id}{line} says {reason.effect}: {reason.message}"
        if reason.id in spoken:
            for clause in spoken[reason.id].clauses:
                mark = "✓" if clause.holds else "✕"
                yield f"    {mark} {clause.text}  {_cut(_value(clause.value))}"
    if not failure.told.reasons:
        yield "  no rule and no limit speaks about it"


def _args(failure: Failure) -> str:
    told = (f"{name}={_cut(_value(value))}" for name, value in failure.call.args.items())
    return ", ".join(told)


def _value(value: object) -> str:
    return canonical.encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"

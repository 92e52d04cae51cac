"""What a condition may speak of: the names, their types, and their values for one call.

`args` are the arguments of the tool, as its `args` describe them. `user` has an `id`, and what
`inputs` declare of the user; `agent`, `tenant` and `environment` are text. `run` has what the
run has done so far, and `now` is the time of the decision. Every other name is an input, which
the run gives as its `context`.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from saferun.call import Call, Facts
from saferun.policy.document import Argument

if TYPE_CHECKING:
    # Only loading needs the compiler, and importing saferun shall not wait for it.
    from saferun.policy.expression import Type

OWN = ("args", "user", "agent", "tenant", "environment", "run", "now")
"""The names that are always there. An input cannot be called like one of them."""

RUN = ("calls", "cost_usd", "said", "seconds", "tools")


def names(
    args: Mapping[str, Argument] | None, inputs: Mapping[str, dict[str, Any]]
) -> "dict[str, Type]":
    """The types of everything that a condition on these arguments may speak of."""
    from saferun.policy import expression as e

    about: dict[str, Any] = {}
    for name, schema in inputs.items():
        *above, last = name.split(".")
        holder = about
        for step in above:
            holder = holder.setdefault(step, {})
        holder[last] = e.from_schema(schema)
    user = {"id": e.STRING, **about.pop("user", {})}
    described = {name: e.from_schema(argument.schema) for name, argument in (args or {}).items()}
    return {
        "args": e.MapOf(e.DYN) if args is None else e.ObjectOf(described),
        "user": _object(user),
        "agent": e.STRING,
        "tenant": e.STRING,
        "environment": e.STRING,
        "run": e.ObjectOf(
            {
                "calls": e.INT,
                "cost_usd": e.DOUBLE,
                "said": e.STRING,
                "seconds": e.DOUBLE,
                "tools": e.ListOf(e.STRING),
            }
        ),
        "now": e.TIMESTAMP,
        **{name: _object(found) for name, found in about.items()},
    }


def values(call: Call, args: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """What a condition reads for one call. What is not known is missing from it."""
    found: dict[str, Any] = {}
    run = call.run
    if run is not None:
        # Nothing that the run says of itself stands for what SafeRun knows better.
        if run.context:
            found = {name: said for name, said in run.context.items() if name not in OWN}
        found["user"] = run.user
        if run.agent is not None:
            found["agent"] = run.agent
        if run.tenant is not None:
            found["tenant"] = run.tenant
    if facts.environment is not None:
        found["environment"] = facts.environment
    if facts.past is not None:
        found["run"] = {
            "calls": facts.past.calls,
            "cost_usd": facts.past.cost_usd,
            "seconds": max(0, facts.now - facts.past.began) / 1e6,
            "tools": list(facts.past.tools),
        }
        if facts.past.said:
            found["run"]["said"] = "\n".join(facts.past.said)
    found["args"] = args
    found["now"] = facts.now
    return found


def missing(reads: Iterable[tuple[str, ...]], found: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the paths that a condition reads, those that the application did not give.

    Arguments are not among them: a call that lacks one is a call like that.
    """
    return tuple(
        ".".join(path) for path in sorted(reads) if path[0] != "args" and not _given(path, found)
    )


def _given(path: tuple[str, ...], found: Mapping[str, Any]) -> bool:
    value: Any = found
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return True


def _object(found: Any) -> "Type":
    from saferun.policy import expression as e

    if not isinstance(found, dict):
        kind: Type = found
        return kind
    return e.ObjectOf({name: _object(each) for name, each in found.items()})

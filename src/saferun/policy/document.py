"""What a policy file says, once it has been read and found sound. Plain records."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from saferun.call import Effect
from saferun.control import Limit

Answer: TypeAlias = Literal["allow", "ask", "deny"]
"""What a rule or a `default` may say. Only controls defer."""

UNSET = msgspec.UNSET


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument that a tool may be given.

    `schema` is JSON Schema, draft 2020-12, without the policy's own words `default`
    and `optional`. `default` is filled in where the caller leaves the argument out.
    """

    schema: dict[str, Any]
    required: bool
    default: Any = UNSET


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of a tool.

    `args` holds a schema for each argument that must match, None where the rule always
    applies. `groups` names who may answer an `ask`; empty means anyone.
    """

    id: str
    answer: Answer
    groups: tuple[str, ...] = ()
    args: Mapping[str, dict[str, Any]] | None = None
    message: str | None = None
    shadow: bool = False
    line: int | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says about one tool. `args` is None where they are not checked (`any`)."""

    name: str
    effect: Effect
    args: Mapping[str, Argument] | None
    default: Answer = "allow"
    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    redact: tuple[tuple[str, ...], ...] = ()
    idempotent: bool = False
    opaque: frozenset[str] = frozenset()
    disclose: bool = True
    message: str | None = None
    line: int | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole policy. `version` is the hash of its canonical form, in hexadecimal."""

    name: str
    version: str
    default: Answer = "deny"
    mode: Literal["enforce", "shadow"] = "enforce"
    limits: tuple[Limit, ...] = ()
    tools: Mapping[str, Tool] = msgspec.field(default_factory=dict)

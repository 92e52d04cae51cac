"""Policies and calls for tests, written as briefly as they can be read."""

from textwrap import dedent, indent
from typing import Any

from saferun.call import Call
from saferun.policy import Policy, Ruling, check, loads

REFUND = """
effect: write
args:
  order_id: {type: string, maxLength: 40}
  amount: {type: integer, minimum: 1, maximum: 100000}
  currency: {enum: [USD, EUR, GBP]}
"""

FITS = {"order_id": "A-17", "amount": 4000, "currency": "USD"}


def text(tool: str = REFUND, *, rules: str = "", head: str = "", name: str = "refund") -> str:
    """A policy file with one tool, `rules` under it and `head` above it."""
    body = dedent(tool).rstrip("\n") + "\n"
    if rules:
        body += "rules:\n" + indent(dedent(rules), "  ")
    return f"version: 1\n{dedent(head)}\ntools:\n  {name}:\n{indent(body, '    ')}"


def policy(tool: str = REFUND, **parts: str) -> Policy:
    return loads(text(tool, **parts))


def of(args: str, **parts: str) -> Policy:
    """A policy whose tool `refund` has these arguments, and nothing else to it."""
    return policy("effect: write\nargs:\n" + indent(dedent(args), "  "), **parts)


def call(args: dict[str, Any] | None = None, tool: str = "refund", **more: Any) -> Call:
    return Call(tool=tool, args=dict(FITS) if args is None else args, **more)


def decide(rules: str, args: dict[str, Any] | None = None, **parts: str) -> Ruling:
    return policy(rules=rules, **parts).decide(call(args))


def ids(ruling: Ruling) -> list[str]:
    return [reason.id for reason in ruling.reasons]


def said(ruling: Ruling) -> str:
    """What the one reason of a ruling says."""
    [reason] = ruling.reasons
    return reason.message


def errors(document: str | bytes) -> list[str]:
    """`line: message` for each error in a policy file."""
    return [f"{each.line}: {each.message}" for each in check(document) if each.severity == "error"]


def error(document: str | bytes) -> str:
    """The one error in a policy file."""
    [only] = errors(document)
    return only


def warnings(document: str) -> list[str]:
    return [f"{each.line}: {each.code}" for each in check(document) if each.severity == "warning"]

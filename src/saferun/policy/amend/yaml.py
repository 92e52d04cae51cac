"""Plain values as YAML that every reader reads alike."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from saferun.policy.source import read

_PLAIN = re.compile(r"[A-Za-z_(!][A-Za-z0-9_.()<>=! /+*-]*[A-Za-z0-9_.)*]|[A-Za-z_]")
"""Words that need no quotes, in a list or mapping on one line too."""


def scalar(value: Any) -> str:
    """A text, number, boolean or null on one line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if not isinstance(value, str):
        return repr(value)
    if (
        _PLAIN.fullmatch(value)
        and not value.startswith("! ")
        and read(f"a: {value}").value == {"a": value}
    ):
        return value
    if value.isprintable():
        # In single quotes nothing but the quote itself has a meaning.
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(held)}" for key, held in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(value: Mapping[str, Any]) -> list[str]:
    """A mapping, one key a line; what is in it stands on that line."""
    return [f"{scalar(key)}: {flow(held)}" for key, held in value.items()]

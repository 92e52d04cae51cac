"""A condition's text, cut into tokens by the lexis of the CEL specification."""

import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from saferun.policy.expression.error import ExpressionError

Kind: TypeAlias = Literal["name", "number", "string", "mark", "end"]

MAX_INT = 2**63 - 1
MIN_INT = -(2**63)

_RESERVED_VALUES = {"true": True, "false": False, "null": None}


class Token(msgspec.Struct, frozen=True):
    """One word of a condition. `value` is what a constant stands for."""

    kind: Kind
    text: str
    start: int
    value: Any = None

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_TOKEN = re.compile(
    r"(?P<space>(?:[\t\n\f\r ]+|//[^\r\n]*)+)"
    r"|(?P<number>0x[0-9a-fA-F]+[uU]?|[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?"
    r"|[0-9]+[eE][+-]?[0-9]+|[0-9]+[uU]?)"
    r"|(?P<quoted>(?P<prefix>[bBrR]{0,2})(?P<quote>'''|\"\"\"|'|\"))"
    r"|(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)"
    r"|(?P<escaped>`[a-zA-Z0-9_.\-/ ]+`)"
    r"|(?P<mark>&&|\|\||[=!]==|[=!<>]=|<>|=>|=<|\*\*|[-+*/%<>!?:.,()\[\]{}])"
)

_SLIPS = {
    "=": "write `==` to compare",
    "===": "write `==` to compare",
    "!==": "write `!=` to compare",
    "<>": "write `!=` to compare",
    "=>": "write `>=` to compare",
    "=<": "write `<=` to compare",
    "&": "write `&&` for and",
    "|": "write `||` for or",
    "**": "there are no powers here; write the number out",
    ";": "a condition is one expression; join two with `&&` or `||`",
    "#": "a comment starts with `//`",
    "`": "between backticks stands the name of a field, after a `.`",
}
"""Marks of other languages, and what says the same in this one."""

_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    **{mark: mark for mark in "\\?\"'`"},
}
_ESCAPE = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\?\"'`])|[xX](?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})"
    r"|U(?P<U>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2}))"
)


def tokens(text: str) -> Iterator[Token]:
    """The words of a text, an `end` after the last. Raises ExpressionError at what is no word."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError(_strange(text[at]), at)
        if found["quoted"] is not None:
            token = _string(text, found)
        elif found["number"] is not None:
            token = Token("number", found[0], at, _number(found[0], at))
        elif found["name"] is not None:
            token = Token("name", found[0], at, _RESERVED_VALUES.get(found[0]))
        elif found["escaped"] is not None:
            token = Token("name", found[0], at, found[0][1:-1])
        elif found["mark"] in _SLIPS:
            raise ExpressionError(_strange(found[0]), at)
        elif found["mark"] is not None:
            token = Token("mark", found[0], at)
        else:
            at = found.end()
            continue
        yield token
        at = token.end
    yield Token("end", "", len(text))


def quoted(value: str) -> str:
    """A string as a condition writes it."""
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _strange(mark: str) -> str:
    if mark in _SLIPS:
        return f"`{mark}` is no operator of a condition; {_SLIPS[mark]}"
    shown = f"`{mark}`" if mark.isprintable() else f"U+{ord(mark):04X}"
    return f"{shown} has no meaning in a condition outside of quotes; take it out"


def _number(written: str, at: int) -> int | float:
    if not written.startswith("0x") and any(mark in written for mark in ".eE"):
        number = float(written)
        if number == float("inf"):
            raise ExpressionError("this number is larger than a double can be", at)
        return number
    # A value past the end stays whole here: `-9223372036854775808` is one constant, and
    # only who sees the sign knows whether the digits after it are too many.
    return int(written.rstrip("uU"), 0 if written.startswith("0x") else 10)


def _string(text: str, found: re.Match[str]) -> Token:
    start, at = found.start(), found.end()
    quote, prefix = found["quote"], found["prefix"].lower()
    if "b" in prefix:
        raise ExpressionError(
            "bytes are not available in conditions; write a string, without the `b`", start
        )
    if len(prefix) > 1:
        raise ExpressionError("a raw string has one `r` before its quote", start)
    raw = prefix == "r"
    said: list[str] = []
    while not text.startswith(quote, at):
        if at >= len(text) or (len(quote) == 1 and text[at] in "\r\n"):
            raise ExpressionError(f"this string has no end; close it with `{quote}`", start)
        if text[at] != "\\" or raw:
            said.append(text[at])
            at += 1
            continue
        escape = _ESCAPE.match(text, at)
        if escape is None:
            raise ExpressionError(
                "this is no escape of a string; write `\\\\` for a backslash, "
                "or put `r` before the quote",
                at,
            )
        said.append(_unescaped(escape))
        at = escape.end()
    return Token("string", text[start : at + len(quote)], start, "".join(said))


def _unescaped(escape: re.Match[str]) -> str:
    if escape["simple"]:
        return _SIMPLE[escape["simple"]]
    if escape["octal"]:
        return chr(int(escape["octal"], 8))
    code = int(escape["x"] or escape["u"] or escape["U"], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ExpressionError(f"U+{code:04X} is no character", escape.start())
    return chr(code)

"""A condition with one thing changed at a time, to find out whether a test would notice."""

from collections.abc import Iterator
from typing import TypeAlias

from saferun.policy.expression.token import quoted
from saferun.policy.expression.tree import (
    RELATIONS,
    Binary,
    Call,
    Items,
    Literal,
    Logic,
    Node,
    walk,
)

Variant: TypeAlias = tuple[str, str]
"""What was changed, and the text of the condition with it changed."""

_NEIGHBOURS = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
}
_OPPOSITE = {"&&": "||", "||": "&&"}


def variants(text: str, root: Node) -> Iterator[Variant]:
    """Every change, in the order of the text.

    Some of the texts may be no condition any more: a time zone with a letter added to it, or
    a whole number one past 64 bits.
    """
    for node in walk(root):
        match node:
            case Logic():
                for at in node.ats:
                    yield _changed(text, at, node.operator, _OPPOSITE[node.operator])
            case Binary() if node.operator in RELATIONS:
                for other in _NEIGHBOURS[node.operator]:
                    yield _changed(text, node.at, node.operator, other)
                for side in (node.left, node.right):
                    yield from _constant(text, side)
            case Binary(operator="in"):
                yield from _constant(text, node.left)
                if isinstance(node.right, Items):
                    for item in node.right.items:
                        yield from _constant(text, item)
            case Call():
                for argument in node.arguments:
                    yield from _constant(text, argument)
    # A comment at the end would swallow a bracket on its line.
    yield "the whole condition was negated", f"!({text}\n)"


def _constant(text: str, node: Node) -> Iterator[Variant]:
    if not isinstance(node, Literal):
        return
    said = text[node.start : node.end]
    if type(node.value) is int:
        for other in (node.value + 1, node.value - 1):
            yield _changed(text, node.start, said, str(other))
    elif type(node.value) is str:
        yield _changed(text, node.start, said, quoted(node.value + "~"))


def _changed(text: str, at: int, old: str, new: str) -> Variant:
    changed = text[:at] + new + text[at + len(old) :]
    return f"`{old}` became `{new}` at character {at + 1}", changed

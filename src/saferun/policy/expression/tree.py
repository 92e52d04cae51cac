"""What a condition says, as a tree. Nodes are compared by identity: each stands for one place."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

FieldPath: TypeAlias = tuple[str, ...]
"""A name and the fields below it: `args.amount` is `("args", "amount")`."""


class Node(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One part of a condition. `start` and `end` are characters of its text.

    Parentheses around a part belong to whatever holds it.
    """

    start: int
    end: int


class Literal(Node, frozen=True, eq=False):
    """A constant as it is written: a number, a string, true, false or null."""

    value: Any


class Name(Node, frozen=True, eq=False):
    """One of the names that the condition was given."""

    name: str


class Local(Node, frozen=True, eq=False):
    """A macro's variable. `slot` counts the macros around the one that it belongs to."""

    name: str
    slot: int


class Select(Node, frozen=True, eq=False):
    """`operand.field`. `at` is where the field stands."""

    operand: Node
    field: str
    at: int


class Has(Node, frozen=True, eq=False):
    """`has(operand.field)`."""

    operand: Node
    field: str
    at: int


class Index(Node, frozen=True, eq=False):
    """`operand[index]`."""

    operand: Node
    index: Node


class Unary(Node, frozen=True, eq=False):
    """`!operand` or `-operand`."""

    operator: str
    operand: Node


class Binary(Node, frozen=True, eq=False):
    """Arithmetic, a comparison, or `in`. `at` is where the operator stands."""

    operator: str
    left: Node
    right: Node
    at: int


class Logic(Node, frozen=True, eq=False):
    """A row of terms under one `&&` or `||`. `ats` has one place less than there are terms."""

    operator: str
    terms: tuple[Node, ...]
    ats: tuple[int, ...]


class Choice(Node, frozen=True, eq=False):
    """`test ? then : other`."""

    test: Node
    then: Node
    other: Node


class Items(Node, frozen=True, eq=False):
    """A list as it is written."""

    items: tuple[Node, ...]


class Pairs(Node, frozen=True, eq=False):
    """A map as it is written."""

    pairs: tuple[tuple[Node, Node], ...]


class Call(Node, frozen=True, eq=False):
    """`function(arguments)`, or `target.function(arguments)`. `at` is where the name stands."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]
    at: int


class Macro(Node, frozen=True, eq=False):
    """`over.name(variable, body)`; `map` may have a test before its body."""

    name: str
    over: Node
    variable: Local
    test: Node | None
    body: Node


RELATIONS = frozenset(("==", "!=", "<", "<=", ">", ">="))


def below(node: Node) -> tuple[Node, ...]:
    """The parts that a node is made of, in the order of the text."""
    match node:
        case Select() | Has() | Unary():
            return (node.operand,)
        case Index():
            return node.operand, node.index
        case Binary():
            return node.left, node.right
        case Logic():
            return node.terms
        case Choice():
            return node.test, node.then, node.other
        case Items():
            return node.items
        case Pairs():
            return tuple(part for pair in node.pairs for part in pair)
        case Call():
            return (*(() if node.target is None else (node.target,)), *node.arguments)
        case Macro():
            return node.over, *(() if node.test is None else (node.test,)), node.body
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it, in the order of the text."""
    todo = [node]
    while todo:
        each = todo.pop()
        yield each
        todo.extend(reversed(below(each)))


def depth(node: Node) -> int:
    """How many nodes stand above one another, without a call for each."""
    deepest, todo = 0, [(node, 1)]
    while todo:
        each, level = todo.pop()
        deepest = max(deepest, level)
        todo.extend((part, level + 1) for part in below(each))
    return deepest


def path(node: Node) -> FieldPath | None:
    """The static path that a node reads, None where it is something else than a path."""
    steps: list[str] = []
    while True:
        match node:
            case Name():
                return (node.name, *reversed(steps))
            case Select():
                steps.append(node.field)
                node = node.operand
            case Index(index=Literal(value=str(key))):
                steps.append(key)
                node = node.operand
            case _:
                return None


def reads(root: Node) -> frozenset[FieldPath]:
    """Every path that a condition may read, each as long as it is static."""
    found: set[FieldPath] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        steps = path(node)
        if steps is not None:
            found.add(steps)
            continue
        if isinstance(node, Has) and (steps := path(node.operand)) is not None:
            found.add((*steps, node.field))
            continue
        todo.extend(below(node))
    return frozenset(found)


def leaves(root: Node) -> Iterator[Node]:
    """The atomic clauses: what stands below every `&&`, `||`, `!` and `?:` at the top."""
    todo = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, (Logic, Choice)) or (isinstance(node, Unary) and node.operator == "!"):
            todo.extend(reversed(below(node)))
        else:
            yield node

"""Types found and checked: every name, field, function and operator, before anything runs."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from saferun.policy.expression import function
from saferun.policy.expression.error import ExpressionError
from saferun.policy.expression.tree import (
    RELATIONS,
    Binary,
    Call,
    Choice,
    Has,
    Index,
    Items,
    Literal,
    Local,
    Logic,
    Macro,
    Name,
    Node,
    Pairs,
    Select,
    Unary,
)
from saferun.policy.expression.types import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    NULL,
    NUMBERS,
    STRING,
    ListOf,
    MapOf,
    ObjectOf,
    Type,
    comparable,
    fits,
    held,
    is_object,
    joined,
    united,
    worded,
)
from saferun.policy.expression.value import ARITHMETIC, kind, ordered
from saferun.policy.schema import meant
from saferun.policy.wording import listed, named

Types: TypeAlias = Mapping[Node, Type]
"""The type of every part of a condition."""

_SAID = {
    "len": "size(x)",
    "length": "size(x)",
    "count": "size(x)",
    "str": "string(x)",
    "float": "double(x)",
    "number": "double(x)",
    "uint": "int(x)",
    "boolean": "bool(x)",
    "any": "list.exists(x, ...)",
    "some": "list.exists(x, ...)",
    "every": "list.all(x, ...)",
    "includes": "contains",
    "has_key": "key in object",
    "regex": "matches",
    "match": "matches",
    "search": "matches",
    "test": "matches",
    "now": "now",
    "date": 'timestamp("2026-01-31T00:00:00Z")',
    "not": "!x",
    "None": "null",
    "nil": "null",
    "undefined": "null",
    "True": "true",
    "TRUE": "true",
    "False": "false",
    "FALSE": "false",
}
"""Names of other languages, and what says the same in this one."""

_ABSENT = {
    **dict.fromkeys(
        ("lower", "upper", "lowerAscii", "upperAscii", "toLowerCase", "toUpperCase"),
        "conditions compare letters as they are; `matches` with `(?i)` ignores their case",
    ),
    **dict.fromkeys(
        ("trim", "strip", "split", "replace", "join", "substring", "format", "reverse"),
        "conditions do not take strings apart; look into one with `matches`",
    ),
    "type": "conditions have no values that are types; say the type where a name is declared",
    "bytes": "bytes are not available in conditions",
    "matchesAll": "use `matches` with `^` and `$`",
}
"""What CEL or other languages have and conditions do not, with the reason."""


def check(root: Node, names: Mapping[str, Type]) -> Types:
    """The type of every part of a condition.

    Raises ExpressionError at the first that does not fit.
    """
    checker = _Checker(names)
    whole = checker.of(root)
    if whole not in (BOOL, DYN):
        raise ExpressionError(
            f"a condition is true or false, and this is {worded(whole)}; compare it with something",
            root.start,
        )
    return checker.types


def check_number(root: Node, names: Mapping[str, Type]) -> Types:
    """The type of every part of an expression that comes to a number.

    Raises ExpressionError at the first that does not fit.
    """
    checker = _Checker(names)
    whole = checker.of(root)
    if whole not in (*NUMBERS, DYN):
        raise ExpressionError(f"a number is wanted here, and this is {worded(whole)}", root.start)
    return checker.types


class _Checker:
    def __init__(self, names: Mapping[str, Type]) -> None:
        self.types: dict[Node, Type] = {}
        self._names = names
        self._slots: list[Type] = []

    def of(self, node: Node) -> Type:
        found = self._of(node)
        self.types[node] = found
        return found

    def _of(self, node: Node) -> Type:
        match node:
            case Literal():
                return kind(node.value)
            case Name():
                return self._name(node)
            case Local():
                return self._slots[node.slot]
            case Select() | Has():
                found = self._field(node.operand, self.of(node.operand), node.field, node.at)
                return BOOL if isinstance(node, Has) else found
            case Index():
                return self._index(node)
            case Unary():
                return self._unary(node)
            case Logic():
                for term in node.terms:
                    self._truth(term, f"`{node.operator}`")
                return BOOL
            case Choice():
                return self._choice(node)
            case Items():
                return ListOf(united(map(self.of, node.items)))
            case Pairs():
                return self._pairs(node)
            case Binary(operator="in"):
                return self._inclusion(node)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)
            case Macro():
                return self._macro(node)
        raise AssertionError(node)

    def _name(self, node: Name) -> Type:
        if node.name in self._names:
            return self._names[node.name]
        if node.name in _SAID:
            raise ExpressionError(
                f"{named(node.name)} means nothing here; write `{_SAID[node.name]}`", node.start
            )
        if node.name in function.NAMES:
            raise ExpressionError(
                f"`{node.name}` is a function; give it something to work on in `(...)`", node.start
            )
        known = listed(sorted(self._names)) or "nothing"
        what = f"{named(node.name)} is not declared; a condition here may speak of {known}"
        raise ExpressionError(what + meant(node.name, self._names), node.start)

    def _field(self, operand: Node, over: Type, field: str, at: int) -> Type:
        if over == DYN:
            return DYN
        if isinstance(over, MapOf):
            return over.value
        if not isinstance(over, ObjectOf):
            advice = "; write `size(x)`" if field in ("length", "len", "count", "size") else ""
            raise ExpressionError(f"{worded(over)} has no fields{advice}", at)
        if field in over.fields:
            return over.fields[field]
        if over.open:
            return DYN
        owner = f"`{operand.name}`" if isinstance(operand, Name) else "this"
        known = listed(over.fields) or "none"
        what = f"{named(field)} is not a field of {owner}; its fields are {known}"
        raise ExpressionError(what + meant(field, over.fields), at)

    def _index(self, node: Index) -> Type:
        over = self.of(node.operand)
        index = self.of(node.index)
        if isinstance(over, ListOf):
            if index not in (INT, DYN):
                what = f"a list is asked for an item by a whole number, and not by {worded(index)}"
                raise ExpressionError(what, node.index.start)
            return over.item
        if is_object(over):
            if isinstance(node.index, Literal) and isinstance(node.index.value, str):
                return self._field(node.operand, over, node.index.value, node.index.start)
            if index not in (STRING, DYN):
                what = f"an object is asked for a value by a string, and not by {worded(index)}"
                raise ExpressionError(what, node.index.start)
            return held(over)
        if over != DYN:
            raise ExpressionError(f"{worded(over)} has no items", node.operand.start)
        if index not in (INT, STRING, DYN):
            what = f"an item is asked for by a whole number or a string, and not by {worded(index)}"
            raise ExpressionError(what, node.index.start)
        return DYN

    def _truth(self, node: Node, where: str) -> None:
        found = self.of(node)
        if found not in (BOOL, DYN):
            what = f"{where} wants true or false, and this is {worded(found)}"
            raise ExpressionError(f"{what}; compare it with something", node.start)

    def _unary(self, node: Unary) -> Type:
        if node.operator == "!":
            self._truth(node.operand, "`!`")
            return BOOL
        found = self.of(node.operand)
        if found not in (INT, DOUBLE, DYN):
            raise ExpressionError(f"`-` does not work on {worded(found)}", node.start)
        return found

    def _choice(self, node: Choice) -> Type:
        self._truth(node.test, "what stands before `?`")
        then, other = self.of(node.then), self.of(node.other)
        if not fits(then, other):
            raise ExpressionError(
                f"both sides of `:` have one type, and these are {worded(then)} and "
                f"{worded(other)}",
                node.other.start,
            )
        return joined(then, other)

    def _pairs(self, node: Pairs) -> Type:
        keys = set[str]()
        for key, _ in node.pairs:
            found = self.of(key)
            if found not in (STRING, DYN):
                raise ExpressionError(
                    f"the keys of a map are strings, and this is {worded(found)}", key.start
                )
            if isinstance(key, Literal):
                if key.value in keys:
                    raise ExpressionError("this key stands in the map a second time", key.start)
                keys.add(key.value)
        return MapOf(united([self.of(value) for _, value in node.pairs]))

    def _inclusion(self, node: Binary) -> Type:
        item, over = self.of(node.left), self.of(node.right)
        if over == STRING:
            raise ExpressionError(
                "`in` looks into lists and objects; write `text.contains(part)` for a string",
                node.at,
            )
        if is_object(over) and item not in (STRING, DYN):
            raise ExpressionError(
                f"the keys of an object are strings, and this is {worded(item)}", node.left.start
            )
        if isinstance(over, ListOf) and not comparable(item, over.item):
            raise ExpressionError(
                f"{worded(item)} is never in a list of which each item is {worded(over.item)}",
                node.at,
            )
        if over != DYN and not isinstance(over, ListOf) and not is_object(over):
            raise ExpressionError(
                f"`in` looks into lists and objects, and not into {worded(over)}", node.at
            )
        return BOOL

    def _binary(self, node: Binary) -> Type:
        left, right = self.of(node.left), self.of(node.right)
        if node.operator in RELATIONS:
            self._relation(node, left, right)
            return BOOL
        results = {
            gives
            for (operator, one, other), (gives, _) in ARITHMETIC.items()
            if operator == node.operator
            and function.accepts(one, left)
            and function.accepts(other, right)
            and fits(left if one == other else DYN, right if one == other else DYN)
        }
        if not results:
            raise ExpressionError(
                f"`{node.operator}` does not work on {worded(left)} and {worded(right)}"
                + _convert(left, right),
                node.at,
            )
        if isinstance(left, ListOf) and isinstance(right, ListOf):
            return joined(left, right)
        return results.pop() if len(results) == 1 else DYN

    def _relation(self, node: Binary, left: Type, right: Type) -> None:
        operator = node.operator
        if operator in ("==", "!="):
            if comparable(left, right):
                return
            what = f"{worded(left)} never equals {worded(right)}"
            if NULL in (left, right):
                what += "; write `has(...)` to ask whether a field is there"
            raise ExpressionError(what + _convert(left, right), node.at)
        for one in (left, right):
            if one != DYN and not ordered(one, one):
                raise ExpressionError(f"`{operator}` does not work on {worded(one)}", node.at)
        if DYN not in (left, right) and not ordered(left, right):
            chained = isinstance(node.left, Binary) and node.left.operator in RELATIONS
            hint = "; write `a < b && b < c` for a chain" if chained else _convert(left, right)
            raise ExpressionError(
                f"`{operator}` does not compare {worded(left)} with {worded(right)}{hint}", node.at
            )

    def _call(self, node: Call) -> Type:
        parts = (*(() if node.target is None else (node.target,)), *node.arguments)
        name, method = node.function, node.target is not None
        known = name in function.NAMES and any(
            each.name == name and each.method == method for each in function.FUNCTIONS
        )
        if not known:
            raise ExpressionError(self._unknown(node), node.at)
        given = tuple(map(self.of, parts))
        functions = function.found(name, method, given)
        if not functions:
            raise ExpressionError(_misused(node, given), node.at)
        last = node.arguments[-1] if node.arguments else node
        if functions[0].prepare and not (isinstance(last, Literal) and isinstance(last.value, str)):
            what = "pattern" if name == "matches" else "time zone"
            raise ExpressionError(
                f"the {what} of `{name}` is written out as a string, so that it is checked "
                "before any call",
                last.start,
            )
        return united(each.gives for each in functions)

    def _unknown(self, node: Call) -> str:
        name, method = node.function, node.target is not None
        if name in function.NAMES:
            usage = f"{name}(x)" if method else f"x.{name}(...)"
            return f"`{name}` is not called in this way; write `{usage}`"
        if name in _ABSENT:
            return f"there is no function {named(name)}; {_ABSENT[name]}"
        if not method and name in ("all", "exists", "exists_one", "map", "filter"):
            return f"`{name}` is called on a list; write `list.{name}(x, ...)`"
        if not method and name in self._names:
            return f"{named(name)} is a value and not a function; leave the `()` out"
        if name in _SAID:
            return f"there is no function {named(name)}; write `{_SAID[name]}`"
        return f"there is no function {named(name)}" + (
            meant(name, (*function.NAMES, "all", "exists", "exists_one", "map", "filter", "has"))
            or f"; there are {listed(sorted(function.NAMES))}"
        )

    def _macro(self, node: Macro) -> Type:
        over = self.of(node.over)
        if isinstance(over, ListOf):
            item = over.item
        elif is_object(over):
            item = STRING
        elif over == DYN:
            item = DYN
        else:
            raise ExpressionError(
                f"`{node.name}` goes through the items of a list or the keys of an object, "
                f"and not through {worded(over)}",
                node.over.start,
            )
        self._slots.append(item)
        if node.test is not None:
            self._truth(node.test, f"the test of `{node.name}`")
        if node.name == "map":
            body = self.of(node.body)
        else:
            self._truth(node.body, f"`{node.name}`")
        self._slots.pop()
        match node.name:
            case "map":
                return ListOf(body)
            case "filter":
                return ListOf(item)
            case _:
                return BOOL


def _convert(left: Type, right: Type) -> str:
    """What to write where two types that do not go together are one conversion apart."""
    if left in NUMBERS and right in NUMBERS and left != right:
        return "; write `double(...)` around the whole number"
    if STRING in (left, right) and (left in (INT, DOUBLE, BOOL) or right in (INT, DOUBLE, BOOL)):
        return "; write `string(...)` around the one that is no string"
    return ""


def _misused(node: Call, given: Sequence[Type]) -> str:
    arity = {
        len(each.takes)
        for each in function.FUNCTIONS
        if each.name == node.function and each.method == (node.target is not None)
    }
    if len(given) not in arity:
        counts = sorted(count - (node.target is not None) for count in arity)
        wanted = " or ".join("none" if count == 0 else str(count) for count in counts)
        return f"`{node.function}` takes {wanted} in its `()`, and here are {len(node.arguments)}"
    return f"`{node.function}` does not work on {' and '.join(map(worded, given))}"

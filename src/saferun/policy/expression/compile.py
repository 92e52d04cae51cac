"""A checked tree made into Python closures, each as narrow as the types allow.

What is known while compiling is not asked again: a constant is taken into the closure, a
comparison of two whole numbers is Python's own, and a value is looked at once, where it is
read. Only macros and comparisons of whole lists need a frame of their own with steps to
spend; everything else costs as much as its text is long.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from saferun.policy.expression import function
from saferun.policy.expression.check import Types
from saferun.policy.expression.error import EvaluationError, ExhaustedError, ExpressionError
from saferun.policy.expression.function import Function
from saferun.policy.expression.token import MAX_INT, MIN_INT
from saferun.policy.expression.tree import (
    RELATIONS,
    Binary,
    Call,
    Choice,
    FieldPath,
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
    below,
    path,
    walk,
)
from saferun.policy.expression.types import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    STRING,
    ListOf,
    Type,
    is_object,
    worded,
)
from saferun.policy.expression.value import (
    ARITHMETIC,
    CHUNK,
    MAX_STEPS,
    STEPS,
    Frame,
    calculated,
    checked,
    contains,
    kind,
    negated,
    ordered,
    ranked,
    same,
    spend,
    whole,
)

Run: TypeAlias = Callable[[Frame], Any]
"""A part of a condition, ready to be evaluated. Raises EvaluationError."""

Truth: TypeAlias = Callable[[Frame], bool]
"""A part that is true or false, and has been checked to be."""

_ASKED: Mapping[str, tuple[Callable[[Run, Run], Run], Callable[[Run, Any], Run]]] = {
    "==": (lambda a, b: lambda v: a(v) == b(v), lambda a, c: lambda v: a(v) == c),
    "!=": (lambda a, b: lambda v: a(v) != b(v), lambda a, c: lambda v: a(v) != c),
    "<": (lambda a, b: lambda v: a(v) < b(v), lambda a, c: lambda v: a(v) < c),
    "<=": (lambda a, b: lambda v: a(v) <= b(v), lambda a, c: lambda v: a(v) <= c),
    ">": (lambda a, b: lambda v: a(v) > b(v), lambda a, c: lambda v: a(v) > c),
    ">=": (lambda a, b: lambda v: a(v) >= b(v), lambda a, c: lambda v: a(v) >= c),
}
"""Each relation between two parts, and between a part and a constant."""

_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_SCALARS = (str, int, float, bool, type(None))


class Compiler:
    """Compiles the parts of one condition, each of them once.

    `values` has the parts that are constant. `framed` says whether anything compiled so far
    needs a frame of its own (see `frame`).
    """

    def __init__(self, text: str, types: Types) -> None:
        self.values: dict[Node, Any] = {}
        self.framed = False
        self._text = text
        self._types = types
        self._runs: dict[Node, Run] = {}
        self._macros = 0

    def of(self, node: Node) -> Run:
        """The closure of a part. Raises ExpressionError for a constant that can mean nothing."""
        if node not in self._runs:
            run = self._of(node)
            self._runs[node] = self._folded(node, run)
        return self._runs[node]

    def truth(self, node: Node) -> Truth:
        """The closure of a part that is true or false."""
        run = self.of(node)
        if self._types[node] == BOOL:
            return run
        wrong = f"`{self._said(node)}` is not true or false"

        def truth(v: Frame) -> bool:
            found = run(v)
            if found is True or found is False:
                return bool(found)
            raise EvaluationError(wrong)

        return truth

    def _said(self, node: Node) -> str:
        said = self._text[node.start : node.end]
        return said if len(said) <= 60 else f"{said[:60]}…"

    def _folded(self, node: Node, run: Run) -> Run:
        """Work out a part that is made of constants alone.

        One that fails does so when it runs, since `&&` or `||` around it may never care.
        """
        if isinstance(node, Literal):
            self.values[node] = node.value
            return run
        if isinstance(node, (Name, Local, Macro)) or not all(
            part in self.values for part in below(node)
        ):
            return run
        try:
            value = run(frame({}))
        except EvaluationError as error:
            if isinstance(node, Call) and node.function in function.CONSTANT:
                raise ExpressionError(str(error), node.arguments[0].start) from None
            return run
        self.values[node] = value
        return lambda _: value

    def _of(self, node: Node) -> Run:
        match node:
            case Literal(value=value):
                return lambda _: value
            case Local(slot=slot):
                check = checked(self._types[node], node.name)
                return lambda v: check(v[slot])
            case Name() | Select() | Index() if (steps := path(node)) is not None:
                return self._read(node, steps)
            case Select():
                return self._select(node)
            case Index():
                return self._index(node)
            case Has():
                return self._has(node)
            case Unary(operator="!"):
                truth = self.truth(node.operand)
                return lambda v: not truth(v)
            case Unary():
                return self._negative(node)
            case Logic():
                terms = tuple(map(self.truth, node.terms))
                return _decided(terms, decisive=node.operator == "||")
            case Choice():
                test, then, other = self.truth(node.test), self.of(node.then), self.of(node.other)
                return lambda v: then(v) if test(v) else other(v)
            case Items():
                items = tuple(map(self.of, node.items))
                return lambda v: [item(v) for item in items]
            case Pairs():
                return self._pairs(node)
            case Binary(operator="in"):
                return self._inclusion(node)
            case Binary() if node.operator in RELATIONS:
                return self._relation(node)
            case Binary():
                return self._arithmetic(node)
            case Call():
                return self._call(node)
            case Macro():
                return self._macro(node)
        raise AssertionError(node)

    def _read(self, node: Node, steps: FieldPath) -> Run:
        expected = self._types[node]
        exact = int if expected == INT else str if expected == STRING else None
        return _fetch(steps, checked(expected, ".".join(steps)), exact)

    def _select(self, node: Select) -> Run:
        operand, field = self.of(node.operand), node.field
        check = checked(self._types[node], self._said(node))
        missing = f"`{self._said(node)}` is missing"
        wrong = f"`{self._said(node.operand)}` is not an object"

        def select(v: Frame) -> Any:
            holder = operand(v)
            if type(holder) is not dict:
                raise EvaluationError(wrong)
            if field not in holder:
                raise EvaluationError(missing)
            return check(holder[field])

        return select

    def _has(self, node: Has) -> Run:
        operand, field = self.of(node.operand), node.field
        wrong = f"`{self._said(node.operand)}` is not an object"

        def has(v: Frame) -> bool:
            holder = operand(v)
            if type(holder) is dict:
                return field in holder
            raise EvaluationError(wrong)

        return has

    def _index(self, node: Index) -> Run:
        operand, index = self.of(node.operand), self.of(node.index)
        check = checked(self._types[node], self._said(node))
        missing = f"`{self._said(node)}` is missing"
        wrong = f"`{self._said(node.operand)}` has no item of such a kind"

        def item(v: Frame) -> Any:
            holder, at = operand(v), index(v)
            if type(holder) is dict and type(at) is str:
                if at in holder:
                    return check(holder[at])
                raise EvaluationError(missing)
            if type(at) is float and at.is_integer():
                at = int(at)
            if type(holder) is list and type(at) is int:
                if 0 <= at < len(holder):
                    return check(holder[at])
                raise EvaluationError(missing)
            raise EvaluationError(wrong)

        return item

    def _negative(self, node: Unary) -> Run:
        operand = self.of(node.operand)
        if self._types[node] == INT:
            return lambda v: whole(-operand(v))
        if self._types[node] == DOUBLE:
            return lambda v: -operand(v)
        return lambda v: negated(operand(v))

    def _pairs(self, node: Pairs) -> Run:
        pairs = tuple((self.of(key), self.of(value)) for key, value in node.pairs)

        def mapping(v: Frame) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for key, value in pairs:
                name = key(v)
                if type(name) is not str:
                    raise EvaluationError("a key of a map is not a string")
                if name in made:
                    raise EvaluationError("a key of a map stands in it a second time")
                made[name] = value(v)
            return made

        return mapping

    def _relation(self, node: Binary) -> Run:
        asked, left, right = node.operator, node.left, node.right
        one, other = self.of(left), self.of(right)
        known = ordered(self._types[left], self._types[right])
        if asked in _ORDER and not known:
            return self._order(asked, one, other)
        if left in self.values:
            asked, one, other, right = _MIRRORED[asked], other, one, left
        if known and right in self.values:
            return _ASKED[asked][1](one, self.values[right])
        if known and not self._macros:
            return _ASKED[asked][0](one, other)
        if asked in _ORDER:
            return self._order(asked, one, other)
        equal = self._equal(one, other, right)
        return equal if asked == "==" else lambda v: not equal(v)

    def _equal(self, one: Run, other: Run, right: Node) -> Run:
        if right in self.values and type(self.values[right]) in _SCALARS:
            return _equals(one, self.values[right])
        self.framed = True
        return lambda v: same(one(v), other(v), v)

    def _order(self, asked: str, one: Run, other: Run) -> Run:
        compare = _ORDER[asked]
        charged = self._macros > 0

        def order(v: Frame) -> bool:
            left, right = one(v), other(v)
            ranked(left, right, asked)
            if charged and type(left) is str:
                spend(v, min(len(left), len(right)) // CHUNK)
            return bool(compare(left, right))

        return order

    def _inclusion(self, node: Binary) -> Run:
        item, holder = self.of(node.left), self.of(node.right)
        kinds = self._types[node.left], self._types[node.right]
        if node.right in self.values and (found := _among(item, self.values[node.right])):
            return found
        # Strings equal nothing but strings, so Python's own search is CEL's.
        if kinds[0] == STRING and (isinstance(kinds[1], ListOf) or is_object(kinds[1])):
            if not self._macros:
                return lambda v: item(v) in holder(v)

            def searched(v: Frame) -> bool:
                within = holder(v)
                spend(v, len(within) if type(within) is list else 1)
                return item(v) in within

            return searched
        self.framed = True
        return lambda v: contains(item(v), holder(v), v)

    def _arithmetic(self, node: Binary) -> Run:
        runs = self.of(node.left), self.of(node.right)
        left, right = (_general(self._types[side]) for side in (node.left, node.right))
        if DYN in (left, right):
            return self._applied(partial(calculated, node.operator), runs)
        return self._applied(ARITHMETIC[node.operator, left, right][1], runs)

    def _call(self, node: Call) -> Run:
        parts = (*(() if node.target is None else (node.target,)), *node.arguments)
        kinds = tuple(self._types[part] for part in parts)
        runs = tuple(map(self.of, parts))
        known = function.found(node.function, node.target is not None, kinds)
        prepare = known[0].prepare
        if prepare is not None:
            try:
                prepared = prepare(self.values[node.arguments[-1]])
            except EvaluationError as error:
                raise ExpressionError(str(error), node.arguments[-1].start) from None
            runs = (*runs[:-1], lambda _: prepared)
        [first, *others] = known
        if others or any(map(_open, first.takes, kinds)):
            return self._applied(_dispatched(node.function, known), runs)
        return self._applied(first.run, runs)

    def _applied(self, work: Callable[..., Any], runs: tuple[Run, ...]) -> Run:
        """A function applied to what its arguments come to.

        In a macro, work that grows with the values is paid for with steps.
        """
        if self._macros:

            def paid(v: Frame) -> Any:
                values = [run(v) for run in runs]
                spend(v, sum(map(_weight, values)))
                result = work(*values)
                spend(v, _weight(result))
                return result

            return paid
        match runs:
            case (only,):
                return lambda v: work(only(v))
            case (one, other):
                return lambda v: work(one(v), other(v))
        return lambda v: work(*[run(v) for run in runs])

    def _macro(self, node: Macro) -> Run:
        self.framed = True
        over = self.of(node.over)
        self._macros += 1
        test = None if node.test is None else self.truth(node.test)
        body = self.of(node.body) if node.name == "map" else self.truth(node.body)
        self._macros -= 1
        # The parts of the body, so that a step is about one part evaluated.
        cost = sum(1 for part in (node.test, node.body) if part for _ in walk(part))
        each = _each(node, over, cost)
        match node.name:
            case "all":
                return _quantified(each, body, decisive=False)
            case "exists":
                return _quantified(each, body, decisive=True)
            case "exists_one":
                return lambda v: sum(1 for _ in each(v) if body(v)) == 1
            case "filter":
                return lambda v: [item for item in each(v) if body(v)]
        if test is None:
            return lambda v: [body(v) for _ in each(v)]
        return lambda v: [body(v) for _ in each(v) if test(v)]


def frame(values: Mapping[str, Any]) -> dict[Any, Any]:
    """The values with room for macros' variables, and with steps to spend."""
    made: dict[Any, Any] = dict(values)
    made[STEPS] = MAX_STEPS
    return made


def _fetch(steps: FieldPath, check: Callable[[Any], Any], exact: type | None) -> Run:
    """What is found under a path, checked.

    A step that is missing, or that leads into what is no object, is an error. Nearly every
    condition reads whole numbers and strings in paths of two steps, so these (`exact`) are
    looked at without a call.
    """
    match steps:
        case (a, b):

            def fetch(v: Frame) -> Any:
                try:
                    found = v[a][b]
                except (KeyError, TypeError):
                    raise _absent(v, steps) from None
                python = type(found)
                if python is exact and (python is str or MIN_INT <= found <= MAX_INT):
                    return found
                return check(found)

        case _:

            def fetch(v: Frame) -> Any:
                found: Any = v
                try:
                    for step in steps:
                        found = found[step]
                except (KeyError, TypeError):
                    raise _absent(v, steps) from None
                return check(found)

    return fetch


def _absent(v: Frame, steps: FieldPath) -> EvaluationError:
    found: Any = v
    for at, step in enumerate(steps):
        if at and type(found) is not dict:
            return EvaluationError(f"`{'.'.join(steps[:at])}` is not an object")
        if step not in found:
            return EvaluationError(f"`{'.'.join(steps[: at + 1])}` is missing")
        found = found[step]
    raise AssertionError(steps)


def _decided(terms: tuple[Truth, ...], *, decisive: bool) -> Truth:
    """`&&` and `||`: one term that decides is enough, whatever fails beside it."""
    if len(terms) == 1:
        return terms[0]
    # In halves, so that a row of hundreds is a few calls deep.
    half = len(terms) // 2
    first = _decided(terms[:half], decisive=decisive)
    rest = _decided(terms[half:], decisive=decisive)

    def decided(v: Frame) -> bool:
        try:
            if first(v) is decisive:
                return decisive
        except ExhaustedError:
            raise
        except EvaluationError:
            if _settles(rest, v, decisive=decisive):
                return decisive
            raise
        return rest(v)

    return decided


def _settles(term: Truth, v: Frame, *, decisive: bool) -> bool:
    try:
        return term(v) is decisive
    except ExhaustedError:
        raise
    except EvaluationError:
        return False


def _each(node: Macro, over: Run, cost: int) -> Callable[[Frame], Iterable[Any]]:
    """Goes through the items of a list or the keys of an object, each put into its slot."""
    slot = node.variable.slot

    def each(v: Frame) -> Iterable[Any]:
        items = over(v)
        if type(items) is not list and type(items) is not dict:
            raise EvaluationError(f"`{node.name}` goes through no {worded(kind(items))[2:]}")
        for item in items:
            spend(v, cost + 1)
            v[slot] = item  # type: ignore[index]  # a frame with steps in it is a dict
            yield item

    return each


def _quantified(each: Callable[[Frame], Iterable[Any]], body: Truth, *, decisive: bool) -> Truth:
    """`all` and `exists` are long rows of `&&` and `||`, and absorb errors as these do."""

    def quantified(v: Frame) -> bool:
        failure: EvaluationError | None = None
        for _ in each(v):
            try:
                if body(v) is decisive:
                    return decisive
            except ExhaustedError:
                raise
            except EvaluationError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return not decisive

    return quantified


def _equals(run: Run, constant: Any) -> Run:
    """A value of a type that is not known against a constant: a bool is no number."""
    if type(constant) is str:

        def equals(v: Frame) -> bool:
            found = run(v)
            return type(found) is str and bool(found == constant)

    elif type(constant) in (int, float):

        def equals(v: Frame) -> bool:
            found = run(v)
            return type(found) in (int, float) and bool(found == constant)

    else:

        def equals(v: Frame) -> bool:
            return run(v) is constant

    return equals


def _among(item: Run, options: Any) -> Run | None:
    """`in` for a list of constants of one kind, in constant time; None for any other."""
    if type(options) is not list:
        return None
    kinds = {type(option) for option in options}
    if not kinds or not (kinds <= {str} or kinds <= {int, float}):
        return None
    alike = (str,) if kinds == {str} else (int, float)
    known = frozenset(options)

    def among(v: Frame) -> bool:
        found = item(v)
        return type(found) in alike and found in known

    return among


def _dispatched(name: str, known: tuple[Function, ...]) -> Callable[..., Any]:
    """The one function that takes the values as they turn out to be."""

    def dispatched(*values: Any) -> Any:
        for each in known:
            # What was prepared is no value any more; it stands last.
            takes = each.takes[:-1] if each.prepare else each.takes
            if all(map(function.accepts, takes, map(kind, values))):
                return each.run(*values)
        raise EvaluationError(f"`{name}` does not work on {worded(kind(values[0]))}")

    return dispatched


def _general(one: Type) -> Type:
    return ListOf(DYN) if isinstance(one, ListOf) else one


def _open(takes: Type, given: Type) -> bool:
    return given == DYN and takes != DYN


def _weight(value: Any) -> int:
    """The steps that reading or making a value stands for."""
    if type(value) is str:
        return len(value) // CHUNK
    return len(value) if type(value) is list else 0

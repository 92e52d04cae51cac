"""A condition or a quantity, compiled: asked what it comes to, why, and what it depends on."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from saferun.call import Clause
from saferun.policy.expression.check import check, check_number
from saferun.policy.expression.compile import Compiler, Run, Truth, frame
from saferun.policy.expression.error import EvaluationError, ExpressionError
from saferun.policy.expression.explain import Leaf, explained
from saferun.policy.expression.parse import parse
from saferun.policy.expression.threshold import thresholds
from saferun.policy.expression.tree import FieldPath, Node, reads
from saferun.policy.expression.types import Type
from saferun.policy.expression.variant import variants


class Expression(msgspec.Struct, frozen=True, eq=False):
    """One condition. Immutable, and safe to share between threads."""

    text: str
    reads: frozenset[FieldPath]
    """The paths that it may read, each as long as it is static: `("args", "amount")`."""

    _names: Mapping[str, Type]
    _root: Node
    _run: Truth
    _framed: bool
    _leaves: tuple[Leaf, ...]
    _constants: tuple[tuple[FieldPath, Any], ...]

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition is true for these values, given by name.

        Raises EvaluationError where it has no answer: a field is missing, a value is of
        another type than was declared, a number does not fit, or the cost is too high.
        """
        if self._framed:
            return self._run(frame(values))
        return self._run(values)

    def clauses(self, values: Mapping[str, Any]) -> tuple[Clause, ...]:
        """Each atomic clause with the value it saw. Never raises: one that errs saw nothing.

        The value is that of the side that is no constant; where several are none, a list.
        Every clause is told, also one that the others had made unimportant. A macro is
        one clause, and the value is what it went through.
        """
        return tuple(leaf.told(frame(values)) for leaf in self._leaves)

    def constants(self) -> tuple[tuple[FieldPath, Any], ...]:
        """The constants that it compares paths with: `(("args", "amount"), 20000)`."""
        return self._constants

    def variants(self) -> Iterator[tuple[str, str]]:
        """The condition with one thing changed at a time: what was changed, and the new text.

        Each compiles under the same names.
        """
        for what, text in variants(self.text, self._root):
            try:
                compile_expression(text, self._names)
            except ExpressionError:
                continue
            yield what, text


def compile_expression(text: str, names: Mapping[str, Type]) -> Expression:
    """Read, check and compile a condition over some names.

    Raises ExpressionError with the place in the text, and with what to write instead where
    that can be guessed.
    """
    root = parse(text)
    compiler = Compiler(text, check(root, names))
    run = compiler.truth(root)
    return Expression(
        text=text,
        reads=reads(root),
        _names=dict(names),
        _root=root,
        _run=run,
        _framed=compiler.framed,
        _leaves=explained(text, root, compiler),
        _constants=tuple(thresholds(root, compiler)),
    )


class Quantity(msgspec.Struct, frozen=True, eq=False):
    """An expression that comes to a number. Immutable, and safe to share between threads."""

    text: str
    reads: frozenset[FieldPath]
    """The paths that it may read, each as long as it is static: `("args", "pages")`."""

    _run: Run
    _framed: bool

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"

    def of(self, values: Mapping[str, Any]) -> int | float:
        """What it comes to for these values, given by name. The number is finite.

        Raises EvaluationError as `Expression.holds` does, and where it comes to no number.
        """
        number = self._run(frame(values) if self._framed else values)
        if type(number) is int or type(number) is float:
            return number
        raise EvaluationError("the expression comes to what is no number")


def compile_quantity(text: str, names: Mapping[str, Type]) -> Quantity:
    """Read, check and compile an expression whose value is a number.

    Raises ExpressionError as `compile_expression` does.
    """
    root = parse(text)
    compiler = Compiler(text, check_number(root, names))
    run = compiler.of(root)
    return Quantity(text=text, reads=reads(root), _run=run, _framed=compiler.framed)

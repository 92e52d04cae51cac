"""A condition told clause by clause: what it says, the value it saw, whether it held."""

from typing import Any

import msgspec

from saferun.call import Clause
from saferun.policy.expression.compile import Compiler, Run, Truth
from saferun.policy.expression.error import EvaluationError
from saferun.policy.expression.moment import Duration, Timestamp
from saferun.policy.expression.tree import Binary, Call, Has, Macro, Node, leaves
from saferun.policy.expression.value import Frame


class Leaf(msgspec.Struct, frozen=True, eq=False):
    """One atomic clause, ready to be told."""

    text: str
    run: Truth
    sees: tuple[Run, ...]
    """What a reader would ask for: the operands that are no constants."""

    optional: bool
    """Whether what it sees may be missing without being an error: so it is under `has`."""

    def told(self, frame: Frame) -> Clause:
        """Never raises: a clause that errs saw nothing and does not hold."""
        try:
            holds = self.run(frame)
            return Clause(text=self.text, value=self._value(frame, holds), holds=holds)
        except EvaluationError:
            return Clause(text=self.text, value=None, holds=False)

    def _value(self, frame: Frame, holds: bool) -> Any:
        if self.optional and not holds:
            return None
        seen = [_plain(run(frame)) for run in self.sees]
        if not seen:
            return holds
        return seen[0] if len(seen) == 1 else seen


def explained(text: str, root: Node, compiler: Compiler) -> tuple[Leaf, ...]:
    """The clauses of a condition, in the order of its text."""
    return tuple(
        Leaf(
            text=text[node.start : node.end],
            run=compiler.truth(node),
            sees=tuple(
                compiler.of(part) for part in _operands(node) if part not in compiler.values
            ),
            optional=isinstance(node, Has),
        )
        for node in leaves(root)
    )


def _operands(node: Node) -> tuple[Node, ...]:
    match node:
        case Binary():
            return node.left, node.right
        case Call(target=None):
            return node.arguments
        case Call(target=Node() as target):
            return target, *node.arguments
        case Macro():
            return (node.over,)
        case Has():
            return ()
        case _:
            return (node,)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (Timestamp, Duration)) else value

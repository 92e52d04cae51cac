"""The constants that a condition compares paths with: where its answer changes."""

from collections.abc import Iterator
from typing import Any

from saferun.policy.expression.compile import Compiler
from saferun.policy.expression.moment import Duration, Timestamp
from saferun.policy.expression.tree import RELATIONS, Binary, FieldPath, Node, path, walk


def thresholds(root: Node, compiler: Compiler) -> Iterator[tuple[FieldPath, Any]]:
    """Each path with a constant that it is compared with or sought among.

    A timestamp comes as values hand it in, in microseconds; a duration never stands for a
    value that a call could have.
    """
    for node in walk(root):
        if not isinstance(node, Binary) or node.operator not in {*RELATIONS, "in"}:
            continue
        for side, other in ((node.left, node.right), (node.right, node.left)):
            steps = path(side)
            if steps is None or other not in compiler.values:
                continue
            value = compiler.values[other]
            sought = node.operator == "in" and type(value) in (list, dict)
            for each in value if sought else (value,):
                if isinstance(each, Timestamp):
                    yield steps, each.nanos // 1_000
                elif not isinstance(each, Duration):
                    yield steps, each

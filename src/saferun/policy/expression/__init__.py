"""`when:` and `cost:`: a strict, typed subset of CEL, compiled once to Python closures.

A condition is cut into tokens, read into a tree, checked against the types of the names that
it may speak of, and compiled. Each step refuses what the next one could not bear, so that a
typo, a wrong type or a pattern that backtracks fails where a policy is loaded and never while
a call waits. Meaning and grammar are those of the Common Expression Language
(https://github.com/google/cel-spec); where conditions are stricter, docs/reference/conditions.md
says so and why.
"""

from saferun.policy.expression.error import EvaluationError, ExpressionError
from saferun.policy.expression.expression import (
    Expression,
    Quantity,
    compile_expression,
    compile_quantity,
)
from saferun.policy.expression.types import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    ListOf,
    MapOf,
    ObjectOf,
    Type,
    from_schema,
)

__all__ = [
    "BOOL",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "ListOf",
    "MapOf",
    "ObjectOf",
    "Quantity",
    "Type",
    "compile_expression",
    "compile_quantity",
    "from_schema",
]

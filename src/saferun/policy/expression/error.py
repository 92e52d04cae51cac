"""The two ways in which a condition fails: while it is read, and while it is evaluated."""


class ExpressionError(ValueError):
    """A condition that cannot be used: what was found and what to write instead.

    `offset` is the character of the text, counted from 0, where the fault stands.
    """

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message, offset)

    def __str__(self) -> str:
        return self.message


class EvaluationError(Exception):
    """A condition that has no answer for these values.

    The message is built from the condition's own text and the names of types, so it is
    safe to show: no value is ever quoted in it. Whoever decides by a condition denies.
    """


class ExhaustedError(EvaluationError):
    """The evaluation cost more than a condition may.

    Unlike other errors it is not absorbed by `&&` and `||`: what has run long enough ends.
    """

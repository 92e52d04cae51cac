"""Amounts as whole numbers: what is summed up is kept in millionths, exactly.

Floats lose money: a budget of $25 has been refused at 25.000000000000004 with nothing spent.
A number is taken at what it says in decimals, and rounded up, since a millionth too much errs
towards no.
"""

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_CEILING, Context, Decimal
from typing import Any

MICRO = 1_000_000
"""Millionths of a whole: micro-dollars of a dollar."""

MAX = 1 << 62
"""The largest amount that is counted, so that a sum of two still fits 64 bits."""

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


def micro(value: Any) -> int:
    """A number in millionths. Raises ValueError for what cannot be added up towards a limit.

    That is whatever is no number, is negative, is not finite, or is beyond all measure.
    """
    kind = type(value)
    if kind is int:
        amount: int = value * MICRO
    elif kind is float or kind is Decimal:
        # In a context of its own: what the application sets for its decimals counts for nothing
        # here, and no digit is rounded off before the last step.
        exact: Decimal = Decimal(repr(value)) if kind is float else value
        if not exact.is_finite() or exact.adjusted() > 20:
            raise ValueError("a number without end cannot be added up")
        if exact < 0:
            raise ValueError("what is negative cannot be added up")
        amount = int(exact.scaleb(6, _EXACT).to_integral_value(ROUND_CEILING, _EXACT))
    else:
        raise ValueError("what is no number cannot be added up")
    if not 0 <= amount <= MAX:
        raise ValueError("an amount is from 0 to what 62 bits hold")
    return amount


def said(amount: int) -> str:
    """Millionths as people read them: `2,000` and `0.05`."""
    whole, rest = divmod(abs(amount), MICRO)
    text = f"{whole:,}" + (f".{rest:06d}".rstrip("0") if rest else "")
    return f"-{text}" if amount < 0 else text


def dollars(amount: int) -> str:
    """Micro-dollars as people read them: `$2.00`, `$0.0041`."""
    whole, rest = divmod(abs(amount), MICRO)
    cents = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}${whole:,}.{cents}"

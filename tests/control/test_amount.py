"""Amounts: millionths, exactly, and rounded up where they must be rounded."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from saferun.control.amount import MAX, MICRO, micro, said

amounts = st.one_of(
    st.integers(0, MAX // MICRO),
    st.floats(0, 4e12),
    st.decimals(0, 4_000_000_000_000, allow_nan=False),
)


@given(amounts)
@example(Decimal("1." + "0" * 40 + "1"))
@example(Decimal("1e-5000"))
@example(5e-324)
@example(0.1 + 0.2)
def test_an_amount_is_what_its_decimals_say_rounded_up_to_a_millionth(value) -> None:
    assert micro(value) == ceil(Fraction(str(value)) * MICRO)


@given(st.lists(st.integers(0, 10**9), max_size=50))
def test_cents_written_as_floats_add_up_without_a_millionth_lost(cents) -> None:
    assert sum(micro(each / 100) for each in cents) == sum(cents) * (MICRO // 100)


@given(amounts)
def test_what_the_application_sets_for_its_decimals_changes_no_amount(value) -> None:
    alone = micro(value)
    with localcontext() as context:
        context.prec = 3
        context.Emax = 5
        context.traps = dict.fromkeys(context.traps, True)
        assert micro(value) == alone


@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.01, -1e-9, Decimal("-1e-30")),
        *(float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("sNaN")),
        *(Decimal("Infinity"), 1e300, Decimal("1e999999999"), MAX, 5e12),
        *(True, False, None, "1", [1], {"a": 1}, 1j),
    ],
)
def test_what_cannot_be_added_up_is_refused(value) -> None:
    with pytest.raises(ValueError):
        micro(value)


def test_the_largest_amount_is_counted_and_the_next_is_not() -> None:
    assert micro(Decimal(MAX) / MICRO) <= MAX
    with pytest.raises(ValueError):
        micro(Decimal(MAX + 1).scaleb(-6))


@given(st.integers(-MAX, MAX))
def test_people_read_exactly_what_is_kept(amount) -> None:
    assert Decimal(said(amount).replace(",", "")).scaleb(6) == amount


def test_amounts_read_as_people_write_them() -> None:
    assert [said(each) for each in (2_000 * MICRO, 50_000, 1, 0, -1_500_000)] == [
        *("2,000", "0.05", "0.000001", "0", "-1.5")
    ]

"""Limits: what counts as one value, whose runs count together, and what is said."""

from hypothesis import given
from hypothesis import strategies as st

from saferun.call import Call, RunRef
from saferun.control import Limit, charges, exceeded

LIMIT = Limit(id="mails", max=2, per=("args.to",), tool="send_email")


def key(to: object, limit: Limit = LIMIT, root: str = "r-1", space: str = "p/enforce"):
    call = Call(tool="send_email", args={"to": to}, run=RunRef(run_id="r-1", root=root))
    (charge,) = charges([limit], call, space)
    return charge.key


def test_spellings_that_a_reader_takes_for_one_recipient_count_as_one() -> None:
    spellings = [
        "Lead@Acme.test",
        "lead@acme.test",
        "LEAD@ACME.TEST",
        " lead@acme.test ",
        "l\u200bead@acme.test",
        "\uff4cead@acme.test",
        "lead@acme\u00ad.test",
    ]
    assert len({key(spelling) for spelling in spellings}) == 1


def test_what_a_reader_tells_apart_counts_apart() -> None:
    values = ["jose@x.test", "josé@x.test", "a@x.test", ["a@x.test"], {"a": 1}, 5, "5", None, True]
    assert len({key(value) for value in values}) == len(values)


def test_equal_numbers_count_as_one_however_they_are_written() -> None:
    assert key(5) == key(5.0)
    assert key(5) != key(5.5)


@given(st.text())
def test_case_never_starts_a_count_of_its_own(text: str) -> None:
    assert key(text) == key(text.casefold())


def test_a_child_run_counts_where_its_root_does() -> None:
    child = Call(tool="send_email", args={"to": "a"}, run=RunRef(run_id="r-2", root="r-1"))
    (charge,) = charges([LIMIT], child, "p/enforce")
    assert charge.key == key("a")
    assert key("a", root="r-9") != key("a")


def test_limits_tools_and_shadow_policies_count_apart() -> None:
    others = [
        key("a", Limit(id="other", max=2, per=("args.to",), tool="send_email")),
        key("a", Limit(id="mails", max=2, per=("args.to",), tool="send_letter")),
        key("a", space="p/shadow"),
    ]
    assert len({key("a"), *others}) == 4


def test_a_call_outside_any_run_or_without_the_argument_cannot_be_counted() -> None:
    outside = Call(tool="send_email", args={"to": "a"})
    without = Call(tool="send_email", args={}, run=RunRef(run_id="r", root="r"))
    for call, missing in ((outside, "run"), (without, "args.to")):
        (charge,) = charges([LIMIT], call, "p")
        assert (charge.key, charge.missing) == (None, missing)
        assert exceeded([charge], {}) == (charge,)


@given(st.integers(1, 50), st.integers(0, 60))
def test_a_charge_fits_until_its_maximum_is_used(most: int, used: int) -> None:
    limit = Limit(id="cap", max=most, per=("run",))
    call = Call(tool="t", args={}, run=RunRef(run_id="r", root="r"))
    (charge,) = charges([limit], call, "p")
    assert bool(exceeded([charge], {charge.key: used})) == (used >= most)


def test_a_limit_says_what_it_allows_unless_it_may_not() -> None:
    assert LIMIT.sentence() == "at most 2 calls for each value of args.to in one run"
    assert Limit(id="c", max=1, per=("run",)).sentence() == "at most 1 call in one run"
    both = Limit(id="c", max=3, per=("run", "args.a", "args.b"))
    assert (
        both.sentence() == "at most 3 calls for each value of args.a and value of args.b in one run"
    )
    assert Limit(id="c", max=7, per=("run",), message="Enough.").sentence() == "Enough."
    assert "7" not in Limit(id="c", max=7, per=("run",), disclose=False).sentence()

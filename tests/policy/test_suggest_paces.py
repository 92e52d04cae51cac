"""Limits that are suggested: how many of a call's kind there were, and there usually are."""

from typing import Any

from saferun import policy
from saferun.policy.suggest import Calls, Pace, paces

HOUR = 3_600_000_000
SECOND = 1_000_000

POLICY = """
version: 1
name: shop
tools:
  pay:
    effect: write
    args: {to: {type: string}, note: {type: string, optional: true}, card: {type: string}}
    redact: [args.card]
"""


class Told:
    """Calls of one tool, told one by one."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def pay(
        self,
        at: float,
        run: str | None = "r",
        user: str | None = "u",
        *,
        ran: bool = True,
        fine: bool = True,
        timed: bool = True,
        **args: Any,
    ) -> None:
        given = {"to": f"t-{len(self.rows)}", "card": "1", **args}
        self.rows.append((int(at * SECOND), run, user, given, ran, fine and ran, timed))

    def paces(self, text: str = POLICY, **options: Any) -> dict[str, Pace]:
        calls = Calls(*(list(column) for column in zip(*self.rows, strict=True)))
        entry = policy.loads(text).tools["pay"][0].said
        found = paces(entry, "pay", calls, len(self.rows) - 1, **options)
        return {each.candidate.id: each for each in found}


def usual(told: Told, runs: int = 6, each: int = 2, **args: Any) -> None:
    for run in range(runs):
        for number in range(each):
            told.pay(run * 100_000 + number, f"r-{run}", f"u-{run}", **args)


def test_a_run_that_calls_more_than_any_other_gets_a_limit_of_what_is_usual():
    told = Told()
    usual(told)
    for number in range(7):
        told.pay(10**6 + number * 10**5, "bad", f"v-{number}")
    [found] = told.paces().values()
    assert found.candidate.rule(shadow=True) == {
        "id": "pay-per-run",
        "max": 2,
        "per": "run",
        "mode": "shadow",
    }
    assert (found.candidate.kind, found.candidate.part, found.candidate.before) == (
        "rate",
        "limits",
        2,
    )
    assert (found.passed, found.of) == (0, 12)


def test_the_stretch_of_time_is_that_in_which_the_call_stands_out_most():
    told = Told()
    for day in range(8):
        told.pay(day * 86_400, f"r-{day}", "u")
    for number in range(6):
        told.pay(10**6 + number * 300, f"b-{number}", "u", fine=False)
    [found] = told.paces().values()
    assert {**found.candidate.body} == {
        "id": "pay-per-user-1h",
        "max": 1,
        "per": "user",
        "window": "1h",
    }


def test_values_of_an_argument_are_counted_by_whatever_their_spelling():
    told = Told()
    usual(told)
    for number in range(4):
        told.pay(10**6 + number, f"b-{number}", f"v-{number}", to="Ann" if number % 2 else "ANN")
    [found] = told.paces().values()
    assert found.candidate.body["per"] == "args.to"
    assert found.candidate.body["window"] == "1min"
    assert found.among == [12, 13, 14, 15]


def test_what_its_own_run_did_before_says_nothing_of_what_is_usual():
    told = Told()
    usual(told, each=3)
    for number in range(50):
        told.pay(10**6 + number, "bad", None)
    assert told.paces()["pay-per-run"].candidate.body["max"] == 3


def test_where_others_do_as_much_the_bound_is_the_highest_that_stops_it():
    told = Told()
    usual(told, runs=40, each=2)
    for number in range(5):
        told.pay(10**7 + number, "much", "m")
    for number in range(4):
        told.pay(2 * 10**7 + number, "bad", "b")
    found = told.paces()["pay-per-run"]
    assert (found.candidate.body["max"], found.passed) == (3, 2)


def test_a_bound_that_many_fine_calls_pass_is_none():
    told = Told()
    usual(told, each=6)
    for number in range(4):
        told.pay(10**7 + number, "bad", "b")
    assert told.paces() == {}


def test_numbers_are_counted_by_where_they_say_which_one_it_is():
    text = POLICY.replace("to: {type: string}", "to: {}, order_id: {}, cents: {}")
    told = Told()
    for number in range(9):
        told.pay(number * 10**5, f"r-{number}", f"u-{number}", order_id=number, cents=number)
    for number in range(4):
        told.pay(10**7 + number, f"b-{number}", f"v-{number}", order_id=77, cents=77)
    assert list(told.paces(text=text)) == ["pay-per-order_id-1min"]


def test_nothing_is_counted_by_what_fine_calls_lack_or_the_policy_keeps_from_sight():
    told = Told()
    for number in range(5):
        told.pay(number * 10**6, None, None)
    for number in range(4):
        told.pay(10**7 + number, "bad", "v", note="same", card="same")
    # A run, a user and an optional argument are missing elsewhere; the card is redacted.
    assert told.paces() == {}
    told = Told()
    usual(told)
    for number in range(4):
        told.pay(10**7 + number, f"b-{number}", f"v-{number}", to="ann")
    assert told.paces(hidden=frozenset(("to",))) == {}
    assert list(told.paces(taken=frozenset(("pay-per-to-1min",)))) == ["pay-per-to-1min-2"]


def test_calls_that_did_not_run_count_for_nothing():
    told = Told()
    usual(told)
    for number in range(9):
        told.pay(10**7 + number, "bad", "v", ran=number > 7)
    assert told.paces() == {}


def test_what_was_brought_in_counts_in_its_run_and_at_no_time():
    told = Told()
    usual(told, timed=False)
    for number in range(6):
        told.pay(10**7 + number, "bad", "v", timed=False, to="ann")
    assert list(told.paces()) == ["pay-per-run"]


def test_a_narrower_limit_that_costs_no_less_is_left_out():
    told = Told()
    usual(told)
    for number in range(6):
        told.pay(10**7 + number, "bad", "v", to="ann")
    assert not any(each.startswith("pay-per-run-to") for each in told.paces())


def test_a_limit_that_only_the_older_half_leads_to_is_said_to_drift():
    told = Told()
    usual(told, runs=10, each=1)
    for run in range(10):
        for number in range(3):
            told.pay(10**7 + run * 10**5 + number, f"s-{run}", f"w-{run}")
    for number in range(8):
        told.pay(10**8 + number, "bad", "v")
    found = told.paces()["pay-per-run"]
    assert (found.candidate.body["max"], found.passed) == (3, 0)
    assert (found.drifted, found.newer) == (0, 20)

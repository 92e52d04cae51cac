"""Candidates: what sets one call apart from those that were fine, as rules."""

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from saferun import policy
from saferun.call import Call, Facts, Past, RunRef
from saferun.policy.amend import flow
from saferun.policy.suggest import Candidate, Seen, propose
from saferun.policy.suggest.words import rounded

ARGS = """
      to: {type: string}
      amount: {type: number}
      order: {type: string, optional: true}
      urgent: {type: boolean, optional: true}
      copies: {type: array, items: {type: string}, optional: true}
      meta: {type: object, optional: true, properties: {a: {type: string}}}
"""
POLICY = f"""
version: 1
name: shop
tools:
  pay:
    effect: write
    args: {ARGS}
    MORE
"""


def text(more: str = "", rules: tuple[Candidate, ...] = ()) -> str:
    said = "".join(f"      - {flow(each.rule(shadow=False))}\n" for each in rules)
    return POLICY.replace("MORE", f"{more}\n    rules:\n{said}" if said else more)


def proposed(incident: Seen, fine: list[Seen], more: str = "", **options) -> dict[str, Candidate]:
    loaded = policy.loads(text(more))
    found = propose(loaded.tools["pay"][0].said, "pay", incident, fine, **options)
    assert len({each.id for each in found}) == len(found)
    return {each.id: each for each in found}


def spoken(candidate: Candidate, seen: Seen, more: str = "") -> bool:
    """Whether a rule stops a call, by the policy that has it."""
    loaded = policy.loads(text(more, (candidate,)))
    run = RunRef(run_id="r", root="r", user={"id": seen.user} if seen.user else {})
    call = Call(tool="pay", args=dict(seen.args), run=run)
    past = Past(began=0, calls=seen.calls, tools=seen.tools, said=seen.said)
    ruling = loaded.decide(call, Facts(past=past))
    assert not any(each.failed for each in ruling.reasons)
    return candidate.id in [each.id for each in ruling.reasons]


def pay(to: str = "a@shop.example", amount: float = 10, **about) -> Seen:
    known = {key: about.pop(key) for key in ("user", "tools", "calls", "said") if key in about}
    return Seen(args={"to": to, "amount": amount, **about}, **known)


FINE = [pay(f"{name}@shop.example", 10 * number, user="u") for number, name in enumerate("abcd", 1)]


@pytest.mark.parametrize(
    ("incident", "own", "when"),
    [
        (pay(amount=950), "pay-amount-above", "args.amount > 40"),
        (pay(amount=0.01), "pay-amount-below", "args.amount < 10"),
        (pay("x@evil.example"), "pay-to-elsewhere", '!args.to.endsWith("@shop.example")'),
        (pay("x@shop.example"), "pay-to-new", None),
        (pay("zed@shop.example"), "pay-to-begins", 'args.to.startsWith("zed@")'),
        (pay("x@evil.example"), "pay-to-ends", None),
        (pay("x@evil.example"), "pay-to-not-ends", None),
        (pay("x"), "pay-to-is-that", 'args.to == "x"'),
        (pay(order="A-1"), "pay-order-given", "has(args.order)"),
        (pay(urgent=True), "pay-urgent-is-that", "has(args.urgent) && args.urgent == true"),
        (pay(tools=("read",), calls=1), "pay-after-read", '"read" in run.tools'),
        (pay(tools=("pay",), calls=1), "pay-again", '"pay" in run.tools'),
        (pay(calls=3), "pay-late", "run.calls > 0"),
        (pay(), "pay-all", None),
    ],
)
def test_each_way_in_which_a_call_differs_is_a_rule(incident, own, when) -> None:
    found = proposed(incident, FINE)
    assert own in found
    if when is not None:
        assert found[own].body["when"] == when
    assert spoken(found[own], incident)
    if found[own].kind not in ("exact", "every"):
        assert not any(spoken(found[own], each) for each in FINE)


def test_what_always_ran_before_and_did_not_this_time_is_a_rule() -> None:
    fine = [pay(tools=("check",), calls=1) for _ in range(3)]
    found = proposed(pay(), fine)
    assert found["pay-without-check"].body["when"] == '!("check" in run.tools)'
    assert spoken(found["pay-without-check"], pay())
    assert not spoken(found["pay-without-check"], fine[0])


def named(to: str, **about) -> Seen:
    return pay(to, said=("Do my chores.", f"Pay {to} what I owe."), **about)


def test_a_value_that_nobody_has_asked_for_where_others_were_is_a_rule() -> None:
    fine = [named(f"{each}@shop.example") for each in "abc"]
    incident = pay("x@evil.example", said=("Pay my bills.",))
    rule = proposed(incident, fine)["pay-to-not-said"]
    assert rule.kind == "origin"
    assert rule.body["when"] == "!run.said.contains(args.to)"
    assert spoken(rule, incident)
    assert not any(spoken(rule, each) for each in fine)


@pytest.mark.parametrize(
    ("incident", "fine"),
    [
        (pay("x@evil.example"), [named("a@shop.example")] * 3),
        (pay("x@evil.example", said=None), [named("a@shop.example")] * 3),
        (pay("x@evil.example", said=("Pay x@evil.example.",)), [named("a@shop.example")] * 3),
        (pay("x", said=("Pay.",)), [named("a@shop.example")] * 3),
        (pay("x@evil.example", said=("Pay.",)), [named("a@shop.example")] * 2),
        # Most of those who are fine would be denied by it.
        (
            pay("x@evil.example", said=("Pay.",)),
            [named("a@shop.example"), pay(), pay(said=None), pay(said=("Pay.",))],
        ),
    ],
    ids=["nothing", "unknown", "named", "short", "few", "mostly-not"],
)
def test_a_rule_by_origin_needs_that_it_is_known_and_sets_the_call_apart(incident, fine) -> None:
    assert "pay-to-not-said" not in proposed(incident, fine)


def test_an_optional_value_that_nobody_has_asked_for_is_guarded() -> None:
    fine = [pay(order="A-1000", said=("Refund A-1000.",)) for _ in range(3)]
    rule = proposed(pay(order="X-9999", said=("Refund A-1000.",)), fine)["pay-order-not-said"]
    assert rule.body["when"] == "has(args.order) && !run.said.contains(args.order)"
    assert not spoken(rule, pay(said=("Pay.",)))


def test_lists_are_looked_into() -> None:
    fine = [pay(copies=["a@shop.example", "b@shop.example"]) for _ in range(3)]
    incident = pay(copies=["a@shop.example", "x@evil.example", "c@shop.example"])
    found = proposed(incident, fine)
    for own in ("pay-copies-elsewhere", "pay-copies-new", "pay-copies-many"):
        assert spoken(found[own], incident)
        assert not spoken(found[own], fine[0])
        assert not spoken(found[own], pay())


def test_what_is_in_objects_is_looked_at_where_it_is_there() -> None:
    fine = [pay(meta={"a": "x", "note": "one"}) for _ in range(3)]
    incident = pay(meta={"a": "y"})
    found = proposed(incident, fine)
    assert spoken(found["pay-meta-a-new"], incident)
    assert not spoken(found["pay-meta-a-new"], pay())


def test_a_set_that_is_too_large_is_the_users_own() -> None:
    fine = [pay(f"m{number}", user="else") for number in range(30)]
    fine += [pay("home", user="maria") for _ in range(3)]
    found = proposed(pay("m3", user="maria"), fine)
    assert "pay-to-new" not in found
    rule = found["pay-to-new-to-user"]
    assert rule.body["for"] == {"user": "maria"}
    assert spoken(rule, pay("m3", user="maria"))
    assert not spoken(rule, pay("m3", user="else"))


@pytest.mark.parametrize("key", ["redact", "sensitive"])
def test_what_is_kept_from_sight_is_quoted_by_no_rule(key) -> None:
    more = f"{key}: [args.to]"
    assert not any("to" in own.split("-") for own in proposed(pay("x@evil.example"), FINE, more))
    hidden = proposed(pay("x@evil.example"), FINE, hidden=frozenset(("to",)))
    assert not any("to" in own.split("-") for own in hidden)


def test_a_policy_that_keeps_its_bounds_tells_no_model_of_them() -> None:
    found = proposed(pay(amount=950), FINE, "disclose: false")
    assert "40" not in found["pay-amount-above"].body["message"]
    assert "above 40" in proposed(pay(amount=950), FINE)["pay-amount-above"].body["message"]


def test_ids_that_the_policy_has_are_not_taken_again() -> None:
    taken = frozenset(("pay-amount-above",))
    assert "pay-amount-above-2" in proposed(pay(amount=950), FINE, taken=taken)


def test_few_calls_say_nothing_of_what_calls_are_like() -> None:
    found = proposed(pay("x@evil.example", 950), FINE[:2])
    assert {each.kind for each in found.values()} <= {"exact", "every", "domain"}


def test_rules_can_ask_and_not_deny() -> None:
    found = proposed(pay(amount=950), FINE, effect="ask")
    assert all(each.body["ask"] is True and "deny" not in each.body for each in found.values())


@pytest.mark.parametrize(
    ("bound", "beyond", "found"),
    [
        (4_730, 90_000, 4_800),
        (4_730, 4_731, 4_730),
        (40, 950, 40),
        (98.7, 1_000.0, 99.0),
        (0.012, 5.0, 0.012),
        (0, 5, 0),
        (10, 0.01, 10),
        (123, 1, 120),
        (-123, 5, -120),
        (10**30, 10**31, 10**30),
    ],
)
def test_bounds_are_numbers_that_people_write(bound, beyond, found) -> None:
    assert rounded(bound, beyond) == found


BARE = policy.loads(text())

odd = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    ("a@b.example", "x@evil.example", "https://a.example/x", "/etc/passwd", '"', "\\", "\n", "`")
)
numbers = st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9)


@st.composite
def calls(draw) -> Seen:
    args = {"to": draw(odd), "amount": draw(numbers)}
    if draw(st.booleans()):
        args["order"] = draw(odd)
    if draw(st.booleans()):
        args["copies"] = draw(st.lists(odd, max_size=3))
    if draw(st.booleans()):
        args["meta"] = draw(st.dictionaries(odd, odd, max_size=2))
    tools = draw(st.lists(st.sampled_from(("read", "pay", 'we"ird')), unique=True))
    return Seen(args=args, user=draw(st.sampled_from((None, "u"))), tools=tuple(tools), calls=2)


@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(calls(), st.lists(calls(), max_size=6))
def test_every_rule_loads_and_speaks_of_its_call(incident, fine) -> None:
    found = propose(BARE.tools["pay"][0].said, "pay", incident, fine)
    value = msgspec.json.decode(BARE.canonical)
    value["tools"]["pay"]["rules"] = [each.rule(shadow=False) for each in found]
    loaded = policy.restore(value)
    run = RunRef(run_id="r", root="r", user={"id": incident.user} if incident.user else {})
    call = Call(tool="pay", args=dict(incident.args), run=run)
    facts = Facts(past=Past(began=0, calls=incident.calls, tools=incident.tools))
    reasons = loaded.decide(call, facts).reasons
    if any(each.source == "args" for each in reasons):
        return
    assert not any(each.failed for each in reasons)
    missing = {each.id for each in found} - {each.id for each in reasons}
    # A list may be stopped by what an e-mail address is, which a text need not be.
    assert not missing - {each.id for each in found if each.kind == "domain"}

"""Counting through the gate: limits are all checked, then all moved, or none is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import saferun
from guarding import Asked, enforcing, entries, verdicts
from saferun import Call, Denied, Gate, LimitExceeded, guard
from saferun.approval import Question, Vote
from saferun.call import RunRef
from saferun.control import Limit, charges
from saferun.policy import loads

POLICY = """
version: 1
name: counted
limits: [{id: all-calls, max: 5, per: run}]
tools:
  mail:
    effect: write
    args: {to: {type: string}, text: {type: string, maxLength: 5}}
    limits:
      - {id: a-lead, max: 2, per: args.to}
      - {id: hidden, max: 4, per: run, disclose: false}
    rules: [{id: asked, ask: true, args: {text: {const: ask}}, message: It asks.}]
"""


def mail(gate: Gate) -> list[str]:
    """A guarded tool that gives back the ids of the limits that stopped it."""

    def send(to: str, text: str = "") -> str:
        return "sent"

    return guard(send, name="mail", gate=gate)


def reasons(call, *args) -> list[str]:
    with pytest.raises(Denied) as raised:
        call(*args)
    return [reason.id for reason in raised.value.decision.reasons]


def test_a_limit_stops_the_call_past_it_and_names_itself():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run():
        send("a@x.test")
        send("a@x.test")
        with pytest.raises(LimitExceeded) as raised:
            send("a@x.test")
    assert raised.value.for_model == (
        "mail was not run: at most 2 calls for each value of args.to in one run (rule a-lead)."
    )


def test_a_denial_by_one_limit_moves_none_of_the_others():
    send = mail(enforcing(POLICY))
    with saferun.run():
        send("a@x.test")
        send("a@x.test")
        for _ in range(10):
            assert reasons(send, "a@x.test") == ["a-lead"]
        # Two of four are used, and not twelve.
        send("b@x.test")
        send("c@x.test")
        assert reasons(send, "d@x.test") == ["hidden"]


def test_a_denial_by_the_policy_moves_no_limit():
    send = mail(enforcing(POLICY))
    with saferun.run():
        for _ in range(10):
            assert reasons(send, "a@x.test", "too long") == ["mail.args"]
        assert [send(f"{at}@x.test") for at in range(4)] == ["sent"] * 4


@pytest.mark.parametrize(
    ("answer", "sent"),
    [(None, 0), (lambda _: None, 0), (lambda _: Vote(approved=False, by="d"), 0)],
    ids=["nobody", "no answer", "no"],
)
def test_a_question_without_a_yes_moves_no_limit(answer, sent):
    gate = Gate(policy=loads(POLICY), approvals=None if answer is None else Asked(answer))
    send = mail(gate)
    with saferun.run():
        for _ in range(5):
            with pytest.raises(Denied):
                send("a@x.test", "ask")
        assert [send(f"{at}@x.test") for at in range(4)] == ["sent"] * 4


def test_a_call_that_a_limit_stops_anyway_asks_nobody():
    asked: list[Question] = []

    def answer(question: Question) -> Vote:
        asked.append(question)
        return Vote(approved=True, by="dana")

    send = mail(enforcing(POLICY, answer))
    with saferun.run():
        assert [send("a@x.test", "ask") for _ in range(2)] == ["sent"] * 2
        assert "a-lead" in reasons(send, "a@x.test", "ask")
    assert len(asked) == 2


def test_outside_a_run_a_limit_cannot_count_and_denies():
    send = mail(enforcing(POLICY))
    with pytest.raises(LimitExceeded, match=r"saferun\.run"):
        send("a@x.test")


def test_a_child_counts_against_its_root_and_another_run_does_not():
    send = mail(enforcing(POLICY))
    with saferun.run():
        send("a@x.test")
        with saferun.run():
            send("a@x.test")
            with saferun.run():
                assert "a-lead" in reasons(send, "A@X.test")
    with saferun.run():
        assert send("a@x.test") == "sent"


def test_a_hidden_threshold_is_told_to_nobody():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run():
        for at in range(4):
            send(f"{at}@x.test")
        with pytest.raises(LimitExceeded) as raised:
            send("new@x.test")
    assert not set("0123456789") & set(raised.value.for_model)


def test_every_decision_is_on_record_with_its_limits():
    gate = enforcing(POLICY)
    send = mail(gate)
    with saferun.run():
        send("a@x.test")
        send("a@x.test")
        reasons(send, "a@x.test")
    assert verdicts(gate) == ["allow", "allow", "deny"]
    assert entries(gate, "decision")[-1]["reasons"][0]["error"] == "LimitExceeded"


# One spelling for what a reader takes for one value.

LIMIT = Limit(id="l", max=1, per=("args.to",), tool="t")
WORDS = st.text("abcxyzABCXYZ019.@-_ äöüßéñ", min_size=1, max_size=20)
INVISIBLE = st.sampled_from(["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e"])


def key(value: object) -> bytes | None:
    call = Call(tool="t", args={"to": value}, run=RunRef(run_id="r", root="r"))
    return charges([LIMIT], call, "s")[0].key


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


@given(WORDS)
def test_capital_and_full_width_letters_start_no_count_of_their_own(text):
    assert key(text) == key(text.upper()) == key(text.lower()) == key(wide(text))


@given(WORDS, INVISIBLE, st.integers(0, 20))
def test_a_character_that_nobody_sees_starts_no_count_of_its_own(text, unseen, at):
    assert key(text) == key(text[:at] + unseen + text[at:])


@given(WORDS, st.sampled_from([" ", "\n", "\t", "\u00a0", "\u3000"]))
def test_space_around_or_twice_between_starts_no_count_of_its_own(text, space):
    assert key(text) == key(space + text + space) == key(text.replace(" ", f" {space}"))


@given(WORDS)
def test_spellings_count_as_one_inside_lists_and_objects_too(text):
    assert key([text]) == key([wide(text)])
    assert key({"a": text}) == key({"a": text.upper()})
    assert key([text]) != key(text)

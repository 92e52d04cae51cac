"""Suggestions: rules for one recorded call, and what each would have done to all others."""

import random

import pytest

from recording import Script, indexed, tamper, write
from saferun import policy
from saferun.call import Measure, Reason
from saferun.ledger import ApprovalEntry, CallEntry, LabelEntry, RecoveryEntry, UserEntry, read
from saferun.replay import Backtest, Playback
from saferun.replay.suggest import (
    CannotSuggestError,
    File,
    Suggestions,
    history,
    reviews,
    suggestions,
)

POLICY = """\
version: 1
name: shop
tools:
  refund: {effect: write, args: any}
  read: {effect: read, args: any}
"""


def suggested(file, seq: int, text: str = POLICY, **options) -> Suggestions:
    with indexed(file) as index:
        known = history(index, "refund")
        incident = known.at(seq)
        assert incident is not None
        return suggestions(File(text.encode(), None), known, incident, **options)


def usual(run: Script, amounts=(10, 20, 30, 40)) -> list[int]:
    return [run.call(args={"amount": each, "to": "a@shop.example"}) for each in amounts]


def test_the_best_rule_stops_the_call_and_touches_no_other(file, run) -> None:
    usual(run)
    seq = run.call(args={"amount": 950, "to": "x@evil.example"})
    found = suggested(file, seq)
    assert found.found[0].effect.touched == 0
    assert {"refund-to-new", "refund-amount-above"} <= {each.candidate.id for each in found.found}
    for each in found.found:
        assert each.effect.newly_denied >= 1


@pytest.mark.parametrize("seed", range(6))
def test_each_rule_denies_in_a_backtest_what_it_is_said_to_deny(file, store, seed) -> None:
    draw = random.Random(seed)
    for number in range(8):
        run = Script(store, f"r-{number}", user=f"u-{number % 3}")
        for _ in range(draw.randrange(1, 5)):
            if draw.random() < 0.3:
                run.call("read", args={"q": "x"})
            to = f"{draw.choice('abcdef')}@{draw.choice(['shop', 'bank'])}.example"
            run.call(args={"amount": draw.randrange(100), "to": to})
    run = Script(store, "bad")
    run.call("read", args={"q": "x"})
    seq = run.call(args={"amount": draw.choice((5, 500)), "to": "x@evil.example"})
    found = suggested(file, seq)
    assert found.place is not None
    for each in found.found:
        if "run." in each.candidate.body.get("when", ""):
            # What ran before is another thing once calls are stopped.
            continue
        enforced = found.place.holding([each.candidate], shadow=False)
        with indexed(file) as index:
            entries = (read(body) for _, body, _ in index.reader.rows())
            told = [
                again
                for again in Backtest(enforced).history(entries, index.reader.blob)
                if each.candidate.id in again.rules
            ]
        assert len(told) == each.effect.hits == each.effect.newly_denied
        assert ("bad", seq) in {(again.run_id, seq) for again in told}


@pytest.mark.parametrize("seed", range(4))
def test_each_limit_denies_in_a_backtest_what_it_is_said_to_deny(file, store, seed) -> None:
    draw = random.Random(seed)
    # What it denied, it denies still; so neither there nor here does that count.
    rule = "args: any, rules: [{id: no, deny: true, when: args.to == 't'}]}\n  read"
    text = POLICY.replace("args: any}\n  read", rule)
    for number in range(30):
        run = Script(store, f"r-{number}", user=f"u-{number}")
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            run.call(args={"amount": 10, "to": f"t-{draw.randrange(40)}"})
            run.denied(args={"amount": 10, "to": "t"})
    run = Script(store, "bad", user="u-bad")
    for _ in range(draw.randrange(4, 8)):
        seq = run.call(args={"amount": 10, "to": draw.choice(("T-1", "t-1"))})
    found = suggested(file, seq, text, most=40)
    assert found.place is not None
    limits = [each for each in found.found if each.candidate.part == "limits"]
    assert limits
    for each in limits:
        enforced = found.place.holding([each.candidate], shadow=False)
        with indexed(file) as index:
            entries = (read(body) for _, body, _ in index.reader.rows())
            told = [
                again
                for again in Backtest(enforced).history(entries, index.reader.blob)
                if each.candidate.id in again.rules
            ]
        assert len(told) == each.effect.newly_denied > 0
        assert "bad" in {again.run_id for again in told}


def test_a_limit_is_ranked_with_the_rules_and_stands_in_its_own_list(file, store) -> None:
    for number in range(12):
        run = Script(store, f"r-{number}", user=f"u-{number}")
        for _ in range(1 + number % 2):
            run.call(args={"amount": 10, "to": "a"})
    run = Script(store, "bad", user="v")
    for _ in range(9):
        seq = run.call(args={"amount": 10, "to": "a"})
    found = suggested(file, seq)
    best = found.named("refund-per-run")
    assert best is not None
    assert found.found.index(best) < found.found.index(found.named("refund-all"))
    assert best.text == "- id: refund-per-run\n  max: 2\n  per: run\n  mode: shadow\n"
    effect = best.effect
    assert (effect.newly_denied, effect.touched, effect.fine) == (7, 0, 18)
    assert found.place is not None
    [limit] = (
        policy.loads(found.place.amended(best.candidate, shadow=True)).tools["refund"][0].limits
    )
    assert (limit.id, limit.max, limit.shadow) == ("refund-per-run", 2, True)


def test_what_its_own_run_did_before_is_labelled_like_any_other(file, store) -> None:
    for number in range(12):
        Script(store, f"r-{number}", user=f"u-{number}").call(args={"amount": 10, "to": "a"})
    run = Script(store, "bad", user="v")
    seqs = [run.call(args={"amount": 10, "to": "a"}) for _ in range(4)]
    write(store, LabelEntry(run="bad", of=seqs[-2], mark="right", by="dana"))
    limits = [each for each in suggested(file, seqs[-1]).found if each.candidate.part == "limits"]
    assert limits
    assert all((each.effect.right, each.effect.precision) == (1, 1.0) for each in limits)


def test_where_people_are_to_be_asked_there_is_no_limit(file, store) -> None:
    for number in range(12):
        Script(store, f"r-{number}", user=f"u-{number}").call(args={"amount": 10, "to": "a"})
    run = Script(store, "bad", user="v")
    seqs = [run.call(args={"amount": 10, "to": "a"}) for _ in range(4)]
    found = suggested(file, seqs[-1], effect="ask", ask=("finance",), most=40)
    assert {each.candidate.part for each in found.found} == {"rules"}


def test_precision_is_told_of_labelled_hits_alone(file, store, run) -> None:
    first, *_ = usual(run)
    bad = [run.call(args={"amount": 900 + each, "to": "x@evil.example"}) for each in range(3)]
    found = suggested(file, bad[0])
    assert all(each.effect.precision is None for each in found.found)
    for of, mark in ((bad[0], "right"), (bad[1], "right"), (first, "false")):
        write(store, LabelEntry(run="r-1", of=of, mark=mark, by="dana"))
    found = suggested(file, bad[0], most=40)
    best = found.named("refund-to-elsewhere")
    assert best is None or best.effect.precision == 1.0
    whole = found.named("refund-all")
    assert whole is not None
    assert (whole.effect.right, whole.effect.false, whole.effect.labelled) == (2, 1, 3)
    assert whole.effect.precision == pytest.approx(2 / 3)
    exact = found.named("refund-amount-is-that")
    assert exact is not None
    assert (exact.effect.known_bad, exact.effect.missed) == (2, 1)
    assert [each.seq for each in exact.effect.missed_examples] == [bad[1]]


def test_what_is_known_to_be_bad_is_no_example(file, store, run) -> None:
    usual(run)
    before = run.call(args={"amount": 990, "to": "x@evil.example"})
    write(store, LabelEntry(run="r-1", of=before, mark="right", by="dana"))
    seq = run.call(args={"amount": 950, "to": "y@evil.example"})
    rule = suggested(file, seq).named("refund-amount-above")
    assert rule is not None
    assert rule.candidate.body["when"].endswith("args.amount > 40")
    assert (rule.effect.right, rule.effect.touched) == (1, 0)


def test_the_same_call_made_again_is_no_example_and_is_counted(file, store, run) -> None:
    usual(run)
    again = Script(store, "again").call(args={"amount": 950, "to": "x@evil.example"})
    seq = Script(store, "late").call(args={"amount": 950, "to": "x@evil.example"})
    rule = suggested(file, seq).named("refund-to-elsewhere")
    assert rule is not None
    assert [each.seq for each in rule.effect.touched_examples] == [again]


def test_a_tool_without_arguments_is_told_apart_by_what_ran_before(file, store) -> None:
    for number in range(4):
        Script(store, f"r-{number}").call(args={})
    run = Script(store, "bad")
    run.call("read", args={})
    best = suggested(file, run.call(args={})).found[0]
    assert (best.candidate.id, best.effect.touched) == ("refund-after-read", 0)


def test_a_rule_that_knows_history_by_heart_is_found_out(file, store) -> None:
    for number in range(12):
        Script(store, f"r-{number}").call(args={"amount": 10, "to": f"c{number}"})
    seq = Script(store, "bad").call(args={"amount": 950, "to": "x"})
    found = suggested(file, seq, most=40)
    heart, bound = found.named("refund-to-new"), found.named("refund-amount-above")
    assert heart is not None
    assert bound is not None
    assert (heart.effect.touched, bound.effect.touched) == (0, 0)
    assert heart.drift == (6, 6)
    assert found.found.index(bound) < found.found.index(heart)


def test_near_misses_that_it_would_have_stopped_are_named(file, run) -> None:
    usual(run)
    near = run.decided(
        args={"amount": 700, "to": "y@evil.example"},
        shadow=(Reason(id="tried", effect="deny", source="rule", message="m"),),
    )
    seq = run.call(args={"amount": 950, "to": "x@evil.example"})
    rule = suggested(file, seq).named("refund-to-elsewhere")
    assert rule is not None
    assert (rule.effect.near, [each.seq for each in rule.effect.near_examples]) == (1, [near])


def test_calls_whose_arguments_are_not_kept_cannot_be_decided(file, run) -> None:
    usual(run)
    run.call(args={"amount": 15, "to": "[redacted: card number]"})
    run.call(args={"$omitted": {"bytes": 9}})
    seq = run.call(args={"amount": 950, "to": "x@evil.example"})
    assert suggested(file, seq).found[0].effect.undecided == 2


def test_a_rule_that_makes_nothing_of_other_calls_denies_them_and_says_so(file, run) -> None:
    usual(run, range(10, 18))
    for words in ("all", "half", "the rest"):
        run.call(args={"amount": words, "to": "a@shop.example"})
    seq = run.call(args={"amount": 950, "to": "x@evil.example"})
    found = suggested(file, seq, most=40)
    above, elsewhere = found.named("refund-amount-above"), found.named("refund-to-elsewhere")
    assert above is not None
    assert elsewhere is not None
    assert (above.effect.newly_denied, above.effect.touched, above.effect.undecided) == (4, 3, 0)
    assert found.found.index(elsewhere) < found.found.index(above)
    assert found.place is not None
    enforced = found.place.holding([above.candidate], shadow=False)
    with indexed(file) as index:
        entries = (read(body) for _, body, _ in index.reader.rows())
        told = list(Backtest(enforced).history(entries, index.reader.blob))
    assert sum(above.candidate.id in each.rules for each in told) == 4


def test_what_nobody_knows_of_a_run_cannot_be_decided(file, store) -> None:
    for number in range(8):
        run = Script(store, f"r-{number}")
        write(store, UserEntry(run=run.run, text="for order-17"))
        run.call(args={"to": "order-17", "amount": 1})
    silent = Script(store, "silent")
    silent.call(args={"to": "order-17", "amount": 1})
    run = Script(store, "bad")
    write(store, UserEntry(run=run.run, text="for order-17"))
    seq = run.call(args={"to": "order-99", "amount": 1})
    rule = suggested(file, seq, most=40).named("refund-to-not-said")
    assert rule is not None
    assert (rule.effect.newly_denied, rule.effect.undecided) == (1, 1)


def test_a_call_whose_own_arguments_are_not_kept_gets_no_rule(file, run) -> None:
    usual(run)
    seq = run.call(args={"amount": 15, "to": "[redacted: card number]"})
    with pytest.raises(CannotSuggestError, match="not kept"):
        suggested(file, seq)


def test_what_the_policy_denies_as_it_is_gets_no_rule(file, run) -> None:
    usual(run)
    seq = run.call(args={"amount": 950, "to": "x"})
    rule = "{id: big, deny: true, when: args.amount > 500}"
    text = POLICY.replace("args: any}\n  read", f"args: any, rules: [{rule}]}}\n  read")
    found = suggested(file, seq, text)
    assert (found.found, found.stopped) == ([], ("big",))


def test_a_tool_that_is_not_listed_and_allowed_is_listed_then(file, run) -> None:
    usual(run)
    seq = run.call(args={"amount": 950, "to": "x"})
    text = "version: 1\nname: open\ndefault: allow # for now\n"
    found = suggested(file, seq, text)
    assert found.place is not None
    after = found.place.amended(found.found[0].candidate, shadow=True)
    assert after.startswith(text.encode())
    assert policy.loads(after).tools["refund"][0].rules[0].said.shadow
    with pytest.raises(CannotSuggestError, match="list the tool first"):
        suggested(file, seq, "version: 1\nname: closed\ntools: {}\ndefault: ask\n")


def test_calls_that_were_brought_in_count_as_any_other(file, store, run) -> None:
    for number in range(4):
        args = {"amount": 10 + number, "to": "a"}
        write(store, CallEntry(run="r-1", tool="refund", args=args, status="ok"))
    seq = write(store, CallEntry(run="r-1", tool="refund", args={"amount": 950}, status="ok"))
    best = suggested(file, seq).found[0]
    assert (best.candidate.id, best.effect.touched) == ("refund-amount-above", 0)


def test_an_entry_that_was_changed_is_left_out_and_counted(file, run) -> None:
    first, *_ = usual(run)
    seq = run.call(args={"amount": 950, "to": "x"})
    with indexed(file) as index:
        assert history(index, "refund").unread == 0
    tamper(file, first, b'"amount":10', b'"amount":99')
    with indexed(file) as index:
        known = history(index, "refund")
    assert (known.unread, known.at(first), known.at(seq) is None) == (1, None, False)


def test_what_was_asked_about_is_one_call_and_its_answer_counts(file, run) -> None:
    usual(run)
    seq = run.approved(args={"amount": 35, "to": "a"})
    with indexed(file) as index:
        known = history(index, "refund")
    assert len(known.calls) == 5
    asked = known.at(seq)
    assert asked is not None
    assert (asked.verdict, asked.ran, "approved" in asked.near) == ("ask", True, True)


def test_the_past_of_a_call_is_what_really_ran_before_it(file, store, run) -> None:
    run.call("read", args={})
    run.denied("drop")
    Script(store, "child", root="r-1", parent="r-1").call("look", args={})
    seq = run.call()
    with indexed(file) as index:
        known = history(index, "refund").at(seq)
    assert known is not None
    assert known.seen is not None
    assert (known.seen.tools, known.seen.calls) == (("look", "read"), 2)


def test_rules_in_shadow_are_reviewed_by_what_was_recorded(file, store, run) -> None:
    rule = "{id: tried, deny: true, when: args.amount > 500, mode: shadow}"
    text = POLICY.replace("args: any}\n  read", f"args: any, rules: [{rule}]}}\n  read")
    hit = Reason(id="tried", effect="deny", source="rule", message="m")
    some = [run.decided(shadow=(hit,), args={"amount": 900 + each}) for each in range(3)]
    other = Script(store, "r-2")
    other.decided(shadow=(hit,), verdict="ask", approval="a-1")
    other.decided(shadow=(hit,), approval="a-1")
    other.decided(
        shadow=(Reason(id="tried", effect="deny", source="rule", message="m", failed=True),)
    )
    run.call()
    write(store, LabelEntry(run="r-1", of=some[0], mark="right", by="dana"))
    write(store, LabelEntry(run="r-1", of=some[1], mark="false", by="dana"))
    with indexed(file) as index:
        [found] = reviews(index, policy.loads(text))
    assert (found.hits, found.runs, found.failed) == (4, 2, 1)
    assert (found.right, found.false, found.unlabelled, found.precision) == (1, 1, 2, 0.5)


@pytest.mark.parametrize("seed", range(8))
def test_near_misses_are_those_that_the_replay_shows(file, store, seed) -> None:
    draw = random.Random(seed)
    runs = [Script(store, f"r-{number}") for number in range(3)]
    for number in range(60):
        run, tool = draw.choice(runs), draw.choice(("refund", "refund", "mail"))
        args = {"amount": draw.randrange(3)}
        match draw.randrange(6):
            case 0:
                run.denied(tool, args)
            case 1:
                _asked(store, run, draw, tool, args, f"a-{number}")
            case 2:
                run.decided(tool, args, close={"few": Measure(control="limit", used="9", max="9")})
            case 3:
                seq = run.decided(tool, args, nudge=draw.choice((None, "You have asked before.")))
                run.ended(seq, draw.choice(("ok", "error", "timeout", "cancelled")))
            case 4:
                seq = run.decided(tool, args)
                write(store, RecoveryEntry(run=run.run, of=seq, status="unknown"))
                if draw.random() < 0.5:
                    run.ended(seq, draw.choice(("ok", "error")), by="dana")
            case _:
                run.call(tool, args)
    with indexed(file) as index:
        known = {each.seq: each.near for each in history(index, "refund").calls}
        rows = [row for run in runs for row in Playback(index, run.run).outline.rows]
    assert known == {row.seq: row.near for row in rows if row.tool == "refund"}
    assert len({why for near in known.values() for why in near}) >= 4


def _asked(store, run: Script, draw: random.Random, tool: str, args, own: str) -> None:
    run.decided(tool, args, verdict="ask", approval=own)
    about = {"run": run.run, "id": own, "tool": tool}
    if draw.random() < 0.5:
        write(store, ApprovalEntry(event="edited", by="dana", revision=1, **about))
    if draw.random() < 0.5:
        run.ended(run.decided(tool, args, approval=own), draw.choice(("ok", "error")))
    else:
        no = Reason(id="no", effect="deny", source="approval", message="m", error="Rejected")
        run.decided(tool, args, verdict="deny", approval=own, reasons=(no,))

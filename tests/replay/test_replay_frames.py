"""Frames are a reading of the ledger: what was said, decided, approved and what came of it."""

from guarding import Yes
from saferun import Denied, Gate, guard
from saferun.ledger import read
from saferun.policy import loads
from saferun.replay import RunStory, story
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.runs import is_run, newest_runs

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {amount: {type: integer, maximum: 1000}}
    rules: [{id: big, ask: [finance], args: {amount: {minimum: 101}}}]
"""


def told(gate: Gate, run_id: str) -> RunStory:
    gate.store.flush()
    with Reader(gate.store.path) as reader, Index(reader) as index:
        index.build()
        return story(run_id, [read(body) for body in reader.bodies(index.frames(run_id))])


def played() -> tuple[Gate, str]:
    gate = Gate(policy=loads(POLICY), approvals=Yes())

    def refund(amount: int) -> str:
        if amount == 13:
            raise OSError("the bank is closed")
        return "paid"

    safe = guard(refund, gate=gate)
    with gate.run(agent="support", user="maria", prompt="Refund me") as run:
        run.model("I will refund it.", model="m-1", input_tokens=8, output_tokens=5)
        safe(40)
        for amount in (5_000, 13):
            try:
                safe(amount)
            except (Denied, OSError):
                run.user("Are you sure?")
        safe(500)
    return gate, run.run_id


def test_a_run_reads_as_what_happened_in_its_order() -> None:
    run = told(*played())
    assert [frame.kind for frame in run.frames] == [
        "model",
        "call",
        "call",
        "user",
        "call",
        "user",
        "call",
    ]
    assert [frame.number for frame in run.frames] == [1, 2, 3, 4, 5, 6, 7]
    assert (run.about["agent"], run.about["prompt"]) == ("support", "Refund me")
    assert (run.calls, run.denied, run.asked) == (4, 1, 1)
    assert run.began is not None
    assert run.ended is not None


def test_a_frame_holds_decision_and_outcome_of_its_call() -> None:
    frames = [frame for frame in told(*played()).frames if frame.kind == "call"]
    allowed, denied, failed, approved = frames
    assert (allowed.decision["verdict"], allowed.outcome["result"]) == ("allow", "paid")
    assert (denied.decision["verdict"], denied.outcome) == ("deny", None)
    assert (failed.outcome["status"], failed.outcome["error"]) == (
        "error",
        "OSError: the bank is closed",
    )
    assert (approved.decision["verdict"], approved.outcome["result"]) == ("allow", "paid")


def test_a_question_and_its_answer_belong_to_one_frame() -> None:
    approved = told(*played()).frames[-1]
    assert [each["event"] for each in approved.approvals] == ["requested", "approved"]
    assert approved.approvals[1]["by"] == "dana"


def test_runs_are_kept_apart() -> None:
    gate, first = played()
    with gate.run(agent="other") as second:
        guard(lambda: None, name="look", gate=Gate(store=gate.store))()
    assert told(gate, second.run_id).calls == 1
    assert told(gate, first).calls == 4


def test_a_run_that_did_nothing_leaves_nothing() -> None:
    gate, _ = played()
    with gate.run(agent="idle") as idle:
        pass
    assert told(gate, idle.run_id).frames == []
    with Reader(gate.store.path) as reader:
        assert not is_run(reader, idle.run_id)


def test_indexing_goes_on_where_it_stopped_and_changes_no_history() -> None:
    gate, run_id = played()
    once = told(gate, run_id)
    before = gate.store.path.read_bytes()
    assert told(gate, run_id) == once
    with Reader(gate.store.path) as reader:
        assert len(newest_runs(reader, 10)) == 1
    assert len(before) > 0

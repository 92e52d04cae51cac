"""What people have said in a run: what counts, what is known, and that all are told alike."""

from textwrap import dedent

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import saferun
from guarding import entries
from saferun import Gate, guard
from saferun.call import RunRef
from saferun.keeping import MAX_ABOUT, MAX_MESSAGE
from saferun.ledger import read
from saferun.policy import Shadows, loads
from saferun.replay import Backtest
from saferun.replay.suggest import history
from saferun.said import MAX_SAID, begun, by_people, heard, joined
from saferun.store import Reader
from saferun.store.index import Index
from saferun.written import brief


def test_texts_come_in_their_order_and_each_once() -> None:
    said = heard(heard(begun((), "a"), "b"), "a")
    assert said == ("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        {"$sealed": "00"},
        {"$blob": {"sha256": "00", "bytes": 9}},
        {"$omitted": "9 bytes"},
        "my key is [redacted: API key]",
        "x" * MAX_MESSAGE,
        [],
        ["a"],
        [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}],
    ],
)
def test_what_is_no_whole_text_is_not_known_and_neither_is_what_comes_with_it(value) -> None:
    assert heard(("before",), value) is None
    assert heard(heard((), value), "after") is None
    assert begun(heard((), value), "after") is None


def test_the_parts_of_a_message_are_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert heard((), parts) == ("a\nb",)


def test_no_prompt_says_nothing_and_one_that_is_not_kept_may_have_said_anything() -> None:
    assert begun(("a",), None) == ("a",)
    assert begun(("a",), None, {"prompt": ...}) is None


@given(st.text(), st.integers(MAX_ABOUT // 6 - 9, MAX_ABOUT + 9))
def test_a_prompt_is_known_if_and_only_if_an_entry_holds_all_of_it(text, size) -> None:
    prompt = (text * (size // max(len(text), 1)))[:size] or "x"
    kept = brief(prompt)
    assert begun((), kept) == ((prompt,) if kept == prompt and "[redacted: " not in kept else None)


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=6), st.integers(0, 6))
def test_two_parts_of_what_was_said_are_joined_to_the_whole(texts, at) -> None:
    def all_of(some):
        said = ()
        for each in some:
            said = heard(said, each)
        return said

    assert joined(all_of(texts[:at]), all_of(texts[at:])) == all_of(texts)


def test_there_is_an_end_to_it() -> None:
    said = ()
    for number in range(MAX_SAID // 1_000):
        said = heard(said, f"{number:01000}")
    assert said is not None
    assert heard(said, "x" * 1_000) is None


def test_messages_in_an_imported_run_within_a_run_are_those_of_the_agent_above() -> None:
    assert by_people(RunRef(run_id="import/a", root="import/a"))
    assert by_people(RunRef(run_id="child", root="r", parent="r"))
    assert not by_people(RunRef(run_id="import/b", root="import/a", parent="import/a"))


POLICY = """
version: 1
tools:
  pay:
    effect: write
    args: any
    rules:
      - {id: unnamed, deny: true, when: "!run.said.contains(args.to)", mode: shadow}
"""

words = st.sampled_from(["a", "b", "a and b", "password=hunter2hunter2", ""])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.sampled_from(["a", "b", "c", ""])),
        st.tuples(st.just("user"), words),
        st.tuples(st.just("model"), words),
        st.tuples(st.just("child"), st.one_of(st.none(), words)),
        st.tuples(st.just("back"), st.none()),
    ),
    max_size=10,
)


@settings(max_examples=settings().max_examples // 5)
@given(st.lists(st.tuples(st.one_of(st.none(), words), steps), min_size=1, max_size=3))
def test_live_in_a_backtest_and_in_suggestions_the_same_was_said(tmp_path_factory, tasks) -> None:
    file = tmp_path_factory.mktemp("said") / "saferun.db"
    policy = loads(dedent(POLICY))
    gate = Gate(policy=policy, store=f"sqlite:///{file}")
    pay = guard(lambda to: to, gate=gate, name="pay")
    for prompt, told in tasks:
        runs = [gate.run(prompt=prompt)]
        runs[0].__enter__()
        for step, text in told:
            if step == "pay":
                pay(text)
            elif step == "user":
                runs[-1].user(text)
            elif step == "model":
                runs[-1].model(text, messages=[{"role": "user", "content": text}])
            elif step == "child":
                runs.append(saferun.run(prompt=text).__enter__())
            elif len(runs) > 1:
                runs.pop().__exit__(None, None, None)
        for run in reversed(runs):
            run.__exit__(None, None, None)
    live = [
        {each["id"]: each.get("failed", False) for each in entry.get("shadow", ())}
        for entry in entries(gate, "decision")
    ]
    with Reader(file) as reader, Index(reader) as index:
        index.build()
        known = history(index, "pay")
        whole = [read(body) for _, body, _ in reader.rows()]
        again = list(Backtest(policy).history(whole, reader.blob))
    gate.close()
    shadows = Shadows(policy)
    tried = [{r.id: r.failed for r in shadows.of(each.call, each.facts)} for each in known.calls]
    assert tried == live
    assert [[own for own, failed in each.items() if not failed] for each in live] == [
        list(each.shadow) for each in again
    ]


def test_a_backtest_says_that_it_cannot_decide_where_it_is_not_known_what_was_said() -> None:
    gate = Gate(policy=loads(dedent(POLICY)))
    with gate.run():
        guard(lambda to: to, gate=gate, name="pay")("a")
    enforced = loads(dedent(POLICY).replace(", mode: shadow", ""))
    with Reader(gate.store.path) as reader:
        whole = [read(body) for _, body, _ in reader.rows()]
        [told] = Backtest(enforced).history(whole, reader.blob)
    assert (told.verdict, told.missing) == ("unknown", ("run.said",))


def test_what_runs_say_is_read_anew_once_too_much_of_it_is_held(monkeypatch) -> None:
    monkeypatch.setattr("saferun.store.past.MAX_HELD", 10)
    gate = Gate(policy=loads(dedent(POLICY).replace(", mode: shadow", "")))
    pay = guard(lambda to: to, gate=gate, name="pay")
    with gate.run(prompt="a" * 20) as first:
        assert pay("aa") == "aa"
    with gate.run(prompt="b" * 20):
        assert pay("bb") == "bb"
    with gate.run(run_id=first.run_id):
        assert pay("aa") == "aa"
    assert msgspec.structs.asdict(gate.store.commit(saferun.store.PastOf(first.run_id))[1])[
        "said"
    ] == ("a" * 20,)

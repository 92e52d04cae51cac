"""The parts of the demo: transcript, policy, stage, proof."""

import io
import sys
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import saferun.demo
from saferun import policy
from saferun.call import Decision, Reason
from saferun.demo.proof import differences, expected
from saferun.demo.stage import Stage, described
from saferun.demo.tools import Shop
from saferun.demo.transcript import Function, Message, ToolCall, read
from saferun.demo.world import State, World, WorldError


def decision(tool="refund", verdict="allow", **args):
    return Decision(verdict=verdict, tool=tool, args=args)


def drawn(draw):
    screen = io.StringIO()
    draw(Stage(Console(file=screen, width=200)))
    return screen.getvalue()


# The transcript.


def test_the_transcript_asks_for_what_the_demo_is_there_to_show():
    calls = [call for turn in read().turns() for call in turn.tool_calls]
    assert [call.arguments.get("amount") for call in calls if call.name == "refund"] == [
        4_000,
        450_000,
        90_000,
        25_000,
    ]
    mails = [call.arguments for call in calls if call.name == "send_email"]
    assert len(mails) == len({mail["body"] for mail in mails}) == 13
    assert {mail["to"] for mail in mails} == {"dana@maple.test"}


def test_every_call_of_the_transcript_has_one_recorded_answer():
    messages = read().messages
    asked = [call.id for message in messages for call in message.tool_calls]
    answered = [message.tool_call_id for message in messages if message.role == "tool"]
    assert asked == answered
    assert len(set(asked)) == len(asked)


def test_the_policy_that_comes_along_has_nothing_to_complain_about():
    text = resources.files("saferun.demo").joinpath("policies/support.yaml").read_bytes()
    assert policy.check(text, "support.yaml") == []


# The world.


@pytest.fixture
def folder(tmp_path):
    empty = tmp_path / "demo"
    empty.mkdir()
    return empty


def test_an_empty_folder_is_taken(folder):
    world = World.make(folder)
    assert not world.edited
    assert world.policy.is_file()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "demo").write_text("a file", encoding="utf-8")
    with pytest.raises(WorldError, match="cannot be set up"):
        World.make(tmp_path / "demo")


def test_a_rerun_leaves_alone_what_the_user_put_beside(folder):
    World.make(folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    World.make(folder)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_policy_that_was_not_edited_follows_the_package(folder):
    world = World.make(folder)
    older = b"version: 1\n"
    world.policy.write_bytes(older)
    (folder / ".saferun-demo").write_bytes(older)
    again = World.make(folder)
    assert not again.edited
    assert again.policy.read_bytes() != older


# The proof.


def test_under_the_demos_own_policy_an_answer_of_no_leaves_one_refund():
    assert expected([], edited=False, answer=False).refunds == [("A-1017", 4_000)]


def test_under_an_edited_policy_what_was_allowed_must_have_happened_and_no_more():
    decided = [
        decision(order_id="A-1", amount=5),
        decision(verdict="deny", order_id="A-2", amount=6),
        decision("send_email", to="a@b.test"),
        decision("save_file", name="n.md"),
    ]
    wanted = State(refunds=[("A-1", 5)], mails=["a@b.test"], files=["n.md"])
    assert expected(decided, edited=True, answer=None) == wanted


def test_every_difference_is_told():
    there = State(refunds=[("A-1", 5), ("A-1", 5)], mails=[], files=["x"])
    should = State(refunds=[("A-1", 5)], mails=[], files=[])
    assert differences(there, should) == [
        "refunds: there should be 5 cents on A-1, and there is 5 cents on A-1 (2).",
        "files: there should be nothing, and there is x.",
    ]


def test_a_tool_that_does_more_than_it_was_told_fails_the_demo(tmp_path, monkeypatch):
    once = Shop.refund

    def refund(shop, order_id, amount, reason):
        once(shop, order_id, amount, reason)
        return once(shop, order_id, amount, reason)

    monkeypatch.setattr(Shop, "refund", refund)
    screen = io.StringIO()
    code = saferun.demo.play(yes=True, folder=tmp_path / "demo", console=Console(file=screen))
    assert code == 1
    assert "4000 cents on A-1017 (2)" in screen.getvalue()


def test_a_tool_that_breaks_is_drawn_and_the_demo_goes_on(tmp_path, monkeypatch):
    def send_email(shop, to, subject, body):
        raise ConnectionRefusedError("the mail server is gone")

    monkeypatch.setattr(Shop, "send_email", send_email)
    screen = io.StringIO()
    code = saferun.demo.play(yes=True, folder=tmp_path / "demo", console=Console(file=screen))
    assert code == 1
    assert "the mail server is gone" in screen.getvalue()
    assert "hand-over.md" in screen.getvalue()


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiosmtpd", None)
    screen = io.StringIO()
    code = saferun.demo.play(yes=True, folder=tmp_path / "demo", console=Console(file=screen))
    assert code == 69
    assert "pip install 'saferun-sdk[demo]'" in screen.getvalue()
    assert not (tmp_path / "demo").exists()


# The stage.


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=80))
def test_whatever_a_model_says_stays_text_within_80_columns(said, value, name):
    def draw(stage):
        stage.speaks(Message(role="assistant", content=said))
        reason = Reason(id="r", effect="deny", source="rule", message=f"no {value}")
        stage.decided(
            Decision(verdict="deny", tool=name, args={"x": value, name: 1}, reasons=(reason,))
        )

    for line in drawn(draw).split("\n"):
        assert cell_len(line) <= 80
        assert line.isprintable()


@given(st.dictionaries(st.text(max_size=20), st.integers() | st.text() | st.lists(st.booleans())))
def test_any_arguments_can_be_described(args):
    for tool in ("look_up_order", "refund", "send_email", "save_file", "another"):
        assert "\n" not in described(tool, args)


def test_arguments_that_a_row_does_not_expect_are_drawn_by_name():
    said = described("refund", {"order_id": "A-1", "amount": 90_000, "approved": True})
    assert said == "$900.00 on A-1, approved=true"


def test_mails_that_were_kept_back_are_drawn_once_one_is_stopped():
    def mail(text):
        call = ToolCall(id="c", function=Function("send_email", '{"to": "a@b.test"}'))
        return Message(role="assistant", content=text, tool_calls=(call,))

    def draw(stage):
        for text, verdict in (("one", "allow"), ("two", "allow"), ("three", "deny")):
            stage.speaks(mail(text))
            stage.decided(decision("send_email", verdict, to="a@b.test"))

    shown = drawn(draw)
    assert "one" in shown
    assert "two" not in shown
    assert shown.index("and 1 more") < shown.index("three") < shown.index("✕ denied")

"""What a model was given in a turn: put together from earlier turns, marked, and bounded."""

from recording import Script, played, tamper
from saferun.replay import given as room
from saferun.replay.given import spoken


def say(text: str, role: str = "user") -> dict[str, str]:
    return {"role": role, "content": text}


def conversation(run: Script, turns: int = 3) -> None:
    run.model("one", turn="t-0", messages=[say("hello", "system"), say("first")])
    for number in range(1, turns):
        kept = number + 1
        about = {"turn": f"t-{number}", "after": f"t-{number - 1}", "kept": kept}
        run.model(f"answer {number}", messages=[say(f"more {number}")], **about)


def test_a_turn_tells_all_that_its_model_was_given(file, run) -> None:
    conversation(run)
    with played(file) as playback:
        [first, _, third] = playback.told(1)
        found = playback.given(third)
        assert found is not None
        assert [each["content"] for each in found.messages] == [
            "hello",
            "first",
            "more 1",
            "more 2",
        ]
        assert (found.new, found.lost) == (1, 0)
        begun = playback.given(first)
        assert begun is not None
        assert (len(begun.messages), begun.new) == (2, 2)


def test_a_turn_without_messages_and_a_call_have_none(file, run) -> None:
    run.model()
    run.call()
    with played(file) as playback:
        assert [playback.given(each) for each in playback.told(1)] == [None, None]


def test_a_prompt_that_is_no_list_is_one_message(file, run) -> None:
    run.model("yes", messages="Say yes.")
    with played(file) as playback:
        found = playback.given(playback.told(1)[0])
    assert found == room.Given(messages=("Say yes.",), new=1)


def test_a_long_conversation_is_read_back_so_far_and_the_rest_is_counted(
    file, run, monkeypatch
) -> None:
    monkeypatch.setattr(room, "TURNS", 5)
    conversation(run, 20)
    with played(file) as playback:
        found = playback.given(playback.told(20, 1)[0])
        assert found is not None
        assert found.messages[-1]["content"] == "more 19"
        assert len(found.messages) + found.lost == 21
        assert len(found.messages) < 8


def test_of_many_messages_the_newest_are_told(file, run, monkeypatch) -> None:
    monkeypatch.setattr(room, "MESSAGES", 3)
    run.model("yes", turn="t", messages=[say(str(number)) for number in range(10)])
    with played(file) as playback:
        found = playback.given(playback.told(1)[0])
    assert found is not None
    assert [each["content"] for each in found.messages] == ["7", "8", "9"]
    assert (found.new, found.lost) == (3, 7)


def test_a_turn_that_was_changed_since_is_no_source(file, store, run) -> None:
    conversation(run)
    tamper(file, run.first + 1, b'"first"', b'"forge"')
    with played(file) as playback:
        found = playback.given(playback.told(3, 1)[0])
        assert found is not None
        assert [each["content"] for each in found.messages] == ["more 1", "more 2"]
        assert found.lost == 2


def test_turns_that_name_each_other_come_to_an_end(file, run) -> None:
    run.model("a", turn="x", after="y", kept=1, messages=[say("a")])
    run.model("b", turn="y", after="x", kept=1, messages=[say("b")])
    with played(file) as playback:
        found = playback.given(playback.told(2, 1)[0])
    assert found is not None
    assert found.messages[-1]["content"] == "b"


def test_who_speaks_is_told_from_what_is_said() -> None:
    assert spoken(say("hi")) == ("user", "hi")
    assert spoken("hi") == ("", "hi")
    calls = [{"id": "1"}]
    assert spoken({"role": "assistant", "content": None, "tool_calls": calls}) == (
        "assistant",
        {"tool_calls": calls},
    )
    assert spoken({"role": 5}) == ("", {"role": 5})
    assert spoken({"type": "message"}) == ("message", {"type": "message"})

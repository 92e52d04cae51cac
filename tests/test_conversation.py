"""What models are given: kept once, however often it is sent, and put together again."""

import threading

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from guarding import entries, observing
from saferun import guard
from saferun.conversation import MAX_BRANCHES, Conversation, Given
from saferun.replay import Told, told


def user(text):
    return {"role": "user", "content": text}


def turns(gate):
    return {entry["turn"]: entry for entry in entries(gate, "model")}


def given_to_each(gate):
    found = turns(gate)
    return [told(turn, found) for turn in found]


def test_a_turn_holds_what_is_new_in_what_its_model_was_given():
    gate = observing()
    said = [user("one")]
    with gate.run() as run:
        run.model("a", messages=said)
        said += [{"role": "assistant", "content": "a"}, user("two")]
        run.model("b", messages=said)
    first, second = turns(gate).values()
    assert first["messages"] == said[:1]
    assert "after" not in first
    assert (second["after"], second["kept"]) == (first["turn"], 1)
    assert second["messages"] == said[1:]
    assert given_to_each(gate)[1] == Told(said, 0)


def test_storage_grows_as_the_conversation_does_and_not_as_its_square():
    gate = observing()
    said = []
    with gate.run() as run:
        for number in range(400):
            said.append(user(f"message {number} {'x' * 100}"))
            run.model("ok", messages=said)
    sizes = [len(msgspec.json.encode(entry)) for entry in entries(gate, "model")]
    assert max(sizes[1:]) < 2 * min(sizes[1:])
    assert given_to_each(gate)[-1] == Told(said, 0)


def test_a_message_that_was_changed_in_place_is_new_and_so_is_all_behind_it():
    gate = observing()
    said = [user("one"), user("two"), user("three")]
    with gate.run() as run:
        run.model("a", messages=said)
        said[1]["cache_control"] = {"type": "ephemeral"}
        run.model("b", messages=said)
    second = list(turns(gate).values())[1]
    assert second["kept"] == 1
    assert second["messages"] == said[1:]
    assert given_to_each(gate)[0].messages[1] == user("two")


def test_conversations_that_take_turns_within_a_run_are_each_kept_once():
    gate = observing()
    one, other = [user("one")], [{"role": "system", "content": "Judge."}, user("other")]
    sent = []
    with gate.run() as run:
        for number in range(10):
            for talk in (one, other):
                talk.append(user(str(number)))
                run.model("ok", messages=talk)
                sent.append(list(talk))
    assert [each.messages for each in given_to_each(gate)] == sent
    assert all(len(entry["messages"]) == 1 for entry in list(turns(gate).values())[2:])


def test_a_conversation_that_was_forgotten_is_kept_whole_once_more():
    talk = Conversation()
    for number in range(MAX_BRANCHES + 1):
        talk.remember(str(number), talk.take([user(str(number))]))
    assert talk.take([user("0")]).after is None
    assert talk.take([user("1")]).after == "1"


def test_what_is_no_list_of_messages_is_kept_as_it_is():
    gate = observing()
    with gate.run() as run:
        run.model("a", messages="Say hello.")
        run.model("b", messages="Say hello.")
    for entry in turns(gate).values():
        assert entry["messages"] == "Say hello."
        assert "after" not in entry


class Rude:
    """A message that will not be looked at."""

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None

    def __deepcopy__(self, memo):
        raise RuntimeError("no")


def test_messages_that_cannot_be_compared_or_copied_break_nothing():
    gate = observing()
    with gate.run() as run:
        run.model("a", messages=[Rude()])
        run.model("b", messages=[Rude()])
        run.model("c", messages=[user("x" * 100_000)])
        cycle = []
        cycle.append(cycle)
        run.model("d", messages=cycle)
    assert [entry["output"] for entry in turns(gate).values()] == ["a", "b", "c", "d"]


def test_a_turn_without_messages_has_no_id():
    gate = observing()
    with gate.run() as run:
        run.model("a")
    (entry,) = entries(gate, "model")
    assert entry.keys().isdisjoint(("turn", "after", "kept", "messages"))


def test_large_messages_lie_beside_the_entry_by_hash():
    gate = observing()
    with gate.run() as run:
        run.model("x" * 30_000, messages=[user("y" * 20_000)], context=["z" * 20_000], plan="p")
    (entry,) = entries(gate, "model")
    assert {"$blob"} == set(entry["messages"]) == set(entry["context"])
    assert len(entry["blobs"]) == 2
    assert (entry["plan"], len(entry["output"])) == ("p", 30_000)


def test_plan_context_and_error_are_recorded():
    gate = observing()
    with gate.run() as run:
        run.model(
            plan=["look", "pay"], context=[{"id": "doc-1"}], error="no answer, password=hunter22"
        )
        run.model(error=ValueError("secret"))
    first, second = entries(gate, "model")
    assert (first["plan"], first["context"]) == (["look", "pay"], [{"id": "doc-1"}])
    assert first["error"] == "no answer, password=[redacted: secret]"
    assert second["error"] == "ValueError"
    assert "output" not in first


def test_threads_of_one_run_record_what_each_was_given():
    gate = observing()

    def talk(name):
        said = []
        for number in range(50):
            said.append(user(f"{name} {number}"))
            run.model(list(said), messages=said)

    with gate.run() as run:
        threads = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        guard(lambda: None, name="tool", gate=gate)()
    found = turns(gate)
    assert len(found) == 150
    for turn, entry in found.items():
        assert told(turn, found) == Told(entry["output"], 0)


# Put together again.

MESSAGES = st.lists(st.sampled_from([user(each) for each in "abc"]), max_size=6)


@given(st.lists(MESSAGES, max_size=12))
def test_whatever_is_sent_in_whatever_order_comes_back_whole(sent):
    talk, found = Conversation(), {}
    for number, messages in enumerate(sent):
        given = talk.take(messages)
        found[str(number)] = {"messages": given.new, "after": given.after, "kept": given.kept}
        talk.remember(str(number), given)
    assert [told(turn, found) for turn in found] == [Told(each, 0) for each in sent]


def test_what_can_be_read_no_more_is_counted():
    found = {
        "1": {"messages": {"$sealed": {}}},
        "2": {"messages": [user("c")], "after": "1", "kept": 2},
        "3": {"messages": [user("d")], "after": "gone", "kept": 3},
    }
    assert told("2", found) == Told([user("c")], 2)
    assert told("3", found) == Told([user("d")], 3)
    assert told("4", found) == Told([], 0)


def test_a_circle_of_turns_ends():
    found = {
        "1": {"messages": [1], "after": "2", "kept": 5},
        "2": {"messages": [2], "after": "1", "kept": 5},
    }
    assert told("1", found).lost == 5


def test_what_was_taken_once_is_not_taken_again():
    with observing().run() as run:
        given = run.given([user("one")])
        assert isinstance(given, Given)
        assert run.given(given) is given

"""`saferun.watch`: the real clients, against a provider on loopback."""

import gc
from typing import Any

import anthropic
import openai
import pytest

import saferun
from adapters.provider import (
    ASKED,
    CALLS,
    CHAT,
    CHUNKS,
    MESSAGE,
    MESSAGE_EVENTS,
    REFUNDS,
    RESPONSE,
    RESPONSE_EVENTS,
    SAYS,
    TEXT,
    USE,
    Broken,
    Fault,
    Provider,
    completion,
    function,
    message,
    response,
)
from guarding import entries, observing
from saferun import watch


def gpt(served: Provider, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url, api_key="k", max_retries=0, **options)


def agpt(served: Provider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=served.url, api_key="k", max_retries=0)


def claude(served: Provider) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key="k", max_retries=0)


def aclaude(served: Provider) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=served.url, api_key="k", max_retries=0)


def turns() -> list[dict[str, Any]]:
    return entries(observing(), "model")


def turn() -> dict[str, Any]:
    (found,) = turns()
    return found


def assert_refunds(entry: dict[str, Any], model: str) -> None:
    assert entry["output"] == REFUNDS
    assert entry["model"].startswith(model)
    assert (entry["input_tokens"], entry["output_tokens"]) == (812, 96)
    assert entry["cost_usd"] > 0
    assert entry["latency"] > 0
    assert entry["messages"] == ASKED
    assert "error" not in entry


# OpenAI.


def test_a_chat_completion_is_recorded_with_what_was_given_and_what_it_took(served):
    served.script = [completion("I will refund it.", [function("refund", '{"order_id": "A-17"}')])]
    with gpt(served) as client, saferun.run(agent="support") as run:
        answer = watch(client).chat.completions.create(**CHAT)
    assert answer.choices[0].message.content == "I will refund it."
    assert_refunds(turn(), "gpt-4o")
    assert (turn()["run"], turn()["agent"]) == (run.run_id, "support")


def test_a_streamed_chat_completion_is_recorded_when_it_ends(served):
    served.script = [CHUNKS]
    with gpt(served) as client, saferun.run():
        stream = watch(client).chat.completions.create(**CHAT, stream=True)
        assert isinstance(stream, openai.Stream)
        assert turns() == []
        texts = [each.choices[0].delta.content for each in stream if each.choices]
        assert_refunds(turn(), "gpt-4o")
    assert texts[:2] == ["I will ", "refund it."]


def test_the_helper_that_streams_a_chat_completion_is_recorded_once(served):
    served.script = [CHUNKS]
    with (
        gpt(served) as client,
        saferun.run(),
        watch(client).chat.completions.stream(**CHAT) as told,
    ):
        final = told.get_final_completion()
        assert final.choices[0].message.content == "I will refund it."
    assert_refunds(turn(), "gpt-4o")


def test_a_parsed_chat_completion_is_recorded(served):
    served.script = [completion("I will refund it.", [function("refund", '{"order_id": "A-17"}')])]
    with gpt(served) as client, saferun.run():
        watch(client).chat.completions.parse(**CHAT)
    assert_refunds(turn(), "gpt-4o")


def test_a_response_is_recorded(served):
    served.script = [response([SAYS, CALLS])]
    with gpt(served) as client, saferun.run():
        watch(client).responses.create(**RESPONSE)
    assert_refunds(turn(), "gpt-4o")


def test_instructions_of_a_response_come_first(served):
    served.script = [response([SAYS])]
    with gpt(served) as client, saferun.run():
        watch(client).responses.create(model="gpt-4o", input=ASKED, instructions="Be kind.")
    assert turn()["messages"] == [{"role": "system", "content": "Be kind."}, *ASKED]


def test_a_streamed_response_is_recorded(served):
    served.script = [RESPONSE_EVENTS]
    with gpt(served) as client, saferun.run():
        kinds = [event.type for event in watch(client).responses.create(**RESPONSE, stream=True)]
    assert kinds == [event["type"] for event in RESPONSE_EVENTS]
    assert_refunds(turn(), "gpt-4o")


def test_the_helper_that_streams_a_response_is_recorded_once(served):
    served.script = [RESPONSE_EVENTS]
    with gpt(served) as client, saferun.run(), watch(client).responses.stream(**RESPONSE) as told:
        told.until_done()
    assert_refunds(turn(), "gpt-4o")


def test_an_answer_that_was_cut_off_says_so(served):
    served.script = [
        response([SAYS], "incomplete", incomplete_details={"reason": "max_output_tokens"})
    ]
    with gpt(served) as client, saferun.run():
        watch(client).responses.create(**RESPONSE)
    assert turn()["output"]["finish_reason"] == "max_output_tokens"


def test_arguments_that_are_no_json_object_are_recorded_as_the_model_wrote_them(served):
    served.script = [completion(None, [function("refund", '{"order_id": ')])]
    with gpt(served) as client, saferun.run():
        watch(client).chat.completions.create(**CHAT)
    assert turn()["output"]["tool_calls"][0]["arguments"] == '{"order_id": '


# Anthropic.


def test_a_message_is_recorded(served):
    served.script = [message([TEXT, USE], "tool_use")]
    with claude(served) as client, saferun.run():
        watch(client).messages.create(**MESSAGE)
    assert_refunds(turn(), "claude-sonnet-5")


def test_the_words_of_the_system_come_first(served):
    served.script = [message([TEXT])]
    with claude(served) as client, saferun.run():
        watch(client).messages.create(**MESSAGE, system="Be kind.")
    assert turn()["messages"] == [{"role": "system", "content": "Be kind."}, *ASKED]


def test_tokens_from_the_cache_were_read_too(served):
    served.script = [message([TEXT], cache_read_input_tokens=100, cache_creation_input_tokens=10)]
    with claude(served) as client, saferun.run():
        watch(client).messages.create(**MESSAGE)
    assert turn()["input_tokens"] == 922


def test_a_streamed_message_is_recorded(served):
    served.script = [MESSAGE_EVENTS]
    with claude(served) as client, saferun.run():
        stream = watch(client).messages.create(**MESSAGE, stream=True)
        assert isinstance(stream, anthropic.Stream)
        kinds = [event.type for event in stream]
    assert kinds == [event["type"] for event in MESSAGE_EVENTS]
    assert_refunds(turn(), "claude-sonnet-5")


def test_the_helper_that_streams_a_message_is_recorded_once_and_keeps_its_type(served):
    served.script = [MESSAGE_EVENTS]
    with claude(served) as client, saferun.run():
        manager = watch(client).messages.stream(**MESSAGE)
        assert isinstance(manager, anthropic.MessageStreamManager)
        with manager as stream:
            assert isinstance(stream, anthropic.MessageStream)
            assert "".join(stream.text_stream) == "I will refund it."
            assert stream.get_final_message().stop_reason == "tool_use"
    assert_refunds(turn(), "claude-sonnet-5")


def test_a_helper_that_is_never_entered_asks_nobody_and_is_no_turn(served):
    with claude(served) as client, saferun.run():
        watch(client).messages.stream(**MESSAGE)
    assert turns() == []


def test_what_a_model_thinks_stands_apart_from_what_it_says(served):
    thinking = {"type": "thinking", "thinking": "A-17 is late.", "signature": "s"}
    served.script = [message([thinking, TEXT])]
    with claude(served) as client, saferun.run():
        watch(client).messages.create(**MESSAGE)
    assert turn()["output"] == {"content": TEXT["text"], "reasoning": "A-17 is late."}


# Async.


async def test_async_clients_are_watched_whole(served):
    served.script = [
        completion("I will refund it.", [function("refund", '{"order_id": "A-17"}')]),
        response([SAYS, CALLS]),
        message([TEXT, USE], "tool_use"),
    ]
    async with agpt(served) as one, aclaude(served) as other:
        for ask in (
            lambda: watch(one).chat.completions.create(**CHAT),
            lambda: watch(one).responses.create(**RESPONSE),
            lambda: watch(other).messages.create(**MESSAGE),
        ):
            async with saferun.run():
                await ask()
    assert len(turns()) == 3
    for entry in turns():
        assert_refunds(entry, ("gpt-4o", "claude")["claude" in entry["model"]])


async def test_async_clients_are_watched_as_streams(served):
    served.script = [CHUNKS, RESPONSE_EVENTS, MESSAGE_EVENTS]
    async with agpt(served) as one, aclaude(served) as other:
        for ask in (
            lambda: watch(one).chat.completions.create(**CHAT, stream=True),
            lambda: watch(one).responses.create(**RESPONSE, stream=True),
            lambda: watch(other).messages.create(**MESSAGE, stream=True),
        ):
            async with saferun.run():
                stream = await ask()
                assert isinstance(stream, openai.AsyncStream | anthropic.AsyncStream)
                assert [event async for event in stream]
    assert len(turns()) == 3
    for entry in turns():
        assert_refunds(entry, ("gpt-4o", "claude")["claude" in entry["model"]])


async def test_the_async_helper_of_messages_is_watched(served):
    served.script = [MESSAGE_EVENTS]
    async with aclaude(served) as client, saferun.run():
        manager = watch(client).messages.stream(**MESSAGE)
        async with manager as stream:
            assert "".join([text async for text in stream.text_stream]) == "I will refund it."
    assert_refunds(turn(), "claude-sonnet-5")


# Errors and streams that nobody reads to their end.


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_provider_passes_and_is_a_turn(served, stream):
    served.script = [Fault(429, {"error": {"message": "slow down, sk-secret", "type": "rate"}})]
    with gpt(served) as client, saferun.run(), pytest.raises(openai.RateLimitError) as raised:
        watch(client).chat.completions.create(**CHAT, stream=stream)
    assert raised.value.status_code == 429
    assert (turn()["error"], turn()["model"]) == ("RateLimitError (429)", "gpt-4o")
    assert turn()["messages"] == ASKED
    assert "output" not in turn()


async def test_an_error_passes_through_an_async_client(served):
    served.script = [Fault(529, {"type": "error", "error": {"type": "overloaded_error"}})]
    async with aclaude(served) as client, saferun.run():
        watch(client)
        with pytest.raises(anthropic.APIStatusError):
            await client.messages.create(**MESSAGE)
    assert turn()["error"].endswith("(529)")


def test_an_error_at_the_door_of_a_helper_is_a_turn(served):
    served.script = [Fault(401, {"type": "error", "error": {"type": "authentication_error"}})]
    with claude(served) as client, saferun.run():
        manager = watch(client).messages.stream(**MESSAGE)
        with pytest.raises(anthropic.AuthenticationError):
            manager.__enter__()
    assert turn()["error"] == "AuthenticationError (401)"


def test_a_stream_that_breaks_is_recorded_with_what_had_come(served):
    served.script = [Broken(CHUNKS[:2])]
    with gpt(served) as client, saferun.run(), pytest.raises(Exception) as raised:
        list(watch(client).chat.completions.create(**CHAT, stream=True))
    assert turn()["error"] == type(raised.value).__name__
    assert turn()["output"] == {"content": "I will refund it."}


@pytest.mark.parametrize("how", ["close", "with", "drop"])
def test_a_stream_that_is_left_is_recorded_with_what_was_read(served, how):
    served.script = [CHUNKS]
    with gpt(served) as client, saferun.run():
        stream = watch(client).chat.completions.create(**CHAT, stream=True)
        next(stream)
        assert turns() == []
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                pass
        response = stream.response
        del stream
        response.close()
        gc.collect()
    assert turn()["output"] == {"content": "I will "}
    assert turn()["error"] == "abandoned"


def test_breaking_off_is_not_leaving(served):
    served.script = [MESSAGE_EVENTS]
    with claude(served) as client, saferun.run():
        stream = watch(client).messages.create(**MESSAGE, stream=True)
        for _ in stream:
            break
        assert turns() == []
        list(stream)
    assert_refunds(turn(), "claude-sonnet-5")


def test_a_helper_that_is_left_is_recorded(served):
    served.script = [MESSAGE_EVENTS]
    with (
        claude(served) as client,
        saferun.run(),
        watch(client).messages.stream(**MESSAGE) as stream,
    ):
        next(stream.text_stream)
    assert turn()["output"] == {"content": "I will "}
    assert turn()["error"] == "abandoned"


async def test_an_async_stream_that_is_closed_is_recorded(served):
    served.script = [CHUNKS]
    async with agpt(served) as client, saferun.run():
        stream = await watch(client).chat.completions.create(**CHAT, stream=True)
        async with stream:
            await anext(stream)
    assert turn()["error"] == "abandoned"


def test_a_stream_that_ends_after_its_run_belongs_to_it_all_the_same(served):
    served.script = [CHUNKS]
    with gpt(served) as client:
        with saferun.run() as run:
            stream = watch(client).chat.completions.create(**CHAT, stream=True)
        list(stream)
    assert turn()["run"] == run.run_id


# The client.


def test_outside_of_any_run_nothing_is_recorded_and_nothing_changes(served):
    served.script = [completion("Hello."), CHUNKS]
    with gpt(served) as client:
        assert watch(client).chat.completions.create(**CHAT).choices[0].message.content == "Hello."
        stream = client.chat.completions.create(**CHAT, stream=True)
        assert type(stream) is openai.Stream
        assert len(list(stream)) == len(CHUNKS)
    assert turns() == []


def test_the_same_client_comes_back(served):
    with gpt(served) as client:
        assert watch(client) is client
        assert type(client) is openai.OpenAI


def test_watching_twice_is_watching_once(served):
    served.script = [completion("Hello.")]
    with gpt(served) as client, saferun.run():
        watch(watch(client)).chat.completions.create(**CHAT)
    assert len(turns()) == 1


def test_copies_of_a_client_are_watched_too(served):
    served.script = [completion("Hello."), message([TEXT])]
    with gpt(served) as one, claude(served) as other, saferun.run():
        watch(one).with_options(timeout=9).chat.completions.create(**CHAT)
        watch(other).copy().messages.create(**MESSAGE)
    assert len(turns()) == 2


def test_what_is_asked_for_raw_goes_through_unseen(served):
    served.script = [completion("Hello."), completion("Hello."), message([TEXT])]
    with gpt(served) as one, claude(served) as other, saferun.run():
        raw = watch(one).chat.completions.with_raw_response.create(**CHAT)
        assert raw.parse().choices[0].message.content == "Hello."
        with one.chat.completions.with_streaming_response.create(**CHAT) as streamed:
            assert b"Hello." in streamed.read()
        assert watch(other).messages.with_raw_response.create(**MESSAGE).status_code == 200
    assert turns() == []


@pytest.mark.parametrize("what", [object(), "openai", None, 5])
def test_what_is_no_client_is_refused(what):
    with pytest.raises(TypeError, match=r"record its turns with run\.model"):
        watch(what)


def test_what_was_sent_is_what_was_given_whatever_becomes_of_it_later(served):
    served.script = [CHUNKS]
    asked = [{"role": "user", "content": "Where is A-17?"}]
    with gpt(served) as client, saferun.run():
        stream = watch(client).chat.completions.create(**{**CHAT, "messages": asked}, stream=True)
        asked[0]["content"] = "changed"
        asked.append({"role": "user", "content": "more"})
        list(stream)
    assert turn()["messages"] == ASKED


def test_messages_that_can_be_read_once_are_left_to_the_client(served):
    served.script = [completion("Hello.")]
    with gpt(served) as client, saferun.run():
        watch(client).chat.completions.create(model="gpt-4o", messages=iter(ASKED))
    assert served.requests[0]["messages"] == ASKED
    assert len(turns()) == 1


def test_a_store_that_fails_takes_nothing_from_the_agent(served, monkeypatch):
    served.script = [completion("Hello."), CHUNKS]

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no disk")

    with gpt(served) as client, saferun.run() as run, monkeypatch.context() as patch:
        patch.setattr(run, "model", fail)
        watch(client).chat.completions.create(**CHAT)
        assert len(list(client.chat.completions.create(**CHAT, stream=True))) == len(CHUNKS)
    assert turns() == []


def test_an_answer_of_an_unknown_shape_is_recorded_without_its_words(served):
    served.script = [{"id": "c-1", "object": "chat.completion"}]
    with gpt(served) as client, saferun.run():
        watch(client).chat.completions.create(**CHAT)
    assert (turn()["model"], turn()["messages"]) == ("gpt-4o", ASKED)
    assert "output" not in turn()

"""Watched clients in a rerun: the real clients, their own types, and nothing on the network."""

import json
from collections.abc import Callable
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
    RESPONSE,
    RESPONSE_EVENTS,
    SAYS,
    TEXT,
    USE,
    Fault,
    Provider,
    completion,
    function,
    message,
    response,
)
from guarding import entries, observing
from saferun import Diverged, Unanswered, rerun, watch

FUNCTION = function("refund", '{"order_id":  "A-17"}')
THINKS = {"type": "thinking", "thinking": "It is late.", "signature": "s1"}


def gpt(served: Provider, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url, api_key="k", **options)


def claude(served: Provider, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key="k", **options)


def chat(served: Provider) -> Any:
    with gpt(served) as client:
        return watch(client).chat.completions.create(**CHAT)


def chat_streamed(served: Provider) -> Any:
    with gpt(served) as client:
        stream = watch(client).chat.completions.create(**CHAT, stream=True)
        assert isinstance(stream, openai.Stream)
        return _of_chunks(list(stream))


def _of_chunks(chunks: list[Any]) -> Any:
    """What anybody makes of chunks."""
    text, calls = "", {}
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for each in choice.delta.tool_calls or ():
                own, name, given = calls.get(each.index, (None, None, ""))
                function = each.function
                calls[each.index] = (
                    each.id or own,
                    function.name or name,
                    given + function.arguments,
                )
    return text, calls, chunks[-1].usage


def chat_helped(served: Provider) -> Any:
    with gpt(served) as client, watch(client).chat.completions.stream(**CHAT) as stream:
        return stream.get_final_completion().choices[0].message


def chat_parsed(served: Provider) -> Any:
    with gpt(served) as client:
        return watch(client).chat.completions.parse(**CHAT)


def responded(served: Provider) -> Any:
    with gpt(served) as client:
        return watch(client).responses.create(**RESPONSE)


def responded_streamed(served: Provider) -> Any:
    with gpt(served) as client:
        return list(watch(client).responses.create(**RESPONSE, stream=True))[-1].response


def responded_helped(served: Provider) -> Any:
    with gpt(served) as client, watch(client).responses.stream(**RESPONSE) as stream:
        return stream.get_final_response().output_text


def messaged(served: Provider) -> Any:
    with claude(served) as client:
        return watch(client).messages.create(**MESSAGE)


def messaged_streamed(served: Provider) -> Any:
    with claude(served) as client:
        stream = watch(client).messages.create(**MESSAGE, stream=True)
        assert isinstance(stream, anthropic.Stream)
        told: dict[int, str] = {}
        for event in stream:
            if event.type == "content_block_delta":
                delta = event.delta
                piece = getattr(delta, "text", None) or getattr(delta, "partial_json", "")
                told[event.index] = told.get(event.index, "") + piece
        return told[0], json.loads(told[1])


def messaged_helped(served: Provider) -> Any:
    with claude(served) as client, watch(client).messages.stream(**MESSAGE) as stream:
        assert isinstance(stream, anthropic.MessageStream)
        return "".join(stream.text_stream), stream.get_final_message().to_dict()["content"]


WAYS = [
    (chat, completion("I will.", [FUNCTION])),
    (chat_streamed, CHUNKS),
    (chat_helped, CHUNKS),
    (chat_parsed, completion("I will.", [FUNCTION])),
    (responded, response([SAYS, CALLS])),
    (responded_streamed, RESPONSE_EVENTS),
    (responded_helped, RESPONSE_EVENTS),
    (messaged, message([THINKS, TEXT, USE], "tool_use")),
    (messaged_streamed, MESSAGE_EVENTS),
    (messaged_helped, MESSAGE_EVENTS),
]


def recorded(served: Provider, ask: Callable[[Provider], Any], *script: Any) -> tuple[str, Any]:
    served.script = list(script)
    with saferun.run(agent="support") as run:
        found = ask(served)
    observing().store.flush()
    served.requests.clear()
    return run.run_id, found


@pytest.mark.parametrize(("ask", "line"), WAYS, ids=lambda each: getattr(each, "__name__", ""))
def test_an_answer_comes_back_as_it_was_and_nobody_is_asked(served, ask, line):
    run_id, found = recorded(served, ask, line)
    with rerun(run_id) as again, saferun.run(agent="support"):
        assert ask(served) == found
    assert again.refused == []
    assert served.requests == []


@pytest.mark.parametrize(("ask", "line"), WAYS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_record_without_the_providers_own_answer_is_put_together_anew(
    served, ask, line, monkeypatch
):
    monkeypatch.setattr("saferun.adapters.openai.own", lambda _: None)
    monkeypatch.setattr("saferun.adapters.anthropic.own", lambda _: None)
    monkeypatch.setattr("saferun.adapters.openai._Chunks._as_sent", lambda _: None)
    run_id, found = recorded(served, ask, line)
    assert all("answer" not in entry for entry in entries(observing(), "model"))
    with rerun(run_id), saferun.run(agent="support"):
        assert type(ask(served)) is type(found)


async def test_async_clients_are_answered_too(served):
    async def main() -> list[Any]:
        async with (
            openai.AsyncOpenAI(base_url=served.url, api_key="k") as one,
            anthropic.AsyncAnthropic(base_url=served.url, api_key="k") as other,
            saferun.run() as run,
        ):
            found = [run.run_id, await watch(one).chat.completions.create(**CHAT)]
            stream = await watch(one).chat.completions.create(**CHAT, stream=True)
            found.append(_of_chunks([each async for each in stream]))
            found.append(await watch(other).messages.create(**MESSAGE))
            async with watch(other).messages.stream(**MESSAGE) as told:
                found.append((await told.get_final_message()).to_dict()["content"])
        return found

    served.script = [completion("Hello."), CHUNKS, message([TEXT]), MESSAGE_EVENTS]
    found = await main()
    observing().store.flush()
    served.requests.clear()
    async with rerun(found[0]):
        assert await main() == found
    assert served.requests == []


def test_a_conversation_goes_on_from_an_answer_that_came_back(served):
    """What a client makes of the answer is sent on, and compared with what was sent then."""

    def agent(served: Provider) -> str:
        messages: list[Any] = list(ASKED)
        look = saferun.guard(lambda order_id: {"late": True}, name="refund")
        with gpt(served) as client:
            while True:
                told = watch(client).chat.completions.create(model="gpt-4o", messages=messages)
                said = told.choices[0].message
                messages.append(said)
                if not said.tool_calls:
                    return said.content
                for each in said.tool_calls:
                    found = look(**json.loads(each.function.arguments))
                    content = json.dumps(found)
                    messages.append({"role": "tool", "tool_call_id": each.id, "content": content})

    script = [completion(None, [FUNCTION]), completion("It is late.")]
    run_id, found = recorded(served, agent, *script)
    with rerun(run_id) as again, saferun.run(agent="support"):
        assert agent(served) == found
    assert again.frames == 3


@pytest.mark.parametrize("ask", [chat, messaged])
def test_other_messages_are_a_divergence(served, ask, monkeypatch):
    run_id, _ = recorded(served, ask, completion("Hi.") if ask is chat else message([TEXT]))
    other = [{"role": "user", "content": "Where is A-18?"}]
    monkeypatch.setitem(CHAT, "messages", other)
    monkeypatch.setitem(MESSAGE, "messages", other)
    with (
        pytest.raises(Diverged, match=r'"Where is A-17\?" → "Where is A-18\?"') as caught,
        rerun(run_id),
        saferun.run(agent="support"),
    ):
        ask(served)
    assert caught.value.frame == 1
    assert served.requests == []


def test_an_error_of_the_provider_comes_back_at_once(served):
    def ask(served: Provider) -> str:
        with gpt(served, max_retries=0) as client:
            try:
                watch(client).chat.completions.create(**CHAT)
            except openai.RateLimitError as problem:
                return f"{type(problem).__name__} {problem.status_code}"

    run_id, found = recorded(served, ask, Fault(429, {"error": {"message": "slow down"}}))
    with rerun(run_id), saferun.run(agent="support"):
        assert ask(served) == found == "RateLimitError 429"
    assert served.requests == []


def test_a_provider_that_was_not_reached_is_not_reached_again():
    nowhere = Provider("http://127.0.0.1:9")

    def ask(served: Provider) -> str:
        with gpt(served, max_retries=0) as client, pytest.raises(openai.APIConnectionError):
            watch(client).chat.completions.create(**CHAT)
        return "no connection"

    run_id, found = recorded(nowhere, ask)
    with rerun(run_id) as again, saferun.run(agent="support"):
        assert ask(nowhere) == found
    assert again.refused == []


@pytest.mark.parametrize(
    "beside",
    [
        lambda client: client.models.list(),
        lambda client: client.chat.completions.with_raw_response.create(**CHAT),
    ],
)
def test_a_client_asks_for_nothing_that_is_not_recorded(served, beside):
    def asks() -> None:
        with rerun(run_id), saferun.run(agent="support"), gpt(served) as client:
            watch(client).chat.completions.create(**CHAT)
            beside(client)

    run_id, _ = recorded(served, chat, completion("Hi."))
    with pytest.raises(Diverged, match="no answer to this"):
        asks()
    assert served.requests == []


def test_a_model_outside_of_any_run_is_not_asked(served):
    run_id, _ = recorded(served, chat, completion("Hi."))
    with pytest.raises(Diverged, match="outside of any run"), rerun(run_id):
        chat(served)
    assert served.requests == []


def test_afterwards_the_client_asks_its_provider_again(served):
    with gpt(served, max_retries=1) as client:
        ask = watch(client).chat.completions.create
        run_id, _ = recorded(served, lambda _: ask(**CHAT), completion("Hi."))
        with rerun(run_id), saferun.run(agent="support"):
            ask(**CHAT)
        assert client.max_retries == 1
        served.script = [completion("Again.")]
        assert ask(**CHAT).choices[0].message.content == "Again."


def test_what_a_model_said_and_was_not_kept_stops_there(served, tmp_path):
    with open("saferun.toml", "a", encoding="utf-8") as file:
        file.write('\n[record]\noutput = "off"\n')
    run_id, _ = recorded(served, chat, completion("Hi."))
    (entry,) = entries(observing(), "model")
    assert "answer" not in entry
    with (
        pytest.raises(Unanswered, match="of what the model said it was not kept"),
        rerun(run_id),
        saferun.run(agent="support"),
    ):
        chat(served)
    assert served.requests == []


def test_a_client_of_the_same_shape_has_the_same_attributes():
    class Completions:
        def create(self, **_: Any) -> Any:
            asked.append("asked")
            return openai.types.chat.ChatCompletion.model_validate(completion("Hi.", [FUNCTION]))

    class Client:
        def __init__(self) -> None:
            self.chat = type("Chat", (), {"completions": Completions()})()

    asked: list[str] = []

    def ask(_: Any) -> Any:
        return watch(Client()).chat.completions.create(**CHAT).choices[0].message

    run_id, found = recorded(Provider(""), ask)
    with rerun(run_id), saferun.run(agent="support"):
        again = ask(None)
    assert (again.content, again.tool_calls[0].function.name) == (found.content, "refund")
    assert asked == ["asked"]


def test_the_answer_is_kept_as_the_provider_sent_it_and_without_secrets(served):
    secret = "sk-proj-abcdefghijklmnopqrstuvwx"
    recorded(served, chat, completion(f"The key is {secret}."))
    (entry,) = entries(observing(), "model")
    assert entry["answer"]["choices"][0]["message"]["content"] == "The key is [redacted: API key]."
    assert entry["answer"]["id"] == "c-1"


@pytest.mark.parametrize(
    ("ask", "changed", "said"),
    [
        (chat, {"model": "gpt-4o-mini"}, 'asked.model  "gpt-4o" → "gpt-4o-mini"'),
        (chat, {"temperature": 0.7}, "asked.temperature  nothing → 0.7"),
        (chat, {"response_format": {"type": "json_object"}}, "asked.digests"),
        (messaged, {"max_tokens": 200}, "asked.max_tokens  100 → 200"),
        (
            messaged,
            {"tools": [{"name": "refund", "input_schema": {"type": "object"}}]},
            'asked.tools  nothing → ["refund"]',
        ),
    ],
)
def test_a_model_that_is_asked_otherwise_is_a_divergence(served, ask, changed, said, monkeypatch):
    run_id, _ = recorded(served, ask, completion("Hi.") if ask is chat else message([TEXT]))
    for name, value in changed.items():
        monkeypatch.setitem(CHAT if ask is chat else MESSAGE, name, value)
    with pytest.raises(Diverged) as caught, rerun(run_id), saferun.run(agent="support"):
        ask(served)
    assert caught.value.frame == 1
    assert said in str(caught.value)
    assert served.requests == []


def test_how_a_request_is_sent_and_for_whom_is_no_part_of_what_is_asked(served, monkeypatch):
    run_id, found = recorded(served, chat, completion("Hi."))
    for name, value in (("timeout", 5.0), ("user", "u-2"), ("extra_headers", {"x-trace": "2"})):
        monkeypatch.setitem(CHAT, name, value)
    with rerun(run_id), saferun.run(agent="support"):
        assert chat(served) == found


def test_a_record_that_does_not_say_what_was_asked_is_made_again_all_the_same(served, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("saferun.adapters.turn.parameters", lambda _: None)
        run_id, found = recorded(served, chat, completion("Hi."))
    assert all("asked" not in entry for entry in entries(observing(), "model"))
    with rerun(run_id), saferun.run(agent="support"):
        assert chat(served) == found


def test_parameters_are_small_and_give_no_secret_away(served, monkeypatch):
    monkeypatch.setitem(CHAT, "stop", "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789")
    monkeypatch.setitem(CHAT, "tools", [{"type": "function", "function": {"name": "refund"}}] * 99)
    recorded(served, chat, completion("Hi."))
    [entry] = entries(observing(), "model")
    assert entry["asked"]["model"] == "gpt-4o"
    assert entry["asked"]["tools"] == ["refund"] * 40
    assert {len(each) for each in entry["asked"]["digests"].values()} == {8}
    assert "sk-proj" not in json.dumps(entry)

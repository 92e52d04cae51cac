"""What recording a model turn costs the agent that waits for it: alone, and through `watch`.

The client has the shape of OpenAI's and answers at once, so that what is left is the recording. An
agent's conversation grows by two messages a turn and is sent whole each time; it begins anew once
it is twice as long.
"""

import contextvars
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import saferun
from benchmarks.measure import Case, Single
from saferun import Gate, config
from saferun.run import Run

ANSWER = "The parcel came with a broken lid, so I will refund the order. " * 6
QUESTION = "Please look at the two photographs that I sent, and tell me what you think. " * 6


def cases(folder: Path) -> Iterator[Case]:
    """Each case has a run of its own, in a store of its own that is written meanwhile."""
    yield Single("model turn: output alone", _said(_run(folder / "said")))
    for length in (40, 1_000):
        talked = _run(folder / f"talked-{length}")
        yield Single(f"model turn: {length:,} messages, 2 new", _talked(talked, length))
    yield Single(
        "model turn: watched client, 40 messages, 2 new", _watched(_run(folder / "watched"))
    )


def _run(folder: Path) -> Run:
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("saferun.toml").write_text('durability = "process"\n', encoding="utf-8")
        return Gate(settings=config.load()).run(agent="bench", user="maria")
    finally:
        os.chdir(before)


def _said(run: Run) -> Callable[[], object]:
    return lambda: run.model(
        {"content": ANSWER}, model="gpt-4o", input_tokens=812, output_tokens=96
    )


def _talked(run: Run, length: int) -> Callable[[], object]:
    sent = _conversation(length)
    return lambda: run.model(
        {"content": ANSWER},
        model="gpt-4o",
        input_tokens=812,
        output_tokens=96,
        messages=next(sent),
    )


def _watched(run: Run) -> Callable[[], object]:
    message = SimpleNamespace(content=ANSWER, tool_calls=None, refusal=None)
    choice = SimpleNamespace(message=message, finish_reason="stop")
    usage = SimpleNamespace(prompt_tokens=812, completion_tokens=96)
    answer = SimpleNamespace(choices=[choice], model="gpt-4o", usage=usage)
    completions = SimpleNamespace(create=lambda **_: answer)
    client = saferun.watch(SimpleNamespace(chat=SimpleNamespace(completions=completions)))
    sent = _conversation(40)
    # A context of its own, so that the other cases are in no run.
    within = contextvars.copy_context()
    within.run(run.__enter__)
    ask = client.chat.completions.create
    return lambda: within.run(ask, model="gpt-4o", messages=next(sent))


def _conversation(length: int) -> Iterator[list[dict[str, Any]]]:
    """What an agent sends, turn by turn: one list that grows. Endless."""
    numbers = itertools.count()
    while True:
        sent = [_message(next(numbers)) for _ in range(length)]
        while len(sent) < 2 * length:
            yield sent
            sent += [
                {"role": "assistant", "content": ANSWER},
                _message(next(numbers)),
            ]


def _message(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"{number}: {QUESTION}"}

"""Trace files: what is read from them, and what is refused with a sentence."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.replay import Said, TracedCall, TracedRun, TraceError, trace, traces


def asked(tool: str, arguments: Any = "{}", call_id: str | None = "call_0") -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def brought(content: Any, call_id: str | None = "call_0") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def line(*messages: dict[str, Any], **about: Any) -> bytes:
    return json.dumps({"run_id": "r", "messages": messages, **about}).encode()


def only(file: Path, *messages: dict[str, Any], **about: Any) -> TracedRun:
    file.write_bytes(line(*messages, **about))
    [run] = traces(file)
    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.jsonl"


def test_a_run_says_who_and_what_for(file: Path) -> None:
    run = only(file, agent="airline", user="mia", prompt="Book a flight.")
    assert (run.run_id, run.agent, run.user, run.prompt) == (
        *("r", "airline", {"id": "mia"}),
        "Book a flight.",
    )


def test_a_user_may_be_more_than_an_id(file: Path) -> None:
    assert only(file, user={"id": "mia", "tier": "gold"}).user["tier"] == "gold"


def test_a_run_without_a_user_knows_nothing_of_one(file: Path) -> None:
    assert only(file, user=None).user == {}


def test_steps_stand_in_their_order_with_their_results(file: Path) -> None:
    run = only(
        file,
        {"role": "user", "content": "Refund me."},
        {**asked("refund", '{"amount": 5}'), "content": "I will."},
        brought("done"),
    )
    assert run.steps == (
        Said(by="user", content="Refund me."),
        Said(by="model", content="I will."),
        TracedCall(index=0, call_id="call_0", tool="refund", args={"amount": 5}, result="done"),
    )


def test_results_of_calls_with_one_id_are_matched_in_their_order(file: Path) -> None:
    run = only(file, asked("a"), brought("first"), asked("b"), brought("second"))
    assert [call.result for call in run.calls] == ["first", "second"]


def test_results_are_matched_by_id_where_they_come_in_another_order(file: Path) -> None:
    run = only(
        *(file, asked("a", call_id="x"), asked("b", call_id="y")),
        *(brought("of b", "y"), brought("of a", "x")),
    )
    assert [call.result for call in run.calls] == ["of a", "of b"]


def test_a_result_without_an_id_is_that_of_the_first_call_that_waits(file: Path) -> None:
    run = only(
        *(file, asked("a", call_id="x"), asked("b", call_id="y")),
        *(brought("of a", "x"), brought("of b", None)),
    )
    assert [call.result for call in run.calls] == ["of a", "of b"]


def test_a_result_before_its_call_is_nobodys(file: Path) -> None:
    [call] = only(file, brought("early"), asked("a")).calls
    assert not call.ran


def test_a_result_of_null_is_a_result(file: Path) -> None:
    [call] = only(file, asked("a"), brought(None)).calls
    assert (call.ran, call.result) == (True, None)


@pytest.mark.parametrize("written", ['{"amount": ', "[1]", "7", "\ud7ff{}", 7, [1], '{"a": NaN}'])
def test_arguments_that_are_no_object_are_a_call_with_a_problem(file: Path, written: Any) -> None:
    [call] = only(file, asked("refund", written)).calls
    assert (call.args, call.written) == ({}, written)
    assert call.problems == ("the arguments are no JSON object",)


def test_arguments_are_taken_down_as_the_gate_takes_them(file: Path) -> None:
    deep = json.dumps({"note": "a\0b", "way": 7, "nest": [[[]]] * 2})
    [call] = only(file, asked("refund", deep)).calls
    assert call.args == {"way": 7, "nest": [[[]], [[]]]}
    assert call.problems == ("note holds a NUL character",)


@pytest.mark.parametrize("written", ["", {}, {"amount": 5}])
def test_arguments_may_be_left_out_or_be_the_object_itself(file: Path, written: Any) -> None:
    [call] = only(file, asked("refund", written)).calls
    assert (call.args, call.problems) == (written or {}, ())


def test_labels_name_malicious_calls_and_others_are_passed_over(file: Path) -> None:
    run = only(file, labels={"malicious_calls": ["call_3"], "attacked": True, "loop": None})
    assert (run.malicious, run.attacked) == (frozenset({"call_3"}), True)
    assert only(file, labels={"success": False}).malicious is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_packed_file_reads_as_what_was_packed(file: Path, pack: Any) -> None:
    file.write_bytes(pack(line(asked("a")) + b"\n\n" + line(asked("b")) + b"\n"))
    assert [(run.line, *run.calls)[1].tool for run in traces(file)] == ["a", "b"]
    assert [run.line for run in traces(file)] == [1, 3]


def test_files_packed_one_after_the_other_are_one(file: Path) -> None:
    file.write_bytes(lzma.compress(line() + b"\n") + lzma.compress(line() + b"\n"))
    assert len(list(traces(file))) == 2


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_line_without_an_end_is_refused_before_it_is_read(
    file: Path, monkeypatch: pytest.MonkeyPatch, pack: Any
) -> None:
    monkeypatch.setattr(trace, "MAX_LINE", 1_000_000)
    file.write_bytes(pack(bytes(50_000_000)))
    with pytest.raises(TraceError, match=r"runs.jsonl:1: a run may have 1,000,000 bytes"):
        list(traces(file))


def test_what_unpacks_to_too_much_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_UNPACKED", 1_000_000)
    file.write_bytes(lzma.compress(b"\n" * 2_000_000))
    with pytest.raises(TraceError, match="unpacks to more than 1,000,000 bytes"):
        list(traces(file))


def test_unpacking_that_takes_too_much_memory_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MAX_UNPACKING", 100_000)
    file.write_bytes(lzma.compress(line()))
    with pytest.raises(TraceError, match="takes too much memory"):
        list(traces(file))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_file_that_was_cut_is_refused(file: Path, pack: Any) -> None:
    file.write_bytes(pack(line(asked("a")))[:-9])
    with pytest.raises(TraceError, match="cannot be unpacked"):
        list(traces(file))


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b'{"run_id": "r"}', b'{"run_id": 7, "messages": []}', b"[" * 100_000, b"\xff"],
)
def test_a_line_that_is_no_run_is_named(file: Path, text: bytes) -> None:
    file.write_bytes(line() + b"\n" + text)
    with pytest.raises(TraceError, match=r"runs\.jsonl:2: this is no run: "):
        list(traces(file))


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        list(traces(file))


@given(st.lists(st.sampled_from("abc"), max_size=12), st.data())
def test_every_result_finds_a_call_of_its_id(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], data: st.DataObject
) -> None:
    answers = data.draw(st.permutations(ids))
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    messages = [asked("t", call_id=each) for each in ids]
    run = only(file, *messages, *(brought(f"{each}{n}", each) for n, each in enumerate(answers)))
    assert [call.result[0] for call in run.calls] == ids
    for each in set(ids):
        own = [int(call.result[1:]) for call in run.calls if call.call_id == each]
        assert own == sorted(own)

"""Trace files: runs of any agent, made anywhere, one on each line.

A line is `{"run_id", "agent", "user", "prompt", "messages": [...], "labels": {...}}`, and the
messages are those of OpenAI's chat format, whose assistants make `tool_calls` and whose `tool`
messages bring the results. docs/reference/trace-files.md has all of it.

A file of OTLP in JSON is one as well, which is seen by what is in it: see `otlp`.

Nothing in such a file is trusted. It is read a line at a time, and a line, what a packed file
unpacks to and the memory that unpacking takes all have a bound. What a call's arguments hold is
taken down as the gate takes arguments down.
"""

import gzip
import io
import lzma
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import msgspec

from saferun.errors import SafeRunError
from saferun.plain import NotPlainError, take_down
from saferun.replay import otlp

MAX_LINE = 64 * 1024 * 1024
"""Bytes of one run."""

MAX_SPANNED = 256 * 1024 * 1024
"""Bytes of a file of spans, which are all held until their runs are known."""

MAX_UNPACKED = 1024 * 1024 * 1024
"""Bytes that a packed file may unpack to; one that is not packed has the size that it has."""

MAX_UNPACKING = 128 * 1024 * 1024
"""Bytes of memory that unpacking .xz may take. `xz -9` makes files that need 65 MiB."""

_CHUNK = 256 * 1024

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"


class TraceError(SafeRunError):
    """A file that is no trace file: what was found, and on which line; None for all of it."""

    def __init__(self, path: Path, line: int | None, message: str) -> None:
        self.path = path
        self.line = line
        self.message = message
        super().__init__(path, line, message)

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line is not None else str(self.path)
        return f"{where}: {self.message}."


class TracedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was made, as the model wrote it.

    `index` counts the calls of the run from 0. `args` is empty and `problems` says why where the
    model wrote no JSON object; `written` is then what it wrote, and None otherwise. `result` is
    `UNSET` where the run has none for it, and `cost_usd` what the call itself cost, in dollars.
    """

    index: int
    call_id: str | None
    tool: str
    args: dict[str, Any]
    problems: tuple[str, ...] = ()
    written: Any = None
    result: Any = msgspec.UNSET
    cost_usd: float | None = None

    @property
    def ran(self) -> bool:
        return self.result is not msgspec.UNSET


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a model or a user said. `cost_usd` is what the turn cost, in dollars, if known."""

    by: Literal["model", "user"]
    content: Any
    model: str | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


Step: TypeAlias = TracedCall | Said


class TracedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run, its steps in order.

    `parent` is the id of the run that it was a part of, which comes before it in the file, and
    `begun` are the runs right within it, each with how many of its steps came before that began.
    `malicious` has the ids of the calls that are labelled as an attacker's, and `attacked` says
    whether the run was attacked; each is None where there is no such label.
    """

    line: int
    run_id: str
    agent: str | None
    user: Mapping[str, Any]
    tenant: str | None
    prompt: Any
    context: Mapping[str, Any]
    steps: tuple[Step, ...]
    malicious: frozenset[str] | None = None
    attacked: bool | None = None
    parent: str | None = None
    begun: tuple[tuple[str, int], ...] = ()

    @property
    def calls(self) -> Iterator[TracedCall]:
        return (step for step in self.steps if isinstance(step, TracedCall))


class _Function(msgspec.Struct):
    name: str
    arguments: Any = ""


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: Any = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    model: str | None = None
    cost_usd: float | None = None


class _Labels(msgspec.Struct):
    malicious_calls: list[str] | None = None
    attacked: bool | None = None


class _Line(msgspec.Struct):
    run_id: str
    messages: list[_Message]
    agent: str | None = None
    user: str | dict[str, Any] | None = None
    tenant: str | None = None
    prompt: Any = None
    context: dict[str, Any] | None = None
    labels: _Labels | None = None


_LINES = msgspec.json.Decoder(_Line)
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])


def traces(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[TracedRun]:
    """The runs of a trace file, one at a time. It may be packed as .xz or .gz, under any name.

    Args:
        path: the file.
        progress: is told how many bytes of the file are read, every run.

    Raises:
        TraceError: it cannot be read, or a line of it is no run, or larger than it may be.

    """
    try:
        with path.open("rb") as file:
            lines = _numbered(path, file, progress)
            first = next(lines, None)
            if first is None:
                return
            whole = chain((first,), lines)
            if otlp.looks_like_spans(first[1]):
                yield from _spanned(path, whole)
            else:
                yield from (_run(path, number, text) for number, text in whole)
    except OSError as problem:
        raise TraceError(path, None, f"it cannot be read ({problem.strerror})") from None


def _numbered(
    path: Path, file: io.BufferedReader, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers."""
    for number, text in enumerate(_lines(path, _unpacked(path, file)), 1):
        if progress is not None:
            progress(file.tell() if file.seekable() else 0)
        if text and not text.isspace():
            yield number, text


def _spanned(path: Path, lines: Iterator[tuple[int, bytes]]) -> Iterator[TracedRun]:
    """The runs of a file of OTLP: a document on each line, or one over all of them."""
    spans: list[otlp.Span] = []
    for number, text in _documents(path, lines):
        try:
            for span in otlp.spans_of(text, number):
                if len(spans) >= otlp.MAX_SPANS:
                    raise TraceError(
                        path, number, f"a file may have {otlp.MAX_SPANS:,} spans, and this has more"
                    )
                spans.append(span)
        except otlp.OtlpError as problem:
            raise TraceError(path, number, str(problem)) from None
    for run in otlp.runs(spans):
        yield TracedRun(
            line=run.line,
            run_id=run.run_id,
            agent=run.agent,
            user={} if run.user is None else {"id": run.user},
            tenant=run.tenant,
            prompt=run.prompt,
            context=run.context,
            steps=tuple(_spanned_steps(run.steps)),
            parent=run.parent,
            begun=tuple(run.begun),
        )


def _documents(path: Path, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    size = 0
    begun: list[bytes] | None = None
    first = 1
    for number, text in lines:
        size += len(text)
        if size > MAX_SPANNED or (begun is not None and size > MAX_LINE):
            most = MAX_SPANNED if begun is None else MAX_LINE
            raise TraceError(path, number, f"spans may have {most:,} bytes, and these have more")
        if begun is None and first == 1 and size == len(text) and not _is_json(text):
            # Not whole yet: one document over several lines.
            begun, first = [], number
        if begun is None:
            yield number, text
        else:
            begun.append(text)
    if begun is not None:
        yield first, b"\n".join(begun)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _spanned_steps(steps: list[otlp.Turn | otlp.Made]) -> Iterator[Step]:
    index = 0
    for step in steps:
        if isinstance(step, otlp.Turn):
            yield Said(
                by="user" if step.by == "user" else "model",
                content=step.content,
                model=step.model,
                cost_usd=step.cost_usd,
                input_tokens=step.input_tokens,
                output_tokens=step.output_tokens,
            )
            continue
        args, problems = _taken_down(step.wanted.arguments)
        yield TracedCall(
            index=index,
            call_id=step.wanted.id,
            tool=step.wanted.tool,
            args=args,
            problems=problems,
            written=step.wanted.arguments if problems else None,
            result=step.result,
            cost_usd=step.cost_usd,
        )
        index += 1


def _lines(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What the chunks hold, cut at its newlines."""
    begun: list[bytes] = []
    held, line = 0, 1
    for chunk in chunks:
        first, *further = chunk.split(b"\n")
        begun.append(first)
        held += len(first)
        for text in further:
            yield b"".join(begun)
            begun, held, line = [text], len(text), line + 1
        if held > MAX_LINE:
            # Before the rest of it is read: a file may be one line without an end.
            raise TraceError(path, line, f"a run may have {MAX_LINE:,} bytes, and this has more")
    yield b"".join(begun)


def _unpacked(path: Path, file: io.BufferedReader) -> Iterator[bytes]:
    magic = file.peek(len(_XZ))
    if magic.startswith(_XZ):
        chunks = _unxz(file)
    elif magic.startswith(_GZIP):
        chunks = _whole(gzip.GzipFile(fileobj=file))
    else:
        yield from _whole(file)
        return
    size = 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_UNPACKED:
                raise TraceError(
                    path, None, f"it unpacks to more than {MAX_UNPACKED:,} bytes; split it up"
                )
            yield chunk
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError):
        raise TraceError(
            path, None, "it cannot be unpacked; it is damaged, or takes too much memory"
        ) from None


def _whole(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _unxz(file: BinaryIO) -> Iterator[bytes]:
    # By hand, since the standard library's reader sets no bound to the memory that it takes.
    rest = b""
    while rest or (rest := file.read(_CHUNK)):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_UNPACKING)
        while not stream.eof:
            data = b""
            if stream.needs_input:
                data, rest = rest or file.read(_CHUNK), b""
                if not data:
                    raise EOFError
            yield stream.decompress(data, _CHUNK)
        rest = stream.unused_data


def _run(path: Path, number: int, text: bytes) -> TracedRun:
    try:
        said = _LINES.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        why = str(problem) if not isinstance(problem, RecursionError) else "it is nested too deeply"
        raise TraceError(path, number, f"this is no run: {why.rstrip('.')[:200]}") from None
    user = {"id": said.user} if isinstance(said.user, str) else said.user or {}
    labels = said.labels or _Labels()
    malicious = labels.malicious_calls
    return TracedRun(
        line=number,
        run_id=said.run_id,
        agent=said.agent,
        user=user,
        tenant=said.tenant,
        prompt=said.prompt,
        context=said.context or {},
        steps=tuple(_steps(said.messages)),
        malicious=None if malicious is None else frozenset(malicious),
        attacked=labels.attacked,
    )


def _steps(messages: list[_Message]) -> Iterator[Step]:
    results = _results(messages)
    index = 0
    for message in messages:
        if message.role == "user":
            yield Said(by="user", content=message.content)
        if message.role != "assistant":
            continue
        if message.content or message.cost_usd is not None:
            yield Said(
                by="model",
                content=message.content,
                model=message.model,
                cost_usd=message.cost_usd,
            )
        for asked in message.tool_calls or ():
            yield _call(index, asked, results.get(index))
            index += 1


def _results(messages: list[_Message]) -> dict[int, _Message]:
    """The messages that bring the results of a run's calls, by the index of the call.

    Ids repeat within a run, so a result belongs to the first call before it that has its id and
    waits for one; a result without an id belongs to the first call that waits at all.
    """
    by_id: defaultdict[str | None, deque[int]] = defaultdict(deque)
    waiting: deque[int] = deque()
    found: dict[int, _Message] = {}
    index = 0
    for message in messages:
        if message.role == "assistant":
            for asked in message.tool_calls or ():
                by_id[asked.id].append(index)
                waiting.append(index)
                index += 1
        elif message.role == "tool":
            own = message.tool_call_id
            queue = waiting if own is None else by_id[own]
            # What was answered by the other way of naming it is still in this queue.
            while queue and queue[0] in found:
                queue.popleft()
            if queue:
                found[queue.popleft()] = message
    return found


def _call(index: int, asked: _ToolCall, result: _Message | None) -> TracedCall:
    args, problems = _taken_down(asked.function.arguments)
    return TracedCall(
        index=index,
        call_id=asked.id,
        tool=asked.function.name,
        args=args,
        problems=problems,
        written=asked.function.arguments if problems else None,
        result=msgspec.UNSET if result is None else result.content,
        cost_usd=None if result is None else result.cost_usd,
    )


def _taken_down(written: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Arguments as the gate would have them, and what is wrong with them.

    They are JSON within JSON; some programs write the object itself, and nothing for none.
    """
    if isinstance(written, str):
        try:
            written = _ARGUMENTS.decode(written.strip() or "{}")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return {}, ("the arguments are no JSON object",)
    if not isinstance(written, dict):
        return {}, ("the arguments are no JSON object",)
    args: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in written.items():
        try:
            args[name], _ = take_down(value, name)
        except NotPlainError as problem:
            problems.append(str(problem))
    return args, tuple(problems)

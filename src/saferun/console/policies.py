"""Policies in the console: which decide, what each rule has done, and what a version changes.

Nothing here publishes: that takes a person's secret at the command line, and each page says the
command. Tests of a policy are run on request; they are pure, and count for nothing.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from saferun import differing, marks
from saferun.approval import inert
from saferun.call import at
from saferun.config import Config
from saferun.console import rules, text
from saferun.console.before import History, IndexingError
from saferun.console.catalogue import FILE, Catalogue, Source
from saferun.console.face import Face
from saferun.console.session import Session
from saferun.errors import PolicyError, SafeRunError, StoreError
from saferun.files import beginning
from saferun.marks import Mark
from saferun.policy import Policy, check, restore
from saferun.policy.analysis import diff
from saferun.policy.source import MAX_BYTES
from saferun.store import Reader
from saferun.store.index import Index
from saferun.suites.fault import SuiteError
from saferun.suites.file import load as suite_in
from saferun.suites.report import sentence as report
from saferun.suites.run import found as suites_of
from saferun.suites.run import results

MANY = 1_000
"""Rules, cases and findings that are shown."""

SHORT = 12
"""Digits of a version that people tell it by."""

TRYING = 10.0
"""Seconds that the tests of a policy may take here; `saferun policy test` has no end."""

AT_ONCE = 2
"""Policies that are read, compared or tried at the same time."""


_ERROR, _WARNING = Mark("deny", "✕", "error"), Mark("ask", "!", "warning")


class Listed(NamedTuple):
    """A policy in the list; inert."""

    name: str
    link: str
    decides: str
    version: str
    state: Mark
    trial: str
    tools: int | None
    rules: int | None
    wrong: str


class Case(NamedTuple):
    """A case of a test file; inert. `passed` is None where it was not tried."""

    file: str
    name: str
    line: int | None
    passed: bool | None = None
    why: tuple[str, ...] = ()


class Shelved(NamedTuple):
    """A version that is kept; inert. `compare` leads to how it differs from what decides."""

    version: str
    link: str
    compare: str
    mark: Mark
    since: str
    by: str
    shown: bool


class Policies:
    """The pages of the policies of one store."""

    def __init__(self, history: History, settings: Config, face: Face) -> None:
        self._history = history
        self._settings = settings
        self._face = face
        self.catalogue = Catalogue(history.path, settings)
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        page, act = self._face.page, self._face.act
        return [
            Route("/policies", page(self._list)),
            Route("/policy", page(self._policy)),
            Route("/policy", act(self._try), methods=["POST"]),
            Route("/policy/text", page(self._text)),
            Route("/policy/diff", page(self._diff)),
        ]

    # All of them.

    def _list(self, _: Asked, session: Session) -> Response:
        with self._room:
            sources = [self.catalogue.source(name) for name in self.catalogue.names()]
        listed = [self._listed(each) for each in sources if each is not None]
        return self._face.shown(
            "policies.html", session, policies=listed, published=self.catalogue.published
        )

    def _listed(self, source: Source) -> Listed:
        version, policy, wrong = self._deciding(source)
        return Listed(
            name=inert(source.name, 120),
            link=_link(source.name),
            decides=self._decides(source),
            version=(version or "")[:SHORT],
            state=_state(policy, wrong),
            trial=_trial(source),
            tools=None if policy is None else len({tool.name for tool in policy.document.tools}),
            rules=None if policy is None else sum(len(t.rules) for t in policy.document.tools),
            wrong=inert(wrong or source.doubt or "", 400),
        )

    def _deciding(self, source: Source) -> tuple[str | None, Policy | None, str | None]:
        """The version that decides as far as this can be told, what it says, and what is wrong."""
        wrong = source.doubt if self.catalogue.published else source.wrong
        if not self.catalogue.published and source.file is not None:
            policy = source.policy
            return (None if policy is None else policy.version), policy, wrong
        version = source.live or source.newest
        if version is None:
            return None, None, wrong
        try:
            return version, self.catalogue.version(source, version), wrong
        except SafeRunError as problem:
            return version, None, str(problem)

    def _decides(self, source: Source) -> str:
        if not self.catalogue.published and source.file is not None:
            return f"the file {inert(self.catalogue.shown(source.file), 160)}"
        if source.history:
            now = source.history[-1]
            return f"what {inert(now.by, 60)} published at {at(now.at)}"
        if source.kept:
            return "decided last, from code or from a file elsewhere"
        return "nothing: its file is not published yet"

    # One of them.

    def _policy(self, asked: Asked, session: Session) -> Response:
        source = self._named(asked.query_params)
        if source is None:
            return self._face.shown("missing.html", session, status=404)
        return self._shown(source, session, asked.query_params.get("version", "")[:64])

    def _named(self, said: Mapping[str, str]) -> Source | None:
        name = said.get("name", "")
        with self._room:
            return self.catalogue.source(name) if 0 < len(name) <= 128 else None

    def _shown(
        self,
        source: Source,
        session: Session,
        asked: str = "",
        tried: list[Case] | None = None,
        untried: int = 0,
    ) -> Response:
        deciding, policy, wrong = self._deciding(source)
        version = deciding
        if asked and asked != deciding:
            version = asked
            try:
                policy, wrong = self.catalogue.version(source, asked), None
            except SafeRunError as problem:
                policy, wrong = None, str(problem)
            if policy is None and wrong is None:
                return self._face.shown("missing.html", session, status=404)
            if policy is not None:
                version = policy.version
        of_file = source.policy is not None and version == source.policy.version
        counted = None if policy is None else self._counted(source.name, policy)
        lines = [] if policy is None else list(rules.lines(policy, counted))
        cases, faults = self._cases(source) if tried is None else (tried, [])
        return self._face.shown(
            "policy.html",
            session,
            name=inert(source.name, 120),
            named=source.name,
            short=(version or "")[:SHORT],
            version=version,
            deciding=version == deciding,
            decides=self._decides(source),
            state=_state(policy, wrong),
            wrong=inert(wrong or "", 600),
            doubt=inert(source.doubt or "", 600),
            file=None if source.file is None else inert(self.catalogue.shown(source.file), 160),
            published=self.catalogue.published,
            trial=_trial(source),
            lines=lines[:MANY],
            more=max(len(lines) - MANY, 0),
            of_file=of_file,
            upto=None if counted is None else counted.size,
            silent=sum(each.silent for each in lines),
            rules=sum(each.kind in ("rule", "limit") for each in lines),
            versions=_versions(source, version),
            acts=[_act(each) for each in reversed(source.history[-MANY:])],
            findings=self._findings(source) if of_file or version is None else [],
            checked=of_file or version is None,
            cases=cases[:MANY],
            faults=faults,
            tried=tried is not None,
            passed=sum(each.passed is True for each in cases),
            failed=sum(each.passed is False for each in cases),
            untried=untried,
            text=_text_link(source, version),
        )

    def _counted(self, name: str, policy: Policy) -> rules.Counted | None:
        """How often everything in a policy has spoken; None as long as that is not indexed."""
        with Reader(self._history.path) as reader, Index(reader) as index:
            try:
                self._history.hold(reader)
            except IndexingError:
                return None
            index.build()
            return rules.counted(index, name, policy)

    def _findings(self, source: Source) -> list[tuple[Mark, str, str, str]]:
        if source.file is None:
            return []
        try:
            said = beginning(source.file, MAX_BYTES + 1)
        except OSError as problem:
            return [(marks.DENIED, "the file", f"cannot be read: {problem.strerror}", "file")]
        with self._room:
            found = check(said, str(source.file), people=self._settings.members)
        return [
            (
                Mark("deny", "✕", "error")
                if each.severity == "error"
                else Mark("ask", "!", "warning"),
                "the whole" if each.line is None else f"line {each.line}",
                inert(each.message, 600),
                each.code,
            )
            for each in found[:MANY]
        ]

    # Tests.

    def _cases(self, source: Source) -> tuple[list[Case], list[str]]:
        """The cases of its test files, not tried, and what is wrong with these files."""
        cases, faults = list[Case](), list[str]()
        if source.file is None:
            return cases, faults
        for path in suites_of(source.file.parent, source.file):
            file = inert(path.name, 120)
            try:
                suite = suite_in(path)
            except SuiteError as problem:
                faults += [
                    f"{file}:{fault.line or 1}: {inert(fault.message, 300)}"
                    for fault in problem.faults[:20]
                ]
                continue
            cases += [Case(file, inert(case.name, 200), case.line) for case in suite.cases]
        return cases, faults

    def _try(self, _: Asked, session: Session, said: Mapping[str, Sequence[str]]) -> Response:
        source = self._named({"name": (said.get("name") or [""])[0]})
        if source is None or source.file is None or source.policy is None:
            return self._face.shown("missing.html", session, status=404)
        if not self._room.acquire(timeout=TRYING):
            return PlainTextResponse("Other tests are being run; run these again later.", 503)
        try:
            tried, untried = _tried(source.file, source.policy)
        finally:
            self._room.release()
        return self._shown(source, session, FILE, tried, untried)

    # Texts.

    def _text(self, asked: Asked, session: Session) -> Response:
        source = self._named(asked.query_params)
        version = asked.query_params.get("version", FILE)[:64]
        said = None if source is None else self._said(source, version)
        if source is None or said is None:
            return self._face.shown("missing.html", session, status=404)
        whole = text.lines(said)
        return self._face.shown(
            "policy-text.html",
            session,
            name=inert(source.name, 120),
            link=_link(source.name, "" if version == FILE else version),
            what=self._what(source, version),
            lines=whole,
            left=max(said.count("\n") + 1 - len(whole), 0),
        )

    def _said(self, source: Source, version: str) -> str | None:
        """The text of a version: that of the file as it is, or a kept one as it would be written.

        Raises PolicyError and StoreError.
        """
        if version == FILE and source.file is not None:
            try:
                data = beginning(source.file, MAX_BYTES)
            except OSError as problem:
                raise StoreError(f"The file cannot be read: {problem.strerror}.") from None
            said = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
            # A line that ends is no further line.
            return said.removesuffix("\n")
        policy = self.catalogue.version(source, version)
        return None if policy is None else text.written(policy)

    def _what(self, source: Source, version: str) -> str:
        if version == FILE and source.file is not None:
            return f"the file {inert(self.catalogue.shown(source.file), 160)}"
        return f"version {version[:SHORT]}, with all that it includes, as it would be written"

    def _diff(self, asked: Asked, session: Session) -> Response:
        source = self._named(asked.query_params)
        if source is None:
            return self._face.shown("missing.html", session, status=404)
        a, b = (asked.query_params.get(each, "")[:64] for each in ("a", "b"))
        about: dict[str, Any] = {"refused": None, "tools": None, "changes": [], "lines": []}
        about |= {"left": 0, "same": False}
        if a and b:
            try:
                with self._room:
                    about |= self._differing(source, a, b)
            except (PolicyError, StoreError) as problem:
                about["refused"] = inert(str(problem), 400)
        return self._face.shown(
            "policy-diff.html",
            session,
            status=404 if about["refused"] else 200,
            name=inert(source.name, 120),
            named=source.name,
            link=_link(source.name),
            choices=_choices(source),
            a=a,
            b=b,
            **about,
        )

    def _differing(self, source: Source, a: str, b: str) -> dict[str, Any]:
        was, now = (self.catalogue.version(source, each) for each in (a, b))
        if was is None or now is None:
            raise StoreError(f"There is no version {(a if was is None else b)[:SHORT]} of it.")
        if was.name != now.name:
            # One that was renamed is compared for what it does, as the command compares it.
            now = restore({**now.document.value, "name": was.name})
        found = diff(was, now)
        lines, left = text.changes(text.written(was), text.written(now))
        return {
            "same": not found,
            "tools": [_tool(each) for each in found.tools[:MANY]],
            "changes": [
                (
                    Mark("ask", "↺", "counts anew") if each.resets else Mark("mod", "~", "changed"),
                    inert(each.message, 400),
                )
                for each in found.changes[:MANY]
            ],
            "lines": lines,
            "left": left,
        }


def _link(name: str, version: str = "") -> str:
    about = {"name": name, **({"version": version} if version else {})}
    return f"/policy?{urlencode(about)}"


def _text_link(source: Source, version: str | None) -> str:
    """Where the text of a version stands: that of its file, if that says it."""
    of_file = source.policy is not None and source.policy.version == version
    named = FILE if of_file or version is None else version
    return f"/policy/text?{urlencode({'name': source.name, 'version': named})}"


def _state(policy: Policy | None, wrong: str | None) -> Mark:
    if wrong is not None:
        return Mark("deny", "✕", "does not load")
    if policy is None:
        return Mark("model", "·", "decides nothing")
    if policy.mode == "shadow":
        return Mark("ask", "?", "shadow")
    return Mark("allow", "✓", "enforced")


def _trial(source: Source) -> str:
    now = source.history[-1] if source.history else None
    if now is None or now.candidate is None:
        return ""
    how = "in shadow" if now.trial == "shadow" else f"for {now.share}% of the runs"
    return f"{now.candidate[:SHORT]} is tried {how}, by {inert(now.by, 60)} since {at(now.at)}"


def _versions(source: Source, shown: str | None) -> list[Shelved]:
    """The versions that are kept, the newest first."""
    states: dict[str | None, Mark] = {
        "live": Mark("allow", "✓", "live"),
        "shadow": Mark("ask", "?", "in shadow"),
        "canary": Mark("ask", "?", "canary"),
        None: Mark("model", "·", "kept"),
    }
    now = source.live or (source.policy.version if source.policy is not None else None)
    found = []
    for each in reversed(source.kept[-MANY:]):
        mark = states[each.state]
        if each.share:
            mark = mark._replace(word=f"{mark.word}, {each.share}%")
        onto = FILE if source.policy is not None and now == source.policy.version else now or ""
        about = {"name": source.name, "a": each.version, "b": onto}
        compare = "" if each.version == now or not onto else f"/policy/diff?{urlencode(about)}"
        link = _link(source.name, each.version)
        found.append(
            Shelved(
                version=each.version[:SHORT],
                link=link,
                compare=compare,
                mark=mark,
                since=at(each.since),
                by=inert(each.by or "", 60),
                shown=each.version == shown,
            )
        )
    return found


def _act(said: Any) -> tuple[int, str, str, str, str, bool]:
    what = f"{said.live[:SHORT]} live"
    if said.candidate is not None:
        share = f", {said.share}% of the runs" if said.trial == "canary" else ""
        what += f", {said.candidate[:SHORT]} in {said.trial}{share}"
    return said.serial, said.act, what, inert(said.by, 60), at(said.at), said.urgent


def _choices(source: Source) -> list[tuple[str, str]]:
    """What can be compared: the file, and each version that is kept, the newest first."""
    found = [] if source.policy is None else [(FILE, "the file as it is")]
    for each in reversed(source.kept[-MANY:]):
        state = f", {each.state}" if each.state else ""
        found.append((each.version, f"{each.version[:SHORT]}{state}, {at(each.since)}"))
    return found


def _tried(file: Any, policy: Policy) -> tuple[list[Case], int]:
    """Each case with what came of it, and how many there was no time for."""
    until = time.monotonic() + TRYING
    cases, untried = list[Case](), 0
    for path in suites_of(file.parent, file):
        name = inert(path.name, 120)
        try:
            suite = suite_in(path)
        except SuiteError as problem:
            first = problem.faults[0]
            cases.append(
                Case(
                    name,
                    "the file cannot be used",
                    first.line,
                    passed=False,
                    why=(inert(first.message, 400),),
                )
            )
            continue
        done = 0
        for result in results(suite, policy):
            done += 1
            why = (
                ()
                if result.failure is None
                else tuple(inert(each, 600) for each in report(result.failure)[:40])
            )
            cases.append(
                Case(
                    name,
                    inert(result.case.name, 200),
                    result.case.line,
                    passed=result.failure is None,
                    why=why,
                )
            )
            if time.monotonic() > until:
                break
        untried += len(suite.cases) - done
    # What failed is what one looks for.
    return sorted(cases, key=lambda each: each.passed is not False), untried


def _tool(each: Any) -> dict[str, Any]:
    return {
        "name": differing.tool_of(each.tool),
        "moved": [
            (marks.VERDICTS[moved.old], marks.VERDICTS[moved.new], said)
            for moved in each.moved[:MANY]
            for said in differing.calls(moved)[:50]
        ],
        "partly": "" if each.told else differing.partly(examples=bool(each.examples)),
        "examples": [
            (
                marks.VERDICTS[example.old],
                marks.VERDICTS[example.new],
                differing.call(example),
                differing.known(example),
                differing.rules(example),
                differing.given(example),
                differing.needed(example),
            )
            for example in each.examples[: differing.EXAMPLES]
        ],
        "more": max(len(each.examples) - differing.EXAMPLES, 0),
    }

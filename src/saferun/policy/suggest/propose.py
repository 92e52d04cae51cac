"""Candidates: each way to put into one rule what sets a call apart from those that were fine.

What is redacted, sensitive or opaque by the policy's own word never becomes a constant of a rule.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from saferun.policy.document import UNSET, Tool
from saferun.policy.suggest.candidate import KINDS, Answer, Candidate, Kind, Seen
from saferun.policy.suggest.words import (
    Steps,
    literal,
    literals,
    nameable,
    place,
    rounded,
    slug,
)

MIN_SEEN = 3
"""Calls that it takes to say what calls are like."""

MAX_AMONG = 20
"""Values of a set; of a longer list nobody can say whether it is the right one."""

MAX_TEXT = 200
"""Characters of a text that a rule names."""

MADE_FROM = 10_000
"""Calls that rules about texts are made from, evenly taken."""

MAX_FIELDS = 24
"""Arguments that are looked at, those in objects too."""

MAX_CANDIDATES = 40

DEPTH = 3
"""Objects in one another that are looked into."""

RARE = 0.5
"""The share of calls before which a tool has run, from which on that sets nothing apart."""

MOSTLY = 0.5
"""The share of fine calls whose value people have named, from which on that sets others apart."""

MIN_NAMED = 4
"""Characters of a value that stands in what people say by no accident."""

_IDENTIFIER = re.compile(r"(?i:^|.*[_-])(?i:ids?|no|nr|number|key|ref|uuid)$|.*[a-z]I[dD]s?$")
"""Names of arguments that say which one it is, and nothing of what it is like."""

_BREAKS = re.compile(r"[/\\:@._ -]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#@\\\s]+)")
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def propose(
    tool: Tool,
    name: str,
    incident: Seen,
    fine: Sequence[Seen],
    *,
    effect: Answer = "deny",
    taken: frozenset[str] = frozenset(),
    hidden: frozenset[str] = frozenset(),
) -> list[Candidate]:
    """Rules that speak of the incident, the most telling kinds first.

    Args:
        tool: what the policy says of the tool now.
        name: the tool's name as it was called.
        incident: the call that should have been stopped.
        fine: calls of the tool that should not be, in the order in which they were made.
        effect: what the rules say.
        taken: ids that the policy has already.
        hidden: arguments that no rule may quote, beside those that the policy says.

    """
    proposing = _Proposing(tool, name, incident, fine, effect, set(taken), hidden)
    found = [each for each in proposing.every() if each is not None]
    return sorted(found, key=lambda each: KINDS.index(each.kind))[:MAX_CANDIDATES]


class _Field(NamedTuple):
    """One argument of the incident, and what it was in the calls that were fine."""

    steps: Steps
    value: Any
    known: list[Any]

    @property
    def names_one(self) -> bool:
        """Whether it is an identifier: whatever is said of it is said of few calls to come."""
        return names_one(self.steps[-1])


class _Proposing:
    def __init__(
        self,
        tool: Tool,
        name: str,
        incident: Seen,
        fine: Sequence[Seen],
        effect: Answer,
        taken: set[str],
        hidden: frozenset[str],
    ) -> None:
        self._tool = tool
        self._name = name
        self._incident = incident
        self._fine = fine
        self._effect = effect
        self._taken = taken
        self._sealed = hidden

    def every(self) -> Iterator[Candidate | None]:
        some = self._fine[:: len(self._fine) // MADE_FROM + 1]
        for steps, value in list(_fields(self._incident.args, self._hidden()))[:MAX_FIELDS]:
            # Of numbers the outermost count, which are in no sample.
            of = self._fine if _number(value) else some
            yield from self._of(_Field(steps, value, list(_values(of, steps))), some)
        yield from self._order()
        yield from self._rate()
        yield self._made("every", (), {}, f"{self._name} is stopped altogether for now.")

    def _of(self, field: _Field, some: Sequence[Seen]) -> Iterator[Candidate | None]:
        if not field.known and len(self._fine) >= MIN_SEEN:
            yield self._given(field)
        match field.value:
            case bool() | None:
                yield self._exact(field)
            case int() | float():
                yield from self._numbers(field)
                yield self._exact(field)
            case str() as text if len(text) <= MAX_TEXT:
                yield from self._texts(field)
                yield from self._origin(field, some)
                yield self._exact(field)
            case str():
                yield from self._begins(field)
                yield from self._origin(field, some)
            case list():
                yield from self._lists(field)

    def _hidden(self) -> frozenset[str]:
        """The arguments that no rule may quote."""
        paths = (*self._tool.redact, *self._tool.sensitive)
        named = {path[1] for path in paths if len(path) > 1 and path[0] == "args"}
        return frozenset(named | self._tool.opaque | self._sealed)

    def _made(
        self,
        kind: Kind,
        words: Sequence[str],
        body: Mapping[str, Any],
        message: str,
        *,
        single: bool = False,
    ) -> Candidate:
        own = slug(self._name, *words) if words else slug(self._name, "all")
        own = free(own, self._taken)
        answer = {"deny": True} if self._effect == "deny" else {"ask": True}
        # What a model has made up as a name may be anything.
        said = "".join(each for each in " ".join(message.split()) if each.isprintable())
        whole = {"id": own, **answer, **body, "message": said}
        return Candidate(id=own, kind=kind, body=whole, single=single)

    def _told(self, constant: Any) -> str:
        """A constant as the message names it, which a model may read."""
        said = f"{constant}"
        return said if self._tool.disclose and said.isprintable() else "what the policy says"

    def _when(self, field: _Field, test: str) -> dict[str, Any]:
        """A condition on an argument, which a call that lacks it does not meet."""
        guards = [
            f"has({place(field.steps[:depth])})"
            for depth in range(1, len(field.steps) + 1)
            if not self._always(field.steps[:depth])
        ]
        return {"when": " && ".join((*guards, test))}

    def _always(self, steps: Steps) -> bool:
        argument = (self._tool.args or {}).get(steps[0])
        if len(steps) > 1 or argument is None:
            return False
        return argument.required or argument.default is not UNSET

    def _given(self, field: _Field) -> Candidate:
        at = field.steps
        has = [f"has({place(at[:depth])})" for depth in range(1, len(at) + 1)]
        what = f"{self._name} is called without {'.'.join(at)}."
        return self._made("given", (*at, "given"), {"when": " && ".join(has)}, what)

    def _exact(self, field: _Field) -> Candidate | None:
        if field.value is None:
            return None
        at = field.steps
        what = f"{self._name} takes no {'.'.join(at)} that was part of an incident."
        body = self._when(field, f"{place(at)} == {literal(field.value)}")
        # Of two values that there can be, one is no accident.
        single = not isinstance(field.value, bool)
        return self._made("exact", (*at, "is-that"), body, what, single=single)

    def _numbers(self, field: _Field) -> Iterator[Candidate]:
        known = [each for each in field.known if _number(each)]
        if len(known) < MIN_SEEN or field.names_one:
            return
        at = field.steps
        for edge, beyond, sign, word in (
            (max(known), field.value > max(known), ">", "above"),
            (min(known), field.value < min(known), "<", "below"),
        ):
            if beyond:
                bound = rounded(edge, field.value)
                what = f"{self._name} takes no {'.'.join(at)} {word} {self._told(bound)}."
                body = self._when(field, f"{place(at)} {sign} {literal(bound)}")
                yield self._made("range", (*at, word), body, what)

    def _texts(self, field: _Field) -> Iterator[Candidate | None]:
        yield from self._domains(field)
        yield from self._among(field)
        yield from self._begins(field)
        yield from self._ends(field)

    def _among(self, field: _Field) -> Iterator[Candidate]:
        at, known = field.steps, [each for each in field.known if isinstance(each, str)]
        few = sorted(set(known))
        if len(known) >= MIN_SEEN and field.value not in few and _listable(few):
            what = f"{self._name} takes no {'.'.join(at)} that was never seen before."
            body = self._when(field, f"!({place(at)} in {literals(few)})")
            yield self._made("among", (*at, "new"), body, what)
            return
        mine = [each for each in self._fine if each.user == self._incident.user]
        mine = mine if self._incident.user is not None else []
        own = [each for each in _values(mine, at) if isinstance(each, str)]
        few = sorted(set(own))
        if len(own) >= MIN_SEEN and field.value not in few and _listable(few):
            assert self._incident.user is not None
            what = f"{self._name} takes no {'.'.join(at)} that this user never had before."
            body = self._when(field, f"!({place(at)} in {literals(few)})")
            body = {"for": {"user": self._incident.user}, **body}
            yield self._made("among", (*at, "new-to-user"), body, what)

    def _origin(self, field: _Field, some: Sequence[Seen]) -> Iterator[Candidate]:
        """A value that people have not named, where mostly they have.

        Who has not said anything that is known would be denied by such a rule, and counts as one
        who has not named it.
        """
        at, own = field.steps, self._incident
        if not own.said or len(field.value) < MIN_NAMED or own.names(field.value):
            return
        known = [(each, value) for each in some for value in _values((each,), at)]
        named = sum(isinstance(value, str) and each.names(value) for each, value in known)
        if len(known) >= MIN_SEEN and named >= MOSTLY * len(known):
            what = f"{self._name} takes no {'.'.join(at)} that nobody has asked for in this run."
            body = self._when(field, f"!run.said.contains({place(at)})")
            yield self._made("origin", (*at, "not-said"), body, what)

    def _begins(self, field: _Field) -> Iterator[Candidate]:
        yield from self._edges(field, str.startswith, "startsWith", "prefix")

    def _ends(self, field: _Field) -> Iterator[Candidate]:
        yield from self._edges(field, str.endswith, "endsWith", "suffix")

    def _edges(
        self, field: _Field, has: Callable[[str, str], bool], function: str, kind: Kind
    ) -> Iterator[Candidate]:
        """How all others begin or end and this one does not; how this one does and no other."""
        at, known = field.steps, [each for each in field.known if isinstance(each, str)]
        if len(known) < MIN_SEEN:
            return
        some = sorted(set(known))
        front = kind == "prefix"
        verb = "begins" if front else "ends"
        common = _common(some, front=front) if len(some) > 1 else ""
        if len(common) >= 3 and not has(field.value, common):
            what = f"{self._name} takes a {'.'.join(at)} that {verb} with {self._told(common)}."
            body = self._when(field, f"!{place(at)}.{function}({literal(common)})")
            yield self._made(kind, (*at, "not", verb), body, what, single=field.names_one)
        own = _own(field.value, some, front=front)
        if own is not None:
            what = f"{self._name} takes no {'.'.join(at)} that {verb} with {self._told(own)}."
            body = self._when(field, f"{place(at)}.{function}({literal(own)})")
            yield self._made(kind, (*at, verb), body, what, single=field.names_one)

    def _domains(self, field: _Field) -> Iterator[Candidate]:
        known = [each for each in field.known if isinstance(each, str)]
        for form, domain_of in (("email", _mail_domain), ("url", _url_domain)):
            own = domain_of(field.value)
            others = {each for each in map(domain_of, known) if each is not None}
            if own is None or own in others:
                continue
            at = field.steps
            what = f"{self._name} takes no {'.'.join(at)} at {self._told(own)}."
            if len(at) == 1:
                said = {"args": {at[0]: {form: {"domains": [own]}}}}
                yield self._made("domain", (*at, "at", own), said, what, single=True)
            if len(known) >= MIN_SEEN and 0 < len(others) <= MAX_AMONG:
                body = self._when(field, _elsewhere(place(at), form, sorted(others)))
                what = f"{self._name} takes no {'.'.join(at)} at a domain that is new."
                yield self._made("domain", (*at, "elsewhere"), body, what)

    def _lists(self, field: _Field) -> Iterator[Candidate]:
        at = field.steps
        own = [each for each in field.value if isinstance(each, str) and len(each) <= MAX_TEXT]
        known = [
            each
            for held in field.known
            if isinstance(held, list)
            for each in held
            if isinstance(each, str)
        ]
        if len(known) < MIN_SEEN or not own:
            return
        domains = {each for each in map(_mail_domain, known) if each is not None}
        strange = {each for each in map(_mail_domain, own) if each is not None} - domains
        if strange and 0 < len(domains) <= MAX_AMONG:
            test = _elsewhere("x", "email", sorted(domains))
            what = f"{self._name} takes no {'.'.join(at)} at a domain that is new."
            body = self._when(field, f"{place(at)}.exists(x, {test})")
            yield self._made("domain", (*at, "elsewhere"), body, what)
        few = sorted(set(known))
        if not set(own) <= set(few) and _listable(few):
            what = f"{self._name} takes no {'.'.join(at)} that was never seen before."
            body = self._when(field, f"{place(at)}.exists(x, !(x in {literals(few)}))")
            yield self._made("among", (*at, "new"), body, what)
        most = max(len(held) for held in field.known if isinstance(held, list))
        if len(field.value) > most:
            what = f"{self._name} takes at most {self._told(most)} of {'.'.join(at)}."
            body = self._when(field, f"size({place(at)}) > {most}")
            yield self._made("range", (*at, "many"), body, what)

    def _order(self) -> Iterator[Candidate]:
        """What ran before, where mostly it does not; what did not, where it always does."""
        if len(self._fine) < MIN_SEEN:
            return
        total = len(self._fine)
        shares = [
            (sum(tool in each.tools for each in self._fine) / total, tool)
            for tool in self._incident.tools
            if tool != self._name and len(tool) <= MAX_TEXT
        ]
        for share, tool in sorted(shares)[:3]:
            if share < RARE:
                what = f"{self._name} is not called after {tool} in one run."
                body = {"when": f"{literal(tool)} in run.tools"}
                yield self._made("order", ("after", tool), body, what)
        common = set(self._fine[0].tools)
        for each in self._fine:
            if not common:
                break
            common.intersection_update(each.tools)
        for tool in sorted(common - {*self._incident.tools, self._name})[:3]:
            what = f"{self._name} is always called after {tool}."
            body = {"when": f"!({literal(tool)} in run.tools)"}
            yield self._made("order", ("without", tool), body, what)

    def _rate(self) -> Iterator[Candidate]:
        if len(self._fine) < MIN_SEEN:
            return
        if self._name in self._incident.tools:
            what = f"{self._name} is called once in a run."
            body = {"when": f"{literal(self._name)} in run.tools"}
            yield self._made("rate", ("again",), body, what)
        most = max(each.calls for each in self._fine)
        if self._incident.calls > most:
            what = f"{self._name} is not called after so many other calls of a run."
            yield self._made("rate", ("late",), {"when": f"run.calls > {most}"}, what)


def _fields(
    args: Mapping[str, Any], hidden: frozenset[str], above: Steps = ()
) -> Iterator[tuple[Steps, Any]]:
    for name, value in args.items():
        if not nameable(name) or (not above and name in hidden):
            continue
        if isinstance(value, Mapping):
            if len(above) + 1 < DEPTH:
                yield from _fields(value, hidden, (*above, name))
        elif not _broken(value):
            yield (*above, name), value


def _broken(value: Any) -> bool:
    """Whether a text has something in it that stands for what was not kept."""
    return isinstance(value, str) and "[redacted: " in value


def _values(calls: Sequence[Seen], steps: Steps) -> Iterator[Any]:
    if len(steps) == 1:
        # As nearly all are, of very many calls.
        [name] = steps
        found = (each.args.get(name) for each in calls)
        yield from (value for value in found if value is not None)
        return
    for each in calls:
        value: Any = each.args
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            yield value


def names_one(name: str) -> bool:
    """Whether an argument is called as one that says which it is."""
    return _IDENTIFIER.fullmatch(name) is not None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listable(few: Sequence[str]) -> bool:
    whole = all(len(each) <= MAX_TEXT and not _broken(each) for each in few)
    return 0 < len(few) <= MAX_AMONG and whole


def free(own: str, taken: set[str]) -> str:
    """The id, or one that is made from it and that nothing else has."""
    found, number = own, 2
    while found in taken:
        found, number = f"{own}-{number}", number + 1
    taken.add(found)
    return found


def _common(some: Sequence[str], *, front: bool) -> str:
    """What texts have in common at their front or their end, up to where a word breaks."""
    turned = some if front else [each[::-1] for each in some]
    low, high = min(turned), max(turned)
    size = next((at for at, each in enumerate(low) if high[at : at + 1] != each), len(low))
    breaks = [found.end() for found in _BREAKS.finditer(low[:size])]
    common = low[: breaks[-1]] if breaks else low[:size]
    return (common if front else common[::-1])[:MAX_TEXT]


def _own(value: str, others: Sequence[str], *, front: bool) -> str | None:
    """The shortest beginning or end of a text that no other has, and that is not all of it."""
    turned = [each if front else each[::-1] for each in others]
    text = value if front else value[::-1]
    shared = max((_shared(text, each) for each in turned), default=0)
    breaks = [found.end() for found in _BREAKS.finditer(text) if found.end() > shared]
    size = breaks[0] if breaks and breaks[0] <= shared + 8 else max(shared + 1, 2)
    if size >= len(text):
        return None
    own = text[:size]
    return own if front else own[::-1]


def _shared(one: str, other: str) -> int:
    many = min(len(one), len(other))
    return next((at for at in range(many) if one[at] != other[at]), many)


def _mail_domain(text: str) -> str | None:
    name, at, domain = text.rpartition("@")
    found = domain.lower().rstrip(".")
    return found if name and at and "://" not in name and _HOST.fullmatch(found) else None


def _url_domain(text: str) -> str | None:
    found = _URL.match(text)
    host = found[1].lower().partition(":")[0] if found is not None else ""
    return host if _HOST.fullmatch(host) else None


def _elsewhere(at: str, form: str, domains: Sequence[str]) -> str:
    """A test that an address is at none of the domains."""
    if form == "email":
        return " && ".join(f"!{at}.endsWith({literal(f'@{each}')})" for each in domains)
    hosts = "|".join(re.escape(each).replace("\\-", "-") for each in domains)
    return f"!{at}.matches({literal(f'^https?://({hosts})(:[0-9]+)?([/?#]|$)')})"

"""For whom something is made that leaves the house, and what of the history they get to see.

What is recorded of a run falls into parts: what was said to a model and what it said, arguments
and results, and the names of those who took part. For an audience each part is kept, hidden, or
replaced by placeholders: the same value by the same one (`user-1`) in one file. They are numbered
as they come, and values are told apart by a digest under a salt that is drawn for that file and
thrown away with it, so that no guess can be tested against what goes out.

This errs towards hiding. A field that is not named here does not go out at all, and whatever goes
out is searched once more for secrets. A name that is hidden or replaced is so in the words that
are kept as well, wherever it stands as a whole word. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from saferun import redact
from saferun.call import canonical
from saferun.errors import SafeRunError

Part: TypeAlias = Literal[
    "prompts",
    "output",
    "arguments",
    "results",
    "people",
    "users",
    "tenants",
    "agents",
    "hosts",
    "ids",
    "reasons",
    "policy",
]
"""`prompts` are also plans, context and what users say; `results` also errors. `people` are those
who answer and stop, `users` those whom runs are for. `ids` are those of runs, calls and requests,
`reasons` the words of people, and `policy` what rules and limits say, with their conditions."""

Act: TypeAlias = Literal["keep", "replace", "hide"]

Path: TypeAlias = tuple[str, ...]
"""A field and the keys inside it: `args.email` is `("args", "email")`; `*` is any key or item."""

PARTS: tuple[Part, ...] = get_args(Part)

AUDIENCES: Mapping[str, Mapping[Part, Act]] = {
    "public": {
        **dict.fromkeys(PARTS, "hide"),
        **dict.fromkeys(("arguments", "people", "users", "tenants", "agents", "ids"), "replace"),
    },
    "team": {
        **dict.fromkeys(PARTS, "keep"),
        **dict.fromkeys(("users", "tenants"), "replace"),
        "hosts": "hide",
    },
    "full": dict.fromkeys(PARTS, "keep"),
}
"""For whom: anybody; those who work on the agent; those who may see all that is not sealed."""

LABELS: Mapping[Part, str] = {
    "prompts": "prompt",
    "output": "output",
    "arguments": "value",
    "results": "value",
    "people": "person",
    "users": "user",
    "tenants": "tenant",
    "agents": "agent",
    "hosts": "host",
    "ids": "id",
    "reasons": "reason",
    "policy": "text",
}
"""What placeholders are called."""

FIELDS: Mapping[str, Part | None] = {
    # What holds nothing of anybody's: kept for everyone.
    **dict.fromkeys(
        (
            *("event", "tool", "verdict", "mode", "modified", "status", "latency", "of", "kept"),
            "within",
            *("cost", "cost_usd", "input_tokens", "output_tokens", "model", "policy", "other"),
            *("revision", "approved", "glass", "channel", "deadline", "until", "over", "scope"),
            *("repeats", "mark", "close"),
        )
    ),
    **dict.fromkeys(("prompt", "plan", "context", "messages", "asked", "text"), "prompts"),
    **dict.fromkeys(("output", "answer"), "output"),
    **dict.fromkeys(("args", "given"), "arguments"),
    # Keyed digests of arguments: whoever has the key could try values against them.
    **dict.fromkeys(("digest", "function", "key", "sign"), "arguments"),
    **dict.fromkeys(("result", "error", "echo"), "results"),
    **dict.fromkeys(("by", "person", "groups", "demands"), "people"),
    "user": "users",
    "tenant": "tenants",
    "agent": "agents",
    **dict.fromkeys(("host", "boot", "owner"), "hosts"),
    **dict.fromkeys(("run", "root", "parent", "call", "approval", "id", "joins", "grant"), "ids"),
    **dict.fromkeys(("turn", "after", "imported"), "ids"),
    **dict.fromkeys(("reason", "why"), "reasons"),
    "nudge": "policy",
}
"""The fields of entries, and the part that each belongs to."""

_TALK = frozenset(("messages", "output", "answer"))
_DIGESTS = frozenset(("digest", "function", "key", "sign", "echo"))
_UNSHOWN = _DIGESTS | {"groups", "demands"}
"""Fields that are left out where they are not kept: nothing could stand in their place."""

_IDS = {
    **dict.fromkeys(("run", "root", "parent"), "run"),
    "call": "call",
    **dict.fromkeys(("approval", "id", "joins"), "request"),
}
_OF_CALL = ("tool_call_id", "tool_use_id", "call_id")
_NAMED = ("people", "users", "tenants", "agents", "hosts")
_SCOPES: Mapping[str, Part] = {
    "user": "users",
    "tenant": "tenants",
    "agent": "agents",
    "run": "ids",
}
_SCOPE_FIELDS = {"user": "user", "tenant": "tenant", "agent": "agent", "run": "run"}
_SCOPED = re.compile(r"(?:^|, )(run|agent|user|tenant|tool|args|all)\b")
_ORDER: tuple[Act, ...] = ("keep", "replace", "hide")

NAMES = 50_000
"""Names that are looked for in words that are kept, at most."""

SHORT_WORDS, REMEMBERED = 100, 10_000
"""Characters of words that are searched once for all, and how many of them are kept for that."""

FEW = 64
"""Names, by their first words, that a text is searched for one by one before it is gone through."""

SHORTEST, LONGEST = 3, 200
"""Characters of such a name: `ed` would be found in too many places that mean nobody."""

_WORD = re.compile(r"\w+")
_EDGES = re.compile(r"\A\W+|\W+\Z")

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""What looks like the name of an argument, and not like something that somebody has said."""

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)

COUNTED = 300
"""Fields that are told apart in a preview; the others are counted together."""


class AudienceError(SafeRunError):
    """What was asked to be kept, hidden or replaced cannot be: one sentence on why."""


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with each part, and with some `paths` whatever part they are in."""

    name: str
    parts: Mapping[Part, Act]
    paths: Mapping[Path, Act] = {}

    def but(self, act: Act, what: Iterable[str]) -> "Audience":
        """The same, but for some parts or paths: `prompts`, `args.email`.

        Raises AudienceError for what is neither.
        """
        parts, paths = dict(self.parts), dict(self.paths)
        for each in what:
            if each in PARTS:
                parts[each] = act
                continue
            path = tuple(each.split("."))
            if FIELDS.get(path[0]) is None or path[0] in _DIGESTS or "" in path:
                raise AudienceError(
                    f"{each!r} is neither a part ({', '.join(PARTS)}) nor a path such as "
                    "args.email, result.*.name or prompt."
                )
            paths[path] = act
        return Audience(name=self.name, parts=parts, paths=paths)

    @property
    def all(self) -> bool:
        """Whether there is nothing that it does not get."""
        return not self.paths and all(act == "keep" for act in self.parts.values())

    def act(self, path: Path) -> Act:
        """What is done with the value at a path."""
        if path[0] == "given":
            path = ("args", *path[1:])
        part = FIELDS.get(path[0])
        found: Act = "keep" if part is None else self.parts[part]
        if not self.paths:
            return found
        # The longest path that leads there holds, and of several the strictest.
        best = 0
        for rule, act in self.paths.items():
            if len(rule) <= len(path) and all(map(_fits, rule, path)):
                stricter = len(rule) == best and _ORDER.index(act) > _ORDER.index(found)
                if len(rule) > best or stricter:
                    found, best = act, len(rule)
        return found

    def further(self, path: Path) -> bool:
        """Whether something else holds for what lies deeper."""
        if not self.paths:
            return False
        if path[0] == "given":
            path = ("args", *path[1:])
        return any(len(rule) > len(path) and all(map(_fits, rule, path)) for rule in self.paths)


def _fits(rule: str, key: str) -> bool:
    return rule in ("*", key)


class Count(msgspec.Struct, kw_only=True):
    """What goes out of one field: how many values, and what was done with them.

    `altered` are those kept values in which something was replaced: a secret, or a name. `sample`
    is one of them as it goes out.
    """

    field: str
    part: Part
    values: int = 0
    kept: int = 0
    altered: int = 0
    replaced: int = 0
    hidden: int = 0
    sample: Any = msgspec.UNSET


class Showing:
    """What one audience is shown, in one file. `salt` is random, and used for no other.

    Names have to be `met` before they are found in what is kept.
    """

    def __init__(self, audience: Audience, salt: bytes) -> None:
        self.audience = audience
        self._salt = salt[:64]
        self._numbers: dict[str, dict[bytes, int]] = {}
        # By their first word and by their length: a text is gone through once, however many.
        self._names: dict[str, dict[int, dict[str, _Name]]] = {}
        self._many = 0
        # What short words come to: a run says few of them, and in each of its entries.
        self._searched: dict[str, Any] = {}
        self._counts: dict[str, Count] = {}

    @property
    def counts(self) -> list[Count]:
        """What has gone out so far, field by field."""
        return list(self._counts.values())

    def meet(self, fields: Mapping[str, Any]) -> None:
        """Take down the names in an entry, as far as they are not to be shown.

        So are values that a path hides: what stands in an argument is repeated by models and tools.
        Raises AudienceError where there are too many.
        """
        for field, value in fields.items():
            part = _SCOPES.get(str(fields.get("scope"))) if field == "value" else FIELDS.get(field)
            if part in _NAMED and field not in ("groups", "demands"):
                at = (
                    _SCOPE_FIELDS.get(str(fields.get("scope")), "run")
                    if field == "value"
                    else field
                )
                for path, leaf in _leaves(value, (at,)):
                    self._meet(leaf, part, path)
            elif part in ("arguments", "results") and self.audience.paths:
                for path, leaf in _leaves(value, (field,)):
                    if self.audience.act(path) != self.audience.parts[part]:
                        self._meet(leaf, part, path)

    def _meet(self, value: Any, part: Part, path: Path) -> None:
        name = str(value) if type(value) is int and part not in _NAMED else value
        if not isinstance(name, str) or not SHORTEST <= len(name) <= LONGEST or name == "saferun":
            return
        act = self.audience.act(path)
        if act == "keep":
            return
        meant = _Name(value, act, part, _label(path, part))
        # Of whom the address is known, the name before the @ is often said alone.
        for each in (name, name.partition("@")[0]):
            self._note(_EDGES.sub("", each), meant)

    def _note(self, name: str, meant: "_Name") -> None:
        first = _WORD.match(name)
        if first is None or len(name) < SHORTEST:
            return
        held = self._names.setdefault(first[0].casefold(), {}).setdefault(len(name), {})
        if name.casefold() not in held:
            held[name.casefold()] = meant
            self._many += 1
            self._searched.clear()
        if self._many > NAMES:
            raise AudienceError(
                f"There are more than {NAMES:,} names and values to look for in what is kept; hide "
                "prompts, output and results instead."
            )

    def fields(
        self, fields: Mapping[str, Any], *, of: Literal["model"] | None = None
    ) -> dict[str, Any]:
        """The fields of an entry as this audience gets to see them.

        `of` says where it matters of which kind it is. One that nobody knows is left out.
        """
        scope = str(fields.get("scope"))
        found = {name: self._shown(name, each, scope, of) for name, each in fields.items()}
        return {name: each for name, each in found.items() if each is not msgspec.UNSET}

    def _shown(self, name: str, value: Any, scope: str, of: str | None) -> Any:
        """A field of an entry; UNSET for one that does not go out."""
        match name:
            case "reasons" | "shadow":
                return [self._reason(each) for each in value]
            case "opaque":
                # The names of arguments, and the types of what cannot be written down.
                return {key: said for key, said in value.items() if self.argument(key)}
            case "unkept":
                return {key: self._unkept(key, each) for key, each in value.items()}
            case "policy":
                # Its version is a hash, and may look like whatever is made of digits.
                return {**value, "name": self.words(value.get("name"))}
            case "other":
                policy = self._shown("policy", value.get("policy", {}), scope, of)
                rest = {key: each for key, each in value.items() if key != "policy"}
                return {**self.words(rest), "policy": policy}
            case "blobs" | "sealed":
                # Salted, both of them: they tell nothing of the values that they name.
                return value
            case "value":
                # What was stopped: a tool, or somebody or something by its name.
                kept = scope in ("tool", "all")
                return value if kept else self._value((_SCOPE_FIELDS.get(scope, "run"),), value)
            case "by" if value == "saferun":
                return value
            case "answer" if not self.whole("output"):
                # It says the same once more, where no path leads.
                return msgspec.UNSET
            case "error" if of == "model":
                return self._value(("output",), value)
        if name not in FIELDS:
            return msgspec.UNSET
        if name in _UNSHOWN:
            # Nobody gets a digest of something of which part is hidden.
            partly = name in _DIGESTS and bool(self.audience.paths)
            kept = self.audience.act((name,)) == "keep" and not partly
            return value if kept else msgspec.UNSET
        return self._value((name,), value)

    def _unkept(self, field: str, value: Mapping[str, Any]) -> dict[str, Any]:
        # Of what would not go out, there goes no digest either.
        whole = FIELDS.get(field) is not None and self.whole(field)
        told = ("bytes", "digest") if whole else ("bytes",)
        return {name: value[name] for name in told if name in value}

    def whole(self, field: str) -> bool:
        """Whether all of a field is kept, however deep."""
        return self.audience.act((field,)) == "keep" and not self.audience.further((field,))

    def argument(self, name: str) -> bool:
        """Whether an argument goes out under its name, which may be what somebody has said."""
        return self.audience.act(("args",)) == "keep" or _KEY.fullmatch(name) is not None

    def value(self, path: Path, value: Any) -> Any:
        """A value at a path, where it stands once more: it is not counted."""
        counts, self._counts = self._counts, {}
        try:
            return self._value(path, value)
        finally:
            self._counts = counts

    def seen(self, text: str, value: Any) -> Any:
        """What a condition saw, by all that it speaks of: `args.amount > 5 && user.tier == "a"`."""
        act = max(map(self.audience.act, _spoken_of(text)), key=_ORDER.index)
        return self._done(act, "arguments", "value", value)

    def words(self, value: Any) -> Any:
        """A value without secrets, and without the names that this audience does not get."""
        if isinstance(value, str) and len(value) <= SHORT_WORDS:
            found = self._searched.get(value)
            if found is None:
                if len(self._searched) >= REMEMBERED:
                    self._searched.clear()
                found = self._searched[value] = self._search(value)
            return found
        return self._search(value)

    def _search(self, value: Any) -> Any:
        try:
            data = canonical.encode(value)
            if redact.suspicious(data):
                value = _placed(redact.value(value), value)
            return self._unnamed(value) if self._mentions(data) else value
        except RecursionError:
            return "[hidden: nested too deeply]"

    def names(self, value: Any) -> bool:
        """Whether somebody or something is named in a value that this audience does not get."""
        return self._mentions(canonical.encode(value)) and self._unnamed(value) != value

    def _reason(self, reason: Mapping[str, Any]) -> dict[str, Any]:
        plain = ("id", "effect", "source", "line", "failed", "error")
        found = {name: reason[name] for name in plain if name in reason}
        found["message"] = self._counted("reasons.message", "policy", reason.get("message"))
        measure = reason.get("measure")
        if isinstance(measure, Mapping) and self.audience.parts["policy"] == "keep":
            scope = str(measure.get("scope") or "")
            limited = "scope" in measure
            whose: tuple[Part, ...] = ("users", "tenants", "agents", "ids", "arguments")
            if not self.audience.paths and all(
                self.audience.parts[each] == "keep" for each in whose
            ):
                scope = self.words(scope)
            else:
                # Whom it counts for stands in there as it was, and may hold whatever it likes.
                scope = ", ".join(_SCOPED.findall(scope))
            told = ("control", "max", "used", "wants", "frees_at", "hidden")
            found["measure"] = {name: measure[name] for name in told if name in measure}
            found["measure"] |= {"scope": scope} if limited else {}
        return found

    def _value(self, path: Path, value: Any) -> Any:
        part = FIELDS[path[0]]
        if part is None:
            # A time has as many digits as a card.
            return value if isinstance(value, int | float) else self.words(value)
        act = self.audience.act(path)
        named = len(path) == 1 and path[0] in ("args", "given", "user", "context")
        deeper = self.audience.further(path)
        if isinstance(value, Mapping) and (named or deeper):
            return self._members(path, value, part, act, named=named)
        if isinstance(value, list) and deeper:
            return [self._value((*path, str(at)), each) for at, each in enumerate(value)]
        if act == "keep" and path[0] in _TALK and not isinstance(value, str):
            value = self._spoken(value)
        return self._counted(_called(path), part, value, act, _label(path, part))

    def _spoken(self, value: Any) -> Any:
        """What was said, where calls and their results stand in it, in the words of any provider.

        Of those this audience gets no more than of the calls themselves.
        """
        if self.whole("args") and self.whole("result"):
            return value
        try:
            return self._walk(value)
        except RecursionError:
            return "[hidden: nested too deeply]"

    def _walk(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._walk(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        called = isinstance(value.get("name"), str)
        answers = any(isinstance(value.get(each), str) for each in _OF_CALL)
        told = {}
        for key, member in value.items():
            if called and key in ("arguments", "input"):
                told[key] = self.value(("args",), _decoded(member))
            elif answers and key in ("content", "output"):
                told[key] = self.value(("result",), _decoded(member))
            else:
                told[key] = self._walk(member)
        return told

    def _members(
        self, path: Path, value: Mapping[str, Any], part: Part, act: Act, *, named: bool
    ) -> dict[str, Any]:
        found, rest = {}, {}
        for key, member in value.items():
            own = self.audience.act((*path, key))
            # What a member is called may be what somebody has said, if it is no argument's name.
            told = _KEY.fullmatch(key) if named else own == "keep"
            if act == "keep" or (told and (named or own != act)):
                found[self._unnamed(key)] = self._value((*path, key), member)
            elif self.audience.further((*path, key)):
                found[key] = self._value((*path, key), member)
            else:
                rest[key] = member
        if rest:
            found["…"] = self._counted(f"{_called(path)}.…", part, rest, act, _label(path, part))
        return found

    def _counted(
        self, field: str, part: Part, value: Any, act: Act | None = None, label: str | None = None
    ) -> Any:
        act = self.audience.parts[part] if act is None else act
        goes = self._done(act, part, label or LABELS[part], value)
        if field not in self._counts and len(self._counts) >= COUNTED:
            field = "others"
        count = self._counts.setdefault(field, Count(field=field, part=part))
        count.values += 1
        count.kept += act == "keep"
        count.replaced += act == "replace"
        count.hidden += act == "hide"
        altered = act == "keep" and goes != value
        count.altered += altered
        if count.sample is msgspec.UNSET or (altered and count.altered == 1):
            count.sample = goes
        return goes

    def _done(self, act: Act, part: Part, label: str, value: Any) -> Any:
        if act == "keep":
            return self.words(value)
        if act == "hide":
            return f"[hidden: {part}]"
        return self._placeholder(label, value)

    def _placeholder(self, label: str, value: Any) -> str:
        known = self._numbers.setdefault(label, {})
        try:
            data = canonical.encode(value)
        except RecursionError:
            return f"[hidden: {label}]"
        digest = blake2b(data, key=self._salt, digest_size=16).digest()
        return f"{label}-{known.setdefault(digest, len(known) + 1)}"

    def _mentions(self, data: bytes) -> bool:
        """Whether a name may stand in encoded JSON: False is certain."""
        if not 0 < len(self._names) <= FEW:
            return bool(self._names)
        text = data.decode().casefold()
        return any(map(text.__contains__, self._names))

    def _unnamed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._renamed(value)
        if isinstance(value, Mapping):
            return {self._unnamed(key): self._unnamed(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._unnamed(each) for each in value]
        return value

    def _renamed(self, text: str) -> str:
        if self._names.keys().isdisjoint(map(str.casefold, _WORD.findall(text))):
            return text
        told, end = [], 0
        for word in _WORD.finditer(text):
            begin = word.start()
            if begin < end:
                continue
            beginning = self._names.get(word[0].casefold(), {})
            for length in sorted(beginning, reverse=True):
                meant = beginning[length].get(text[begin : begin + length].casefold())
                after = text[begin + length : begin + length + 1]
                if meant is not None and not _WORD.match(after):
                    goes = self._done(meant.act, meant.part, meant.label, meant.value)
                    told += [text[end:begin], str(goes)]
                    end = begin + length
                    break
        return "".join((*told, text[end:]))


class _Name(NamedTuple):
    """Something that is looked for in words that are kept, and what stands there instead."""

    value: Any
    act: Act
    part: Part
    label: str


def _label(path: Path, part: Part) -> str:
    if part == "ids":
        return _IDS.get(path[0], "id")
    if part == "users":
        return "user" if path in (("user",), ("user", "id")) else "value"
    return LABELS[part]


def _called(path: Path) -> str:
    """What a preview calls the values at a path: no deeper than one knows one's own arguments."""
    name = "args" if path[0] == "given" else path[0]
    return ".".join((name, *path[1:2]))[:80]


def _placed(cleaned: Any, value: Any) -> Any:
    """What was searched for secrets, with the placeholders of what lies elsewhere as they were.

    In the hash of such a value, digits may stand side by side like those of a card.
    """
    match value:
        case {"$sealed": {"sha256": str(name), **more}} if not more:
            return value if len(value) == 1 and _HASH.fullmatch(name) else cleaned
        case {"$blob": {"sha256": str(name), "bytes": int(), **more}} if not more:
            return value if len(value) == 1 and _HASH.fullmatch(name) else cleaned
    if isinstance(value, dict) and isinstance(cleaned, dict) and len(value) == len(cleaned):
        pairs = zip(cleaned.items(), value.values(), strict=True)
        return {key: _placed(found, each) for (key, found), each in pairs}
    if isinstance(value, list) and isinstance(cleaned, list):
        return [_placed(found, each) for found, each in zip(cleaned, value, strict=True)]
    return cleaned


def _decoded(value: Any) -> Any:
    """What models write as JSON in text, as what it says."""
    if isinstance(value, str):
        try:
            return msgspec.json.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return value
    return value


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    left: list[tuple[Path, Any]] = [(path, value)]
    while left:
        at, each = left.pop()
        if isinstance(each, Mapping):
            left += (((*at, key), member) for key, member in reversed(list(each.items())))
        elif isinstance(each, list):
            left += (((*at, str(place)), each[place]) for place in reversed(range(len(each))))
        else:
            yield at, each


_OF_RUN = re.compile(r"\brun\b")
_SPOKEN = re.compile(r"\b(args|user|agent|tenant)\b((?:\.[A-Za-z_][A-Za-z0-9_]*)*)")


_SAID: tuple[Path, ...] = (("prompt",), ("text",))
"""What people have said in a run: its prompt, and the texts of their messages."""


def _spoken_of(text: str) -> list[Path]:
    found: list[Path] = [
        (root, *path.split(".")[1:]) for root, path in _SPOKEN.findall(text[:2_000])
    ]
    if _OF_RUN.search(text[:2_000]):
        found += _SAID
    # What it speaks of may be an input of the policy, under any name.
    return (
        [*found, ("context",)]
        if found and len(text) <= 2_000
        else [("args",), ("user",), ("context",), *_SAID]
    )

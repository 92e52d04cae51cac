"""Looking for calls that two policies decide otherwise, by trying those at their borders."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, combinations, islice, product
from typing import Any, NamedTuple

from saferun.call import Demand, canonical
from saferun.policy.analysis.cell import Standing, rule_meaning
from saferun.policy.analysis.demand import essential
from saferun.policy.analysis.difference import Example
from saferun.policy.analysis.sample import near, simplicity, values
from saferun.policy.analysis.situation import NOW, Known, Situation
from saferun.policy.document import UNSET, Rule
from saferun.policy.matcher import Matcher
from saferun.policy.policy import Policy, Ruling
from saferun.policy.reading import floats_in

MAX_TRIED = 3_000
"""Calls that are tried for each pair of entries, at some microseconds each."""

MAX_EXAMPLES = 20
"""Examples that are told of each pair of entries, the simplest ones."""

_MAX_TOGETHER = 400
_MAX_EACH = 8

MAX_SIZE = 2_000
"""Characters of a text that is tried for its length."""

_NUMBER = re.compile(r"[0-9]{1,4}")
_QUOTED = re.compile(r"[\"']([^\"'\\]{1,100})[\"']")

_ABSENT = object()
_NEUTRAL: Mapping[str, Any] = {
    "string": "a",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
}

Axis = tuple[str, ...]
"""What can be varied: `("args", "amount")`, or a path of what is known."""


class _Verdicts(NamedTuple):
    """What two policies say on one call; equal ones make for the same example."""

    old: str
    new: str
    old_rules: tuple[str, ...]
    new_rules: tuple[str, ...]
    failed: tuple[bool, bool]
    regiven: bool
    demands: tuple[tuple[Demand, ...], tuple[Demand, ...]]


def examples(
    old: Policy,
    new: Policy,
    start: Situation,
    standings: tuple[Standing, Standing],
    pinned: Iterable[Known],
    moved: Iterable[Any] = (),
) -> tuple[Example, ...]:
    """Calls that are decided otherwise, one for each way in which they are, the simplest first.

    `start` says the tool and whom its calls come from, which what is `pinned` is part of.
    `moved` holds schemas of argument objects that are known to be decided otherwise.
    """
    trial = _Trial(old, new, start, standings, frozenset(pinned))
    best: dict[_Verdicts, Situation] = {}
    for tried in islice(trial.situations(moved), MAX_TRIED):
        said = trial.verdicts(tried)
        if said is None:
            continue
        if said not in best or tried.simplicity() < best[said].simplicity():
            best[said] = tried
    shrunk = [trial.shrunk(tried, said) for said, tried in best.items()]
    shrunk.sort(key=Situation.simplicity)
    every = [trial.example(tried) for tried in shrunk]
    # One of each change of verdict goes before a second one of any.
    seen: set[tuple[str, str]] = set()
    first = [e for e in every if (e.old, e.new) not in seen and not seen.add((e.old, e.new))]  # type: ignore[func-returns-value]
    return tuple(first + [each for each in every if each not in first])[:MAX_EXAMPLES]


class _Trial:
    """Two policies on the calls of one cell."""

    def __init__(
        self,
        old: Policy,
        new: Policy,
        start: Situation,
        standings: tuple[Standing, Standing],
        pinned: frozenset[Known],
    ) -> None:
        self._old = old
        self._new = new
        self._standings = standings
        self._rules = [rule for standing in standings for rule in standing.rules]
        self._pinned = pinned
        self._axes = self._varied()
        self._start = start.having(known=self._neutral().items())

    def verdicts(self, tried: Situation) -> _Verdicts | None:
        """What the policies say where they disagree, None where they do not."""
        was, now = self._ruled(tried)
        regiven = was.verdict == now.verdict != "deny" and not _same(was.args, now.args)
        asked = was.verdict == now.verdict == "ask"
        wanted = (essential(was.demands), essential(now.demands)) if asked else ((), ())
        if was.verdict == now.verdict and not regiven and wanted[0] == wanted[1]:
            return None
        failed = (_failed(was), _failed(now))
        return _Verdicts(
            was.verdict, now.verdict, _spoke(was), _spoke(now), failed, regiven, wanted
        )

    def shrunk(self, tried: Situation, said: _Verdicts) -> Situation:
        """The simplest call that the same is said on, by leaving out and replacing."""
        simpler = True
        while simpler:
            simpler = False
            for candidate in self._simpler(tried):
                plainer = candidate.simplicity() < tried.simplicity()
                if plainer and self.verdicts(candidate) == said:
                    tried, simpler = candidate, True
                    break
        return tried

    def example(self, tried: Situation) -> Example:
        was, now = self._ruled(tried)
        regiven = not _same(was.args, now.args) and "deny" not in (was.verdict, now.verdict)
        return Example(
            tool=tried.tool,
            args=dict(tried.args),
            known=tried.told(),
            old=was.verdict,
            new=now.verdict,
            old_rules=_spoke(was),
            new_rules=_spoke(now),
            old_args=was.args if regiven else None,
            new_args=now.args if regiven else None,
            old_demands=was.demands,
            new_demands=now.demands,
        )

    def situations(self, moved: Iterable[Any]) -> Iterator[Situation]:
        bases = self._bases()
        yield from bases
        for schema in moved:
            yield from self._within(schema, bases[0])
        for base in bases:
            for axis, some in self._axes.items():
                yield from (_put(base, ((axis, value),)) for value in some)
        for base in bases:
            for rule in self._rules:
                yield from self._together(base, rule)
        for one, other in combinations(self._axes, 2):
            for pair in product(self._axes[one][:_MAX_EACH], self._axes[other][:_MAX_EACH]):
                yield _put(bases[0], zip((one, other), pair, strict=True))

    def _ruled(self, tried: Situation) -> tuple[Ruling, Ruling]:
        call, facts = tried.call(), tried.facts()
        return self._old.decide(call, facts), self._new.decide(call, facts)

    def _simpler(self, tried: Situation) -> Iterator[Situation]:
        for name in tried.args:
            yield tried.without(name)
        for path in tried.known:
            if path not in self._pinned:
                yield tried.forgetting(path)
        for axis, some in self._axes.items():
            yield from (_put(tried, ((axis, value),)) for value in some if value is not _ABSENT)

    def _varied(self) -> dict[Axis, list[Any]]:
        """Everything that can be varied, with the values to try on it."""
        axes: dict[Axis, list[Any]] = {}
        entries = [standing.entry for standing in self._standings]
        apart = _apart(*self._standings)
        for name in dict.fromkeys(name for entry in entries for name in entry.args or ()):
            # What only one of the policies says comes first: there they part.
            first = list(_looked_for(apart, name))
            described = [
                {**argument.schema, "default": argument.default}
                if argument.default is not UNSET
                else argument.schema
                for entry in entries
                if (argument := (entry.args or {}).get(name)) is not None
            ]
            some = [*values(*first), *values(*described), *values(*_looked_for(self._rules, name))]
            axes["args", name] = [*_distinct(some), _ABSENT]
        if not axes:
            axes["args", "a"] = ["a", _ABSENT]
        for rule in self._rules:
            for path, value in rule.when.constants() if rule.when is not None else ():
                if path[0] == "args" and len(path) > 2:
                    continue
                some = axes.setdefault(path, [])
                known = {canonical.encode(each) for each in some if each is not _ABSENT}
                near_it = (each for one in _items(value) for each in near(one))
                # Such a constant is a border whatever else was found: it goes first.
                some[:0] = [each for each in near_it if canonical.encode(each) not in known]
        return {axis: some for axis, some in axes.items() if axis not in self._pinned}

    def _neutral(self) -> dict[Known, Any]:
        """Something for all that conditions read, so that they can be evaluated."""
        found: dict[Known, Any] = {}
        inputs = {**self._old.document.inputs, **self._new.document.inputs}
        own = {"user.id": "a", "agent": "a", "tenant": "a", "environment": "a", "now": NOW}
        for rule in self._rules:
            for path in rule.when.reads if rule.when is not None else ():
                name = ".".join(path)
                if path[0] == "args" or path in self._pinned:
                    continue
                if name in own:
                    found[path] = own[name]
                elif name in inputs:
                    found[path] = _NEUTRAL.get(inputs[name].get("type", ""), "a")
        return found

    def _bases(self) -> list[Situation]:
        """A call that fits both, one that fits the old entry and one that fits the new."""
        each = [_fitting(standing, self._axes) for standing in self._standings]
        both = {
            name: next((value for value in each[0].get(name, ()) if _in(value, some)), some[0])
            for name, some in each[1].items()
            if some
        }
        least = [{name: some[0] for name, some in fits.items() if some} for fits in each]
        found = {canonical.encode(args): args for args in (both, *least)}
        return [self._start.having(args=args.items()) for args in found.values()]

    def _together(self, base: Situation, rule: Rule) -> Iterator[Situation]:
        """Calls that differ in all that one rule looks at."""
        axes: list[Axis] = [("args", name) for name in rule.args or ()]
        if rule.when is not None:
            axes += [path for path in sorted(rule.when.reads) if path not in axes]
        axes = [axis for axis in axes if axis in self._axes][:5]
        if len(axes) > 1:
            some = product(*(self._axes[axis][:_MAX_EACH] for axis in axes))
            for chosen in islice(some, _MAX_TOGETHER):
                yield _put(base, zip(axes, chosen, strict=True))

    def _within(self, schema: Any, base: Situation) -> Iterator[Situation]:
        """Calls whose arguments a schema of argument objects admits."""
        for branch in schema.get("anyOf", [schema]) if isinstance(schema, dict) else ():
            fits: dict[str, list[Any]] = {}
            for name, held in branch.get("properties", {}).items():
                matcher = Matcher(held if isinstance(held, dict) else {})
                known = [each for each in self._axes.get(("args", name), ()) if each is not _ABSENT]
                some = [each for each in chain(values(held), known) if _admits(matcher, each)]
                fits[name] = sorted(some, key=simplicity)[:_MAX_EACH]
            needed = {name: some[0] for name, some in fits.items() if some}
            least = {name: needed[name] for name in branch.get("required", ()) if name in needed}
            known_here = Situation(tool=base.tool, args=least, known=base.known)
            yield known_here
            yield known_here.having(args=needed.items())
            for name, some in fits.items():
                yield from (known_here.having(args=((name, value),)) for value in some)


def _fitting(standing: Standing, axes: Mapping[Axis, list[Any]]) -> dict[str, list[Any]]:
    """For each argument of an entry the values that fit it, of those to try."""
    fits = {}
    for name, argument in (standing.entry.args or {}).items():
        matcher = Matcher(argument.schema)
        some = [each for each in axes["args", name] if each is not _ABSENT]
        fits[name] = [each for each in some if _admits(matcher, each)]
    return fits


def _admits(matcher: Matcher, value: Any) -> bool:
    return matcher.admits(value, floats=floats_in({"": value}))


def _put(base: Situation, chosen: Iterable[tuple[Axis, Any]]) -> Situation:
    for axis, value in chosen:
        if axis[0] == "args":
            name = axis[1]
            base = base.without(name) if value is _ABSENT else base.having(args=((name, value),))
        else:
            base = base.having(known=((axis, value),))
    return base


def _looked_for(rules: Iterable[Rule], name: str) -> Iterator[Any]:
    """Schemas of the values of one argument that rules look for or make of it."""
    for rule in rules:
        if rule.args and name in rule.args:
            yield rule.args[name]
        yield {"examples": [*_given(rule, name), *_sized(rule, name)]}


def _apart(*standings: Standing) -> list[Rule]:
    """The rules that only one of the policies has."""
    said = [[repr(rule_meaning(rule, {})) for rule in each.rules] for each in standings]
    known = Counter(each for rules in map(set, said) for each in rules)
    return [
        rule
        for standing, rules in zip(standings, said, strict=True)
        for rule, meaning in zip(standing.rules, rules, strict=True)
        if known[meaning] == 1
    ]


def _distinct(some: Iterable[Any]) -> list[Any]:
    return list({canonical.encode(each): each for each in some}.values())


def _given(rule: Rule, name: str) -> Iterator[Any]:
    """What a rule that changes arguments makes of one, and the ends of its range."""
    if name in rule.sets:
        yield rule.sets[name]
    clamp = rule.clamps.get(name)
    for end in (clamp.minimum, clamp.maximum) if clamp is not None else ():
        if end is not None:
            yield from near(end)


def _sized(rule: Rule, name: str) -> Iterator[str]:
    """Texts of the lengths that a condition on one argument speaks of."""
    if rule.when is None or ("args", name) not in rule.when.reads:
        return
    if "size" in rule.when.text:
        for number in _NUMBER.findall(rule.when.text):
            yield from ("a" * size for size in near(int(number)) if 0 <= size <= MAX_SIZE)
    yield from _QUOTED.findall(rule.when.text)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _in(value: Any, some: list[Any]) -> bool:
    return any(_same(value, each) for each in some)


def _same(one: Any, other: Any) -> bool:
    return canonical.encode(one) == canonical.encode(other)


def _spoke(ruling: Ruling) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason.id for reason in ruling.reasons))


def _failed(ruling: Ruling) -> bool:
    """Whether a rule could not be evaluated: another reason for a verdict than that it applies."""
    return any(reason.failed for reason in ruling.reasons)

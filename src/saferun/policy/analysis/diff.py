"""What a new policy decides otherwise than an old one.

Each tool is taken apart into cells (see `cell`), in which both policies have one entry and
certain rules. Where no rule has a condition, what they answer are sets of argument objects, and
the difference is told as schemas and whole. Everywhere, calls at the borders are tried on both.
Two policies are said not to differ only where that is certain.
"""

from collections.abc import Iterable, Iterator
from itertools import islice, permutations

from jsonschema_rs.canonical import CanonicalizationError
from msgspec.structs import replace

from saferun.policy.analysis.answers import ANSWERS, Answers, answers, nothing
from saferun.policy.analysis.cell import MAX_CELLS, Cell, Kind, Standing, cells, kinds, meaning
from saferun.policy.analysis.change import changes
from saferun.policy.analysis.demand import ANYONE, bare, essential
from saferun.policy.analysis.difference import Difference, Example, Moved, ToolDifference
from saferun.policy.analysis.region import is_empty, is_inhabited, read_alike, schema_of
from saferun.policy.analysis.trial import MAX_EXAMPLES, examples
from saferun.policy.document import UNSET
from saferun.policy.policy import Policy


def diff(old: Policy, new: Policy) -> Difference:
    """What `new` decides otherwise than `old`, and which of its settings are others.

    Words, ids and places are no difference. Deterministic: the same two policies have the same
    examples.
    """
    found = (_of(kind, old, new) for kind in kinds(old, new))
    return Difference(
        old=old.ref,
        new=new.ref,
        tools=tuple(each for each in found if each is not None),
        changes=tuple(changes(old, new)),
    )


def _of(kind: Kind, old: Policy, new: Policy) -> ToolDifference | None:
    every = list(islice(cells(kind, old, new), MAX_CELLS + 1))
    pinned = frozenset(path for cell in every for path, _ in cell.who)
    moved: dict[str, Moved] = {}
    shown: list[Example] = []
    differs = len(every) > MAX_CELLS
    told = not differs
    for group, was, now in _apart(every[:MAX_CELLS], old, new):
        here, whole = _moved(was, now)
        if whole and not here and _answered_alike(was, now):
            continue
        differs = True
        told = told and whole
        cell = group[0]
        who = {} if len(group) == len(every) else cell.told()
        for each in here:
            moved.setdefault(f"{each.old} {each.new} {each.schema}", replace(each, who=who))
        schemas = [each.schema for each in here]
        shown += examples(old, new, cell.situation(), (was, now), pinned, schemas)
    if not differs:
        return None
    return ToolDifference(
        tool=kind.said,
        moved=tuple(moved.values()),
        examples=tuple(_distinct(shown))[:MAX_EXAMPLES],
        told=told,
    )


def _apart(
    every: Iterable[Cell], old: Policy, new: Policy
) -> Iterable[tuple[list[Cell], Standing, Standing]]:
    """The cells in which the policies do not rest on the same things, those alike together."""
    groups: dict[str, tuple[list[Cell], Standing, Standing]] = {}
    for cell in every:
        was, now = cell.standing(old), cell.standing(new)
        mine = meaning(was, dict(old.document.inputs))
        theirs = meaning(now, dict(new.document.inputs))
        if mine != theirs:
            groups.setdefault(repr((mine, theirs)), ([], was, now))[0].append(cell)
    return groups.values()


def _moved(was: Standing, now: Standing) -> tuple[list[Moved], bool]:
    """What is certainly answered otherwise, and whether that is all there can be."""
    found: list[Moved] = []
    try:
        before, after = _answers(was), _answers(now)
        if before is None or after is None or not _comparable(was, now):
            return [], False
        regions = {
            (one, other): after.newly(before, one, other) for one, other in permutations(ANSWERS, 2)
        }
    except CanonicalizationError:
        # Two schemas of which the library has no difference, as it says.
        return [], False
    whole = True
    for (one, other), region in regions.items():
        if is_inhabited(region):
            found.append(Moved(old=one, new=other, schema=schema_of(region)))
        elif not is_empty(region):
            whole = False
    return found, whole


def _answers(standing: Standing) -> Answers | None:
    return nothing() if standing.stuck else answers(standing.entry, standing.rules)


def _comparable(was: Standing, now: Standing) -> bool:
    """Whether both read the numbers in every argument alike, so that one schema speaks for both."""
    every = [rule for standing in (was, now) for rule in standing.rules]
    entries = [standing.entry.args or {} for standing in (was, now)]
    return all(
        read_alike(
            [args[name].schema for args in entries if name in args],
            [rule.args[name] for rule in every if rule.args and name in rule.args],
        )
        for name in {name for args in entries for name in args}
    )


def _answered_alike(was: Standing, now: Standing) -> bool:
    """Whether also the tool gets the same arguments, and the same people may answer."""

    def rest(standing: Standing) -> object:
        defaults = {
            name: argument.default
            for name, argument in (standing.entry.args or {}).items()
            if argument.default is not UNSET
        }
        asking = [
            (repr(rule.args), bare(rule.demand))
            for rule in standing.rules
            if rule.demand is not None
        ]
        # Whichever rule it is that asks, the yes of anyone is the same.
        whom = sorted(map(repr, asking)) if any(wanted != ANYONE for _, wanted in asking) else []
        return repr(defaults), standing.entry.opaque, whom

    return rest(was) == rest(now)


def _distinct(shown: Iterable[Example]) -> Iterator[Example]:
    """The first example of each change of verdict by the same rules."""
    seen = set()
    for each in shown:
        wanted = essential(each.old_demands), essential(each.new_demands)
        key = (each.old, each.new, each.old_rules, each.new_rules, wanted)
        if (key, each.new_args is None) not in seen:
            seen.add((key, each.new_args is None))
            yield each

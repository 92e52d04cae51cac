"""What rules and limits in shadow have said of real calls, and what people say of these."""

import msgspec

from saferun.ledger import EntryError, read
from saferun.policy import Policy
from saferun.replay.suggest.effect import EXAMPLES, Example
from saferun.store.index import Index
from saferun.store.labels import Labelled, labels


class Review(msgspec.Struct, kw_only=True):
    """One rule or limit in shadow: the calls of `runs` runs that it would have stopped.

    People have called `right` of these hits right to stop and `false` of them false alarms.
    `failed` counts the calls of which it could not tell, or which a limit cannot count. `newest`
    are hits to look at.
    """

    id: str
    hits: int = 0
    runs: int = 0
    right: int = 0
    false: int = 0
    failed: int = 0
    newest: list[Example] = []

    @property
    def unlabelled(self) -> int:
        return self.hits - self.right - self.false

    @property
    def precision(self) -> float | None:
        """The share of its labelled hits that were right; None where none is labelled."""
        labelled = self.right + self.false
        return self.right / labelled if labelled else None


def reviews(index: Index, policy: Policy) -> list[Review]:
    """What is in shadow in a policy, in its order. The index has to be built."""
    said = labels(index)
    document = policy.document
    found = [limit.id for limit in document.limits if limit.shadow]
    for tool in document.tools:
        found += [rule.id for rule in tool.rules if rule.shadow]
        found += [limit.id for limit in tool.limits if limit.shadow]
    return [_review(index, rule, said) for rule in found]


def _review(index: Index, rule: str, said: dict[int, Labelled]) -> Review:
    told, runs = Review(id=rule), set[str | None]()
    asked: set[str] = set()
    seqs = index.numbers({"kind": ("decision",), "rule": (rule,)})
    for seq, body, _ in index.reader.several(seqs):
        try:
            fields = read(body).fields
        except EntryError:
            continue
        spoke = [each for each in fields.get("shadow", ()) if each["id"] == rule]
        request = fields.get("approval")
        if not spoke or request in asked:
            continue
        if request is not None:
            # The answer to a question is of the same call.
            asked.add(request)
        if spoke[0].get("failed"):
            told.failed += 1
            continue
        told.hits += 1
        runs.add(fields.get("run"))
        told.newest = [*told.newest, Example(run_id=fields.get("run"), seq=seq)][-EXAMPLES:]
        label = said.get(seq)
        told.right += label is not None and label.mark == "right"
        told.false += label is not None and label.mark == "false"
    told.runs = len(runs)
    return told

"""Small changes of a policy, each of which a test should notice."""

from pathlib import Path

import pytest

from saferun.policy import loads as policy_of
from saferun.policy import restore
from saferun.suites.file import loads
from saferun.suites.mutation import MAX_MUTANTS, mutants
from saferun.suites.run import passes

TEXT = """\
version: 1
name: shop
definitions: {id: {type: string, maxLength: 8}}
limits: [{id: calls, max: 5, per: run}]
tools:
  refund:
    effect: write
    args:
      amount: {type: integer, unit: cents, minimum: 1, maximum: $10}
      currency: {enum: [USD, EUR]}
      order: {use: id}
    rules:
      - {id: big, ask: [finance], when: args.amount > 500}
      - {id: euro, deny: true, args: {currency: {const: EUR}, amount: {minimum: $2}}}
      - {id: cap, clamp: {amount: {maximum: 900}}, args: {currency: {const: USD}}}
      - {id: ops, deny: true, for: {agent: ops}}
      - {id: fix, set: {order: A, currency: USD}, when: args.amount == 7}
scopes:
  - for: {agent: ops}
    tools:
      refund: {effect: write, args: {amount: {type: integer, forbid: [5, 6]}}}
"""
POLICY = policy_of(TEXT)


def _changes() -> list[str]:
    return [mutant.what for mutant in mutants(POLICY)]


@pytest.mark.parametrize(
    "change",
    [
        "`default` is allow instead of deny",
        "the limit `calls` is gone",
        "`for` of the rule `ops` is gone",
        "the limit `calls` has `max: 4` instead of 5",
        "the limit `calls` has `max: 6` instead of 5",
        "the rule `big` is gone",
        "the rule `big` says `deny` instead of `ask`",
        "the rule `euro` says `ask` instead of `deny`",
        "`args.amount` of `refund` has `maximum: 999` instead of $10",
        "`args.amount` of `refund` has `maximum: 1001` instead of $10",
        '`args.currency` of `refund` has no "EUR" under `enum`',
        "`args.amount` of the rule `euro` has `minimum: 199` instead of $2",
        "`args.currency` of the rule `euro` is gone",
        "`clamp` of the rule `cap` has `maximum: 901` instead of 900",
        "`set` of `order` of the rule `fix` is gone",
        "`args.amount` of `refund` has no 5 under `forbid`",
        "`args.amount` of `refund` has no `forbid`",
        "the definition `id` has `maxLength: 7` instead of 8",
    ],
)
def test_every_part_of_a_policy_is_changed(change) -> None:
    assert change in _changes()


def test_every_variant_of_a_condition_is_tried() -> None:
    rule = POLICY.document.tools[0].rules[0]
    assert rule.when is not None
    made = [what for what in _changes() if what.startswith("`when` of the rule `big`")]
    assert len(made) == len(list(rule.when.variants())) > 3


def test_each_mutant_is_one_change_and_most_are_policies_of_their_own() -> None:
    made = mutants(POLICY)
    policies = [mutant.policy() for mutant in made]
    versions = [policy.version for policy in policies if policy is not None]
    assert POLICY.version not in versions
    assert len(set(versions)) == len(versions) > 0.9 * len(made)


def test_making_mutants_leaves_the_policy_as_it_is() -> None:
    before = POLICY.canonical
    mutants(POLICY)
    assert POLICY.canonical == before
    assert restore(before).version == POLICY.version


def test_mutants_come_in_the_same_order_each_time() -> None:
    assert mutants(POLICY) == mutants(policy_of(TEXT))


def test_a_change_that_makes_no_policy_is_none() -> None:
    once = policy_of(
        "version: 1\nname: a\nlimits: [{id: a, max: 1, per: run}]\ntools: {t: {effect: read}}\n"
    )
    [zero] = [mutant for mutant in mutants(once) if "max: 0" in mutant.what]
    assert zero.policy() is None


def test_a_rule_that_denies_instead_of_asking_demands_nothing_of_people() -> None:
    rule = "{id: r, ask: [a], approvals: 2, expires: 1h, edits: [x], own: true}"
    asking = policy_of(
        "version: 1\nname: a\ntools:\n"
        f"  t: {{effect: read, args: {{x: {{type: integer}}}}, rules: [{rule}]}}\n"
    )
    [flipped] = [mutant for mutant in mutants(asking) if "`deny` instead of `ask`" in mutant.what]
    made = flipped.policy()
    assert made is not None
    assert made.document.tools[0].rules[0].answer == "deny"


def test_a_large_policy_is_changed_evenly_and_not_without_end() -> None:
    tools = "".join(
        f"  t{at}: {{effect: read, args: {{a: {{type: integer, maximum: {at}}}}}}}\n"
        for at in range(200)
    )
    made = mutants(policy_of(f"version: 1\nname: a\ntools:\n{tools}"))
    assert len(made) == MAX_MUTANTS
    assert (made[0].at, made[-1].at[1]) == (("default",), "t199")


def test_a_test_at_each_side_of_a_bound_notices_that_it_moves() -> None:
    policy = policy_of(
        "version: 1\nname: a\ntools: {t: {effect: read, args: {a: {type: integer, maximum: 9}}}}"
    )
    bound = [mutant for mutant in mutants(policy) if "maximum" in mutant.what]
    at = "{name: at, call: {tool: t, args: {a: 9}}, expect: allow}"
    above = "{name: above, call: {tool: t, args: {a: 10}}, expect: deny}"

    def survivors(*cases: str) -> int:
        suite = loads(f"cases: [{', '.join(cases)}]", Path("a.test.yaml"))
        made = [mutant.policy() for mutant in bound]
        return sum(each is not None and passes(each, [suite]) for each in made)

    assert [survivors(at), survivors(above), survivors(at, above)] == [1, 1, 0]

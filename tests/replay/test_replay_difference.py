"""Two runs side by side: what stands for what, what differs, and where they first part."""

from recording import indexed
from saferun.replay import Difference, Playback, difference


def compared(file) -> Difference:
    with indexed(file) as index:
        return difference(Playback(index, "r-1").outline, Playback(index, "r-2").outline)


def numbers(found: Difference) -> list[tuple[int | None, int | None]]:
    return [(pair.one, pair.other) for pair in found.pairs]


def test_two_runs_that_did_the_same_never_part(file, run, begun) -> None:
    for each in (run, begun("r-2")):
        each.model()
        each.call()
        each.denied()
    found = compared(file)
    assert all(pair.same for pair in found.pairs)
    assert (found.first, found.counts["same"]) == (None, 3)


def test_other_arguments_part_them_and_the_rest_is_still_aligned(file, run, begun) -> None:
    for each, amount in ((run, 4), (begun("r-2"), 5)):
        each.call("lookup")
        each.call("refund", {"amount": amount})
        each.call("mail")
    found = compared(file)
    assert numbers(found) == [(1, 1), (2, 2), (3, 3)]
    assert [pair.differs for pair in found.pairs] == [(), ("args",), ()]
    assert found.first == 1


def test_a_call_that_one_run_alone_made_parts_them(file, run, begun) -> None:
    other = begun("r-2")
    run.call("lookup")
    run.call("mail")
    other.call("lookup")
    other.call("drop")
    other.call("mail")
    found = compared(file)
    assert numbers(found) == [(1, 1), (None, 2), (2, 3)]
    assert (found.first, found.counts["only_other"]) == (1, 1)


def test_another_verdict_another_result_and_another_cost_are_told_apart(file, run, begun) -> None:
    other = begun("r-2")
    run.call("a")
    other.denied("a")
    run.call("b", result=1)
    other.call("b", result=2)
    run.call("c", cost=1)
    other.call("c", cost=2)
    run.call("d", status="error")
    other.call("d")
    assert [pair.differs for pair in compared(file).pairs] == [
        ("verdict", "result"),
        ("result",),
        ("cost",),
        ("result",),
    ]


def test_other_words_and_other_costs_do_not_part_two_runs(file, run, begun) -> None:
    run.model("Right away.", cost_usd=0.1)
    begun("r-2").model("At once.", cost_usd=0.2)
    found = compared(file)
    assert [pair.differs for pair in found.pairs] == [("said", "cost")]
    assert found.first is None


def test_a_run_against_an_empty_one_is_there_alone(file, run, begun) -> None:
    begun("r-2")
    run.call()
    found = compared(file)
    assert (numbers(found), found.first) == ([(1, None)], 0)

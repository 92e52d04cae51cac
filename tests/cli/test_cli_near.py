"""`saferun run near`: the near misses that wait for somebody's word."""

from cli.project import lines
from saferun import guard, run


def test_near_misses_wait_until_they_are_labelled(saferun, history, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    saferun("login", "dana", "--new")
    [found] = lines(saferun("run", "near", "--json"))
    assert (found["run_id"], found["frame"], found["tool"]) == (history, 4, "refund")
    assert found["near"] == ["approved", "retried"]
    assert f"{history}#4" in saferun("run", "near").stdout
    saferun("run", "label", f"{history}#4", "-")
    assert lines(saferun("run", "near", "--json")) == []
    assert "none that nobody has labelled" in saferun("run", "near").stdout
    [found] = lines(saferun("run", "near", "--all", "--json"))
    assert found["label"] == "false"


def test_the_list_is_as_long_as_it_is_asked_to_be(saferun, history) -> None:
    assert len(lines(saferun("run", "near", "--limit", "1", "--json"))) == 1


def test_of_a_limit_that_a_call_came_close_to_it_says_how_it_stands(saferun, policy) -> None:
    policy.write_text(
        "version: 1\nname: production\ntools:\n  read: {effect: read, args: any}\n"
        "limits: [{id: few-calls, max: 2, per: run}]\n"
    )
    tool = guard(lambda: "done", name="read", policy="production")
    with run(run_id="r-1"):
        tool()
        tool()
    [found] = lines(saferun("run", "near", "--json"))
    assert (found["frame"], found["near"]) == (2, ["limit"])
    said = saferun("run", "show", "r-1", "--frame", "2").stdout
    assert "few-calls: limit: 2 of 2" in said

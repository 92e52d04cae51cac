"""`saferun run near`: the near misses that wait for somebody's word."""

from cli.project import lines


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

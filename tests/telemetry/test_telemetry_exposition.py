"""The figures of a store as text: what Prometheus reads of them, and who may."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from console.serving import serving
from guarding import Yes, enforcing, observing
from saferun import Denied, Gate, StoreError, config, guard
from saferun.config import ApprovalTable, Config, MetricsTable
from saferun.console import Console
from saferun.policy import loads
from saferun.telemetry import exposition, metrics
from telemetry_policies import ASKS, CLOSED

NOW = 1_800_000_000_000_000


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    exposition._kept.clear()
    yield
    exposition._kept.clear()


def figures(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Each value by its name and the values of its labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def told(gate: Gate) -> dict[tuple[str, tuple[str, ...]], float]:
    gate.store.flush()
    return figures(metrics(gate.store.path, NOW))


def test_calls_denials_times_and_tokens_are_counted() -> None:
    gate = observing()
    with gate.run() as run:
        run.model("Hi.", model="m", input_tokens=7, output_tokens=2, cost_usd=0.5)
        guard(lambda: 1, name="tool", gate=gate)()
    with pytest.raises(Denied):
        guard(lambda: 1, name="shut", gate=enforcing(CLOSED))()
    found = told(gate)
    assert found["saferun_calls_total", ("tool", "allow", "ok")] == 1
    assert found["saferun_calls_total", ("shut", "deny", "not_run")] == 1
    assert sum(n for (name, _), n in found.items() if name == "saferun_denials_total") == 1
    assert found["saferun_tool_duration_seconds_count", ("tool",)] == 1
    assert found["saferun_tool_duration_seconds_bucket", ("tool", "+Inf")] == 1
    assert found["saferun_model_tokens_total", ("m", "input")] == 7
    assert found["saferun_cost_usd_total", ("model", "m")] == 0.5
    assert found["saferun_ledger_entries", ()] == gate.store.size()
    assert found["saferun_ledger_unread_entries", ()] == 0


def test_what_people_answered_and_what_waits_is_told() -> None:
    gate = Gate(policy=loads(ASKS), approvals=Yes())
    guard(lambda: 1, name="refund", gate=gate)()
    found = told(gate)
    assert found["saferun_approval_duration_seconds_count", ("approved",)] == 1
    assert found["saferun_approvals_waiting", ()] == 0


def test_a_request_that_is_open_waits() -> None:
    from saferun.call import Call

    gate = Gate(policy=loads(ASKS), approvals="console")
    assert gate.check(Call(tool="refund", args={}), leaves=True).verdict == "ask"
    gate.store.flush()
    waiting = ("saferun_approvals_waiting", ())
    assert figures(metrics(gate.store.path, gate.store.now()))[waiting] == 1
    # By then nobody can answer it any more.
    assert figures(metrics(gate.store.path, NOW * 2))[waiting] == 0


def test_figures_are_of_the_store_and_not_of_who_is_asked() -> None:
    gate = observing()
    tool = guard(lambda: 1, name="tool", gate=gate)
    for _ in range(3):
        tool()
        known = told(gate)
    exposition._kept.clear()
    assert told(gate) == known
    assert known["saferun_calls_total", ("tool", "allow", "ok")] == 3


def test_a_long_history_is_read_in_steps_and_says_how_much_is_left(monkeypatch) -> None:
    gate = observing()
    for _ in range(4):
        guard(lambda: 1, name="tool", gate=gate)()
    monkeypatch.setattr(exposition, "AT_ONCE", 5)
    first, second = told(gate), told(gate)
    assert first["saferun_ledger_unread_entries", ()] == 4
    assert second["saferun_ledger_unread_entries", ()] == 0
    assert second["saferun_calls_total", ("tool", "allow", "ok")] == 4


def test_a_store_that_was_put_back_is_read_anew() -> None:
    gate = observing()
    guard(lambda: 1, name="tool", gate=gate)()
    told(gate)
    kept = exposition._kept[gate.store.path]
    exposition._kept[gate.store.path] = kept._replace(leaf=b"another")
    guard(lambda: 1, name="tool", gate=gate)()
    assert told(gate)["saferun_calls_total", ("tool", "allow", "ok")] == 2


def test_hostile_names_are_escaped_and_few() -> None:
    gate = observing()
    odd = 'a"b\\c{}'
    guard(lambda: 1, name=odd, gate=gate)()
    with gate.run() as run:
        run.model("Hi.", model=f"{odd}\nd", input_tokens=1)
    assert told(gate)["saferun_calls_total", (odd, "allow", "ok")] == 1
    assert told(gate)["saferun_model_tokens_total", (f"{odd}\nd", "input")] == 1
    for number in range(250):
        guard(lambda: 1, name=f"tool{number}", gate=gate)()
    found = told(gate)
    assert sum(name == "saferun_calls_total" for name, _ in found) == 201
    assert found["saferun_calls_total", ("(other)", "allow", "ok")] == 51


def test_there_is_no_text_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        metrics(tmp_path / "none.db", NOW)


def scraped(settings: Config, headers: dict[str, str]) -> tuple[int, bytes, str]:
    gate = observing()
    guard(lambda: 1, name="tool", gate=gate)()
    gate.store.flush()
    with serving(Console(gate.store, settings)) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
        try:
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("content-type", "")
        finally:
            connection.close()


def test_a_program_on_this_machine_may_scrape_where_no_token_is_named() -> None:
    status, text, kind = scraped(config.load(), {})
    assert (status, kind) == (200, exposition.CONTENT_TYPE)
    assert figures(text)["saferun_calls_total", ("tool", "allow", "ok")] == 1


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_whoever_comes_by_a_proxy_may_not(header: str) -> None:
    status, text, _ = scraped(config.load(), {header: "127.0.0.1"})
    assert status == 401
    assert b"saferun_" not in text


def test_a_console_that_is_reached_from_outside_takes_no_program_for_one_of_this_machine() -> None:
    outside = ApprovalTable(url="https://saferun.example")
    settings = msgspec.structs.replace(config.load(), approval=outside)
    assert scraped(settings, {})[0] == 401


@pytest.mark.parametrize(
    ("token", "sent", "status"),
    [
        ("secret", "Bearer secret", 200),
        ("secret", "bearer secret", 200),
        ("secret", "Bearer other", 401),
        ("secret", "Basic secret", 401),
        ("secret", None, 401),
        ("", "Bearer ", 401),
    ],
)
def test_where_a_token_is_named_it_has_to_be_sent(
    monkeypatch, token: str, sent: str | None, status: int
) -> None:
    monkeypatch.setenv("SCRAPE", token)
    settings = msgspec.structs.replace(config.load(), metrics=MetricsTable(token_env="SCRAPE"))
    headers = {} if sent is None else {"authorization": sent}
    assert scraped(settings, headers)[0] == status


def test_the_configuration_names_where_the_token_is() -> None:
    text = '[metrics]\ntoken_env = "SCRAPE"\n'
    Path("saferun.toml").write_text(text, encoding="utf-8")
    assert config.load().metrics.token_env == "SCRAPE"

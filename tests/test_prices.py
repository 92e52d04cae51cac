"""What model turns cost: by the price list of genai-prices, without a word over the network."""

import subprocess
import sys
from decimal import Context, Decimal, localcontext

import pytest

from guarding import enforcing, entries, observing
from saferun import guard, prices


@pytest.fixture(autouse=True)
def _unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_unpriced", {})


def recorded(**turn) -> dict:
    """A model turn as the ledger has it, where it is the last."""
    gate = observing()
    with gate.run(agent="a") as run:
        run.model("Hello.", **turn)
    return entries(gate, "model")[-1]


def test_a_turn_costs_what_its_model_takes_for_its_tokens():
    # $2.50 for a million tokens in, $10 for a million out.
    assert prices.cost("gpt-4o", 812, 96) == Decimal("0.00299")
    assert recorded(model="gpt-4o", input_tokens=812, output_tokens=96)["cost_usd"] == 0.00299


def test_a_cost_is_rounded_up_to_a_micro_dollar():
    assert prices.cost("gpt-4o", 1, 0) == Decimal("0.0000025")
    assert recorded(model="gpt-4o", input_tokens=1, output_tokens=0)["cost_usd"] == 0.000003


def test_a_cost_that_the_application_knows_goes_before_the_list():
    turn = {"model": "gpt-4o", "input_tokens": 812, "output_tokens": 96}
    assert recorded(**turn, cost_usd=0.5)["cost_usd"] == 0.5
    assert recorded(**turn, cost_usd=0.0)["cost_usd"] == 0.0


def test_a_name_may_have_its_provider_before_it():
    plain = prices.cost("claude-sonnet-4-5", 1000, 1000)
    assert plain == Decimal("0.018")
    assert prices.cost("anthropic/claude-sonnet-4-5", 1000, 1000) == plain


def test_tokens_that_are_not_given_count_as_none():
    assert prices.cost("gpt-4o", 1000, None) == Decimal("0.0025")
    assert prices.cost("gpt-4o", None, 1000) == Decimal("0.01")
    assert prices.cost("gpt-4o", None, None) is None


def test_the_decimals_of_the_application_change_no_price():
    turn = {"input_tokens": 123_457, "output_tokens": 96}
    with localcontext(Context(prec=2)):
        assert prices.cost("gpt-4o", 123_457, 96) == Decimal("0.3096025")
        assert recorded(model="gpt-4o", **turn)["cost_usd"] == 0.309603


def test_a_model_that_is_not_on_the_list_has_no_cost_and_is_logged_once(caplog):
    gate = observing()
    with gate.run(agent="a") as run:
        for model in ("secret-1", "secret-1", "secret-2", "secret-1"):
            run.model("Hello.", model=model, input_tokens=5, output_tokens=5)
    assert all("cost_usd" not in entry for entry in entries(gate, "model"))
    said = [each.getMessage() for each in caplog.records]
    assert [each.split("'")[1] for each in said] == ["secret-1", "secret-2"]


def test_names_without_a_price_are_remembered_up_to_a_bound(monkeypatch, caplog):
    monkeypatch.setattr(prices, "MAX_NAMED", 3)
    for number in range(10):
        assert prices.cost(f"none-{number}" * 50, 1, 1) is None
    assert len(caplog.records) == 3
    assert max(len(each.getMessage()) for each in caplog.records) < 300


@pytest.mark.parametrize("tokens", [-1, 1.5, "many", 1 << 80, True])
def test_what_is_no_count_is_left_out_and_the_turn_is_kept(tokens):
    entry = recorded(model="gpt-4o", input_tokens=tokens, output_tokens=100)
    assert "input_tokens" not in entry
    assert entry["cost_usd"] == 0.001


@pytest.mark.parametrize("cost", [-1, float("nan"), float("inf"), "much", 1e300, Decimal("NaN")])
def test_what_is_no_amount_is_left_out_and_the_turn_is_kept(cost, caplog):
    entry = recorded(cost_usd=cost)
    assert "cost_usd" not in entry
    assert entry["output"] == "Hello."
    assert "counts towards no budget" in caplog.text


def test_a_cost_may_be_a_decimal_and_the_ledger_can_still_be_read():
    gate = enforcing(
        "version: 1\ntools:\n  look: {effect: read, args: {},"
        " rules: [{id: dear, deny: true, when: run.cost_usd > 1.0}]}\n"
    )
    with gate.run(agent="a") as run:
        run.model("Hello.", cost_usd=Decimal("0.1234567"))
        assert guard(lambda: "seen", name="look", gate=gate)() == "seen"
    assert [entry["cost_usd"] for entry in entries(gate, "model")] == [0.123457]


def test_without_the_package_a_cost_is_unknown_and_that_is_said_once(monkeypatch, caplog):
    # What Python itself keeps for a module that is not to be found.
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    prices._prices.cache_clear()
    try:
        for _ in range(2):
            entry = recorded(model="gpt-4o", input_tokens=812, output_tokens=96)
    finally:
        prices._prices.cache_clear()
    assert "cost_usd" not in entry
    assert entry["input_tokens"] == 812
    [said] = caplog.records
    assert "saferun-sdk[prices]" in said.getMessage()


WATCHED = """
import sys, threading
touched = []
sys.addaudithook(lambda event, args: touched.append(event) if event.startswith("socket.") else None)
import saferun
lazy = [name for name in ("genai_prices", "pydantic", "httpx2") if name in sys.modules]
gate = saferun.Gate()
with gate.run(agent="a") as run:
    run.model("Hello.", output_tokens=5, cost_usd=0.1)
    lazy += [name for name in ("genai_prices", "pydantic") if name in sys.modules]
    run.model("Hello.", model="gpt-4o", input_tokens=812, output_tokens=96)
    run.model("Hello.", model="unheard-of", input_tokens=812, output_tokens=96)
from genai_prices import data_snapshot
assert "genai_prices" in sys.modules
assert data_snapshot._custom_snapshot is None
assert not [thread for thread in threading.enumerate() if "price" in thread.name.lower()]
gate.close()
print(lazy, touched)
"""


def test_the_list_is_read_only_when_it_is_needed_and_nothing_is_fetched():
    watched = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, check=True, text=True, timeout=60
    )
    assert watched.stdout == "[] []\n"


@pytest.mark.parametrize("tokens", [(812, 96), (300_000, 7), (0, 5), (None, 9), (1_000, None)])
def test_a_remembered_price_is_what_the_list_says_for_every_model_and_length(tokens):
    from genai_prices import Usage, calc_price
    from genai_prices.data_snapshot import get_snapshot

    held = dict(zip(("input_tokens", "output_tokens"), tokens, strict=True))
    for provider in get_snapshot().providers:
        for model in provider.models:
            name = f"{provider.id}/{model.id}"
            try:
                with localcontext(Context(prec=50)):
                    listed = calc_price(Usage(**held), name, provider_id="litellm").total_price
            except (LookupError, ValueError):
                listed = None
            assert prices.cost(name, *tokens) == listed

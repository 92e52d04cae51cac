"""What a turn of a model costs, by the price list of genai-prices (the extra `prices`).

The list comes with the installed package. Nothing is fetched: its updates over the network begin
only where an application starts them, and what such an application fetches holds here as well.
Without the package, no cost is known.
"""

import functools
import logging
import time
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple, TypeAlias

FRESH = 60.0
"""Seconds that a model's price is remembered: prices change with the hour and the date."""

_PER = 1_000_000

MAX_NAMED = 1_000
"""Models without a price that are remembered, so that each is logged once."""

_SHOWN = 100

log = logging.getLogger("saferun")

_unpriced: dict[str, object] = {}

_List: TypeAlias = Callable[[str, int | None, int | None], Decimal]


def cost(model: str, input_tokens: int | None, output_tokens: int | None) -> Decimal | None:
    """What a turn costs in US dollars, None where that cannot be told.

    Tokens that are not given count as none. `model` is a name as its provider has it, or with
    the provider before a slash: `gpt-4o`, `openai/gpt-4o`. Never raises.
    """
    if input_tokens is None and output_tokens is None:
        return None
    priced = _prices()
    if priced is None:
        return None
    try:
        # What the application has set for its own decimals counts for nothing here.
        with localcontext(Context(prec=50)):
            found = priced(model, input_tokens, output_tokens)
    except Exception:  # noqa: BLE001 - a price that is not known stops no agent
        _tell(model)
        return None
    return found


@functools.cache
def _prices() -> _List | None:
    """The price list, read at its first use: it takes a good tenth of a second."""
    try:
        from genai_prices import Usage, calc_price
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        log.warning(
            "saferun: what model turns cost is not known and counts towards no budget; "
            "install saferun-sdk[prices], or say it with run.model(..., cost_usd=...)"
        )
        return None
    except Exception as problem:  # noqa: BLE001 - a package that is broken stops no agent
        log.warning("saferun: genai-prices cannot be used, so no cost is known: %s", problem)
        return None

    known: dict[str, _Rate] = {}

    def priced(model: str, input_tokens: int | None, output_tokens: int | None) -> Decimal:
        rate = known.get(model)
        if rate is None or rate.until < time.monotonic() or rate.snapshot is not get_snapshot():
            if len(known) >= MAX_NAMED:
                known.clear()
            rate = known[model] = _rate(model, whole)
        if rate.even:
            return rate.of(input_tokens or 0, output_tokens or 0)
        told: Decimal = whole(model, input_tokens, output_tokens).total_price
        return told

    def whole(model: str, input_tokens: int | None, output_tokens: int | None) -> Any:
        tokens = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        # By the rules for names as LiteLLM has them, which hold for plain names as well.
        return calc_price(tokens, model, provider_id="litellm")

    def _rate(model: str, ask: Callable[[str, int, int], Any]) -> _Rate:
        none = ask(model, 0, 0)
        return _Rate(
            snapshot=get_snapshot(),
            until=time.monotonic() + FRESH,
            even=all(
                price is None or isinstance(price, Decimal)
                for price in vars(none.model_price).values()
            ),
            none=none.total_price,
            read=ask(model, _PER, 0).total_price - none.total_price,
            written=ask(model, 0, _PER).total_price - none.total_price,
        )

    return priced


class _Rate(NamedTuple):
    """What a model costs, in dollars: for a turn, and for a million tokens read and written.

    Asking the list takes a tenth of a millisecond, and each turn waits for it. Where no price
    depends on the number of tokens (`even`), three questions answer all others.
    """

    snapshot: object
    until: float
    even: bool
    none: Decimal
    read: Decimal
    written: Decimal

    def of(self, read: int, written: int) -> Decimal:
        return self.none + (self.read * read + self.written * written) / _PER


def _tell(model: Any) -> None:
    named, mine = str(model)[:_SHOWN], object()
    # Of two threads that meet here, one logs.
    if len(_unpriced) >= MAX_NAMED or _unpriced.setdefault(named, mine) is not mine:
        return
    log.warning(
        "saferun: the cost of model %r is not known and counts towards no budget; "
        "say it with run.model(..., cost_usd=...)",
        named,
    )

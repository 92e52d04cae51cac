"""What a turn of a model costs, by the price list of genai-prices (the extra `prices`).

The list comes with the installed package. Nothing is fetched: its updates over the network begin
only where an application starts them, and what such an application fetches holds here as well.
Without the package, no cost is known.
"""

import functools
import logging
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any, TypeAlias

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
    except ImportError:
        log.warning(
            "saferun: what model turns cost is not known and counts towards no budget; "
            "install saferun-sdk[prices], or say it with run.model(..., cost_usd=...)"
        )
        return None
    except Exception as problem:  # noqa: BLE001 - a package that is broken stops no agent
        log.warning("saferun: genai-prices cannot be used, so no cost is known: %s", problem)
        return None

    def priced(model: str, input_tokens: int | None, output_tokens: int | None) -> Decimal:
        tokens = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        # By the rules for names as LiteLLM has them, which hold for plain names as well.
        return calc_price(tokens, model, provider_id="litellm").total_price

    return priced


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

"""Runs as files that can be carried off, and what stands in them."""

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from recording import played
from saferun.audience import AUDIENCES, Audience, Showing
from saferun.console import carried

NOW = 1_763_942_400_000_000


def made(file: Path, audience: str = "full", run: str = "r-1", **but: list[str]) -> bytes:
    """The page of a run, for an audience but for some parts and paths."""
    chosen = Audience(name=audience, parts=AUDIENCES[audience])
    for act, what in but.items():
        chosen = chosen.but(act, what)
    with played(file, run, opens=False) as play:
        return carried.page(play, Showing(chosen, b"salt"), NOW)


def packed(page: bytes) -> dict[str, Any]:
    """What a page brings with it, by its name."""
    found = re.findall(rb'<script type="application/gzip" id="([^"]+)">([^<]*)</script>', page)
    return {name.decode(): json.loads(gzip.decompress(b64decode(data))) for name, data in found}


def everything(page: bytes) -> str:
    """All that can be read in a page, packed or not."""
    return page.decode() + json.dumps(packed(page), ensure_ascii=False)

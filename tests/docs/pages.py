"""The examples of a page, and what the page says about them.

An example is a fenced block. What must be known to run it stands in HTML comments right
before it, which a reader of the page does not see:

    <!-- file: PATH -->       the block is the text of that file
    <!-- with: PATH -->       that file, which the page shows further down, is needed already
    <!-- before ... -->       Python that sets the stage
    <!-- exit: 2 -->          the status that the command ends with, where it is not 0
    <!-- keys: y n -->        the command runs in a terminal, where these are typed when it asks
    <!-- not run: REASON -->  why this block cannot run here

A `text` block is what the block before it prints; see `stage.matches` for what may differ.
Indented blocks are pictures and formulas, and no examples.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]

ELSEWHERE = {"docs/ledger-format.md": "tests/ledger/test_ledger_format.py"}
"""Pages whose examples another test holds to the code."""

MARKERS = ("file", "with", "before", "exit", "keys", "not run")

_MARKER = re.compile(rf"\s*({'|'.join(MARKERS)})(?::[ \t]*|\s*\n)(.*?)\s*", re.DOTALL)
_SRC = re.compile(r'\bsrc="([^"]*)"')
_COMMAND = re.compile(r"^(?:\$ )?saferun(?: [a-z]+){1,2}\b", re.MULTILINE)
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)


class Block(NamedTuple):
    """One example. `line` counts from 1."""

    page: str
    line: int
    language: str
    text: str
    markers: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """The README and everything under docs/, as paths from the root of the repository."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(page.relative_to(ROOT)) for page in found]


def blocks(page: str) -> list[Block]:
    return list(blocks_of(page, (ROOT / page).read_text(encoding="utf-8")))


def blocks_of(page: str, markdown: str) -> Iterator[Block]:
    """The examples in a text. Raises ValueError for a comment that is no marker."""
    markers: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.type == "html_block":
            markers |= _markers(token.content)
        elif token.type == "fence":
            line = token.map[0] + 1 if token.map else 0
            yield Block(page, line, token.info.strip(), token.content, markers)
            markers = {}
        elif markers and token.nesting >= 0:
            raise ValueError(f"{page}: {sorted(markers)} stand before something that is no example")


def _markers(html: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for comment in _COMMENT.findall(html):
        marker = _MARKER.fullmatch(comment)
        if marker is None:
            raise ValueError(f"this comment says nothing about an example: {comment.strip()[:60]}")
        found[marker[1]] = marker[2]
    return found


def links(page: str) -> list[str]:
    """Where a page points to: links and pictures."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text("utf-8"))
    inline = [each for token in tokens for each in token.children or ()]
    targets = [each.attrGet("href") or each.attrGet("src") for each in inline]
    pictures = [
        src for token in tokens if token.type == "html_block" for src in _SRC.findall(token.content)
    ]
    return [str(target) for target in (*targets, *pictures) if target]


def anchors(page: str) -> set[str]:
    """The names that a link can give after `#`, made from headings as GitHub makes them."""
    tokens = MarkdownIt("commonmark").parse((ROOT / page).read_text(encoding="utf-8"))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: str) -> set[tuple[str, ...]]:
    """The commands that a page speaks of, in its text and in its examples: `saferun run show`."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text("utf-8"))
    code = [token.content for token in tokens if token.type == "fence"]
    inline = [each for token in tokens for each in token.children or ()]
    code += [each.content for each in inline if each.type == "code_inline"]
    return {tuple(found.split())[1:] for text in code for found in _COMMAND.findall(text)}

"""Every page can be reached, and every link on it leads somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.pages import ROOT, anchors, links, pages

PAGES = [*pages(), "CHANGELOG.md", "SECURITY.md"]


def target(page: str, link: str) -> tuple[str, str]:
    """The file that a link means, as a path from the root, and the anchor in it."""
    path, _, anchor = link.partition("#")
    file = (ROOT / page).parent / unquote(path) if path else ROOT / page
    return str(Path(file).resolve().relative_to(ROOT)), anchor


@pytest.mark.parametrize("page", PAGES)
def test_every_link_on_a_page_leads_to_something_that_is_there(page: str) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), f"{page}: {link}"
            continue
        file, anchor = target(page, link)
        there = (ROOT / file).exists()
        if not there or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert not broken


def test_every_page_of_the_docs_is_linked_from_the_index() -> None:
    linked = {
        target("docs/index.md", link)[0] for link in links("docs/index.md") if ":" not in link
    }
    lost = [page for page in pages() if page.startswith("docs/") and page not in linked]
    assert lost == ["docs/index.md"]


def test_the_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(file.name[:4]) for file in (ROOT / "docs/adr").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", sorted(p for p in PAGES if p.startswith("docs/adr/")))
def test_a_decision_says_its_context_and_what_it_costs(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for part in ("Status: ", "## Context", "## Decision", "## Consequences", "**Negative:**"):
        assert part in text, f"{page} lacks {part!r}"

"""Every command that the docs speak of is one that there is."""

import pytest
import typer

from docs.pages import commands, pages
from saferun.cli import app

PAGES = [page for page in (*pages(), "CHANGELOG.md", "SECURITY.md") if commands(page)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_speaks_of_is_there(page: str) -> None:
    known = vars(typer.main.get_command(app))["commands"]
    unknown = []
    for words in commands(page):
        group = vars(known[words[0]]).get("commands") if words[0] in known else ()
        # Behind a command that is no group, the second word is an argument.
        if words[0] not in known or (group and len(words) > 1 and words[1] not in group):
            unknown.append(" ".join(words))
    assert not unknown

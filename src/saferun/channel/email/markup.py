"""HTML in which text cannot become markup: what is put into an element is escaped by that."""

from html import escape


class Html(str):
    """Markup that was made here. Any other string is text."""

    __slots__ = ()


_EMPTY = frozenset({"br", "input", "meta", "link"})


def element(name: str, /, *inside: str, **attributes: str | bool | None) -> Html:
    """An element with what is inside it. `for_` is the attribute `for`, `http_equiv` `http-equiv`.

    An attribute that is False or None is left out, and one that is True has no value.
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{joined(*inside)}</{name}>")


def joined(*parts: str) -> Html:
    """Parts one after the other, as nothing of their own."""
    return Html("".join(each if isinstance(each, Html) else escape(each) for each in parts))


def document(head: Html, body: Html) -> bytes:
    """A whole document."""
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'.encode()

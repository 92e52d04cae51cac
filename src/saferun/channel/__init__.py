"""How people are asked: the channels, and the courier that brings requests by them."""

from collections.abc import Mapping, Sequence

from saferun.approval import Channel
from saferun.config import Config
from saferun.errors import ConfigError

__all__ = ["NAMES", "channel", "configured"]

NAMES = ("console", "slack", "email", "webhook", "terminal")
"""The channels that a configuration can name."""


def channel(name: str, settings: Config) -> Channel:
    """The channel of that name. Raises ConfigError for a name that is none."""
    if name == "terminal":
        from saferun.channel.terminal import Terminal

        return Terminal()
    if name == "console":
        from saferun.channel.console import Inbox

        return Inbox()
    if name == "slack":
        from saferun.channel.slack import shared

        return shared(settings)
    if name == "email":
        from saferun.channel.email import Email

        return Email(settings)
    if name.partition(".")[0] == "webhook":
        from saferun.channel.webhook import Webhook

        return Webhook(name, settings)
    where = f"{settings.file}: " if settings.file is not None else ""
    raise ConfigError(
        f"{where}there is no approval channel {name!r}; there are: {', '.join(NAMES)}."
    )


def configured(settings: Config) -> tuple[Channel, ...]:
    """The channels that a process can bring requests by that is there for all agents.

    Those are the defaults, and those with a table of their own under `[approval]`; none that
    belongs to the process that asks, such as the terminal. Raises ConfigError.
    """
    said = settings.approval.default
    names = [said] if isinstance(said, str) else list(said or ())
    for name in NAMES:
        table = getattr(settings.approval, name, None)
        if isinstance(table, Mapping):
            # Several of one kind, each under a name of its own.
            names += [name] if len(table) == 1 else [f"{name}.{each}" for each in table]
        elif table is not None:
            names.append(name)
    found: Sequence[Channel] = [channel(name, settings) for name in dict.fromkeys(names)]
    return tuple(each for each in found if not getattr(each, "stays", False))

"""Slack: a card for each question, with buttons, that always says how the question stands.

What a person does there comes back as a signed request to `saferun serve`, or, in Socket Mode,
over a connection that this process has opened itself, so that no port has to be open.
"""

from saferun.channel.slack.channel import Slack, shared

__all__ = ["Slack", "shared"]

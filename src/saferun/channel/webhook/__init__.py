"""Webhooks: requests go out to a program that was configured, signed, and its answers come back.

    a request → its payload → Standard Webhooks, to the address that was checked
    a signed callback → a person's own token in it → the desk

The signature says which program has sent something, and never who has answered: that is said by
a token, which went out for one person, one request and one revision.
"""

from saferun.channel.webhook.webhook import Webhook

__all__ = ["Webhook"]

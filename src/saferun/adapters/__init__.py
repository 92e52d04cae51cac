"""Listens to the clients of models that an agent uses, and has its runs record what they say.

Nothing here decides anything, and no client has to be installed: each is known by its shape.
"""

from saferun.adapters.watch import watch

__all__ = ["watch"]

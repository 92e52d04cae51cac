"""From the values of a policy file to what they mean, with every fault on its line."""

from saferun.policy.parse.document import parse

__all__ = ["parse"]

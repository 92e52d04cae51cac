"""Changes of a YAML file in place: every character that is there stays, its comments too. Pure."""

from saferun.policy.amend.file import AmendError, appended, begun, put, replaced
from saferun.policy.amend.yaml import flow

__all__ = ["AmendError", "appended", "begun", "flow", "put", "replaced"]

"""What is said of a call where there is no policy: nothing, and the call goes on.

The controls that need no configuration are on all the same: loops and breakers.
"""

from saferun.call import Call
from saferun.control import Breaker, Loops
from saferun.policy.document import Tool
from saferun.policy.policy import Ruling
from saferun.policy.tool import ToolPolicy

_ANY = ToolPolicy(
    # Nothing is known of the tool, so the worst is assumed of it.
    said=Tool(name="any", effect="destructive", args=None),
    name="any",
    effect="destructive",
    # An agent that goes in circles is stopped without anybody having asked for it.
    loops=Loops(),
    breaker=Breaker(),
)


def observed(call: Call) -> Ruling:
    """The ruling on a tool that is only observed: recorded, and no argument denied."""
    return Ruling(verdict="allow", tool=_ANY, args=call.args, policy=None, mode="observe")

"""Loops: an agent that repeats itself without anything new coming of it.

sign     what a call looks like           trail    what is known of a run
echo     what came of it                  check    every signal, held against it
mask     what may differ in both          finding  what is said, on which rung of the ladder
"""

from saferun.control.loop.echo import Echo, echo
from saferun.control.loop.finding import Finding
from saferun.control.loop.settings import Loops
from saferun.control.loop.sign import Sign, sign
from saferun.control.loop.trail import Trail

__all__ = ["Echo", "Finding", "Loops", "Sign", "Trail", "echo", "sign"]

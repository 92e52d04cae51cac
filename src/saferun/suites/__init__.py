"""The tests of a policy: read from the files beside it, and tried on it in memory.

A file of them says calls and what has to come of each; see `file`. Trying them is pure: the engine
is the one of backtests and diffs.
"""

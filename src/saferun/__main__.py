"""`python -m saferun` is the command `saferun`."""

from saferun.cli import main

main()

"""Policies that the tests of telemetry share."""

CLOSED = "version: 1\nname: closed\ntools: {other: {effect: read}}\n"

ASKS = """
version: 1
name: asks
tools:
  refund: {effect: write, rules: [{id: big, ask: [finance], message: Ask.}]}
"""

"""Protocols of few verbs between the runtime and everything that can be exchanged behind it.

A port says what is promised and how far the other side is trusted; `tests/contract` holds every adapter to it.
"""

"""Typed clients of the interfaces that qss serves, for applications and for its own command line."""

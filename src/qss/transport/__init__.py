"""Bounded, mutually authenticated connections. Decides nothing: who may connect is the caller's question."""

"""Adapters of the Identity port, one module for each way to prove who one is."""

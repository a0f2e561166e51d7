"""Routing tables."""

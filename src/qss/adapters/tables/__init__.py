"""Routing tables: one module for each way to a routing module that is not in this process."""

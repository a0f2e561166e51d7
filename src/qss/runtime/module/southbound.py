"""ETSI GS QKD 004 served by one module: carries calls to the core (`core.module.sessions`) and carries out its effects.

Held here: the chunk that was delivered last, until the core says that it can go. Not here: connections and who is on
them (`servers.etsi004`), and any decision.
"""

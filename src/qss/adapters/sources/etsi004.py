"""A QKD module in another process, reached by ETSI GS QKD 004, as a key source (`ports.key_source`).

Etsi004Source(address, context, verify, *, edition=…)
    the three calls of `KeySource`, and `await .stop()`
"""

"""ETSI GS QKD 014 V1.1.1: paths, questions and answers, between bytes and the types of `qss.model`.

Held here: form, in both directions, for server and client alike. Not here: limits, policy, extensions and whether a
key exists (the key server behind the handlers), and HTTP itself (`servers`, `client`).

What a caller sends wrongly raises `BadRequest`; what a key server answers wrongly raises `RemoteProtocolError`.
"""

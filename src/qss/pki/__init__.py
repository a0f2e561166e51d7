"""Certificates: a small authority for people who have none, and TLS contexts for everybody.

Held here: the making, signing, reading and checking of X.509 certificates (RFC 5280) for sites and applications, and
the writing of the durable files (`durable`) that these and other things of a site lie in. Not here: connections
(`transport`), and the question who may do what (`core.keyserver`). Certificates of an outside authority are as good as
ours, if they carry the names that `names` reads.
"""

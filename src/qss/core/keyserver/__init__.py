"""The QKS between an application's ask and the links: who may ask, for what, and which link answers.

==============  ==================================================================
`policy`        which SAEs may share keys
`requests`      from a 014 request to a plan for one link, or a refusal
`naming`        from a caller's idempotency name to the name of an ask
`quotas`        how much key a master, and a pair, may take
`relay_paths`   the paths that relayed key takes, by a policy
`modules`       which QKD modules are registered, and which device pairs they may be pulled from for (QRP)
==============  ==================================================================
"""

"""The QKS between an application's ask and the links: who may ask, for what, and which link answers.

==============  ==================================================================
`policy`        which SAEs may share keys, and what their rules demand
`requests`      from a 014 request to a plan for one link or end-to-end stream, or a refusal
`extensions`    what a request demands of the way that its keys come, and what it wishes
`demands`       demands of several sides as one, and what meets them
`ways`          link or relay, by what is demanded and by what the network has
`relay_paths`   the paths that relayed key takes, by a policy
`block_size`    how much is relayed in one block
`warmth`        how much of an end-to-end stream is held ready
`suspects`      which links and sites are passed by for a while
`naming`        from a caller's idempotency name to the name of an ask
`name_shares`   how many names a caller may have in use
`quotas`        how much key a master, and a pair, may take
`modules`       which QKD modules are registered, and which device pairs they may be pulled from for (QRP)
`stream_…`      key streams of applications: `parties`, whose one is; `register`, who has which open, and what other
                sites' offers meet; `supply`, how much key one needs (`docs/reference/key-streams.md`)
==============  ==================================================================
"""

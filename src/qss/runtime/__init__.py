"""Asyncio shells around the cores: they do the I/O that effects ask for, and decide nothing.

==============  ==================================================================================
`link`          one link: events in, effects out, the store and the peer in between
`asks`          asks that wait for the link's answer: keys, or an error
`session`       a peer's connections, one at a time
`outbox`        messages to the peer: gathered while the last frame is under way
`tasks`         tasks that belong to somebody; no defect is silent
`sources`       the key sources of a link, one for each device pair, and what comes and goes of them
`feed`          key from one stream of a module into the ledger
`connecting`    keeping a connection to a neighbour
`registrations` modules in processes of their own: which may be pulled from (QRP)
`module`        the QKD module: one device, Sync with its peer
`site`          a site's links on one store: start, ticks, anchor, stop
`key_server`    what the northbound servers ask: status, keys, keys by their IDs
==============  ==================================================================================
"""

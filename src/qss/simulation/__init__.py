"""What runs the real cores and runtime without input or output, in virtual time.

===============  ============================================================================
`clock`          an event loop whose time is virtual
`network`        connections that are slow, break, or lose, double and delay frames
`relay`          a network of sites that relay
`relay_links`    the key of its links
`relay_site`     one of its sites, and what a shell keeps for it
`routing`        a network of routing modules, of up to some thousand sites
`routing_start`  begins a large one where the protocol leads
`routing_truth`  what its tables should be
`store`          a store in memory on a disk that fills up, and forgets what was not synced
`topologies`     shapes of networks
===============  ============================================================================
"""

"""The interfaces that a site serves: authenticate, parse, ask the runtime, render. They decide nothing else.

==============  ==================================================================
`messages`      requests and responses, unknown to any web framework
`door`          listens: TLS, limits, timeouts, draining
`conversation`  one connection at the door; with `door` the only one to know aiohttp
`etsi014`       ETSI GS QKD 014: routes and handles
`etsi004`       ETSI GS QKD 004: connections to a module's southbound interface
`admin`         liveness, readiness, status and metrics
`routing`       what a routing module does for its key server
`counts`        how many requests and calls were answered with which status
==============  ==================================================================
"""

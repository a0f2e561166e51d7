"""Bounded, mutually authenticated connections. Decides nothing: who may connect is the caller's question.

=================  ===============================================================================
`connection`       what every transport offers
`websocket`        an established WebSocket over mutual TLS
`dialling`         calling: a WebSocket to another site
`listening`        being called: WebSockets, at several paths of one port
`accepting`        what every listener stands on: sockets, slots, handshakes, and how they are cut
`http_connection`  one HTTP connection under such a listener, within its limits
`binding`          sockets to listen on
`proof`            what a TLS connection proves
=================  ===============================================================================
"""

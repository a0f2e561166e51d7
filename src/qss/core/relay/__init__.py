"""Transfers of a relay at one site (docs/reference/relay.md): as source, as repeater, as destination; never a byte.

`Relay` is the whole of it to the outside: `handle(event, now)` takes what happened and returns what to do. Key, content
and what Carry brings are the shell's, which keeps them under a transfer's ID; comments cite the steps of the page.

    file       holds                                            what to touch for a change
    ─────────  ───────────────────────────────────────────────  ───────────────────────────────────────────────────────
    events     what can happen, and what is to be done          what the shell is asked: an effect; why something is
                                                                passed over: `DropReason`
    phases     the state machines of a transfer and of its key  a phase or step: the tables, and the essay above them
    transfer   one transfer, and its place on the path          what is remembered of one
    admission  which Begin is taken                             a check or limit: `_objection`, Relay 4.2 and 4.10
    carrying   what is carried goes on when its key is here     what it takes for that: `Transfer.gathered`
    early      key that is ready before its Begin has come      how long, and how much of it: `RelaySettings`
    ending     how transfers fail, and how all of them end      who is told, whom a neighbour can name: Relay 4.8
    relay      dispatches events and messages to these          a message: a class in `wire.relay`, and `_received`
    shared     what the parts share
    settings   what a site is told once
"""

from qss.core.relay.relay import Relay
from qss.core.relay.settings import RelaySettings

__all__ = ["Relay", "RelaySettings"]

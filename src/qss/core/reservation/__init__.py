"""One link's key streams at one end: the ledger, the key reservation process (KRP) in both roles, recovery.

`Link` is the whole of it to the outside: `handle(event, now)` takes what happened and returns what to do. It sees
ranges, identifiers and handles, never key bytes, and runs the same in the runtime and in a simulation. The protocol is
specified in `docs/reference/krp.md`; comments cite its steps.

==============  =====================================================================================
`events`        what can happen to a link, and what it answers with (effects)
`relay_events`  the same of relays at this end
`part_events`   the same of requests for slaves at several sites
`ledger`        one stream's balance: where every ingested bit went
`settings`      what a link is told once
`state`         what the parts below share, and how their changes become one commit and one frame
`batch`         what has changed since the last commit: the next one, while it gathers
`kept_answers`  answers that can be given again, and the bytes that they keep
`allocation`    which bytes may be allocated, and from which stream
`asking`        reservations for masters at this end: asking, waiting for both ends, giving up
`parts`         one site's part in a request for slaves at several: waiting for the others, concluding
`covers`        keys that come for slaves at this end under the range that was set aside for them
`refusals`      what the peer has refused lately, and what a master is told who gets no keys
`holding`       reservations for slaves at this end: taken for the peer's masters, confirmed, given up, expired
`fetching`      slaves at this end fetch their keys
`answers`       asks under a name: when one is a repeat, and what a repeat gets
`recalls`       burning keys that were not fetched, at both ends
`draws`         ranges for relays: set aside at both ends, used, given up
`losses`        burning stored key that cannot be read
`erasing`       erasing what is used or burned
`streams`       opening, filling and closing key streams
`pairs`         which device pairs can be asked for key streams, and when the owner asks next
`recovery`      what two ends tell each other on every connection, and what follows from it
`conversation`  the states of the connection, and the greeting on it
`restores`      beside `Link`, for a whole site: whether its store was restored, and which links must burn
`notices`       Confirm and Gone, for which nobody waits
`failed`        what a link answers that relies on its memory no more
`phases`        the state machines of the connection and of a master's request
`link`          the one place that passes events, and the peer's messages, on to all these
==============  =====================================================================================
"""

from qss.core.reservation.link import Link
from qss.core.reservation.settings import LinkSettings

__all__ = ["Link", "LinkSettings"]

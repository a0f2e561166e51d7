"""The QKD module: one device, its key stream, and Sync with its peer; sees block numbers and tags, never key bytes.

`Module` is the whole of Sync to the outside: `handle(event, now)` takes what happened and returns what to do. The
protocol is specified in `docs/reference/sync.md`; comments cite its steps. `Sessions` stands on top where the module
serves ETSI GS QKD 004 (`docs/reference/southbound.md`).

==============  =====================================================================================
`events`        what can happen to a module, and what it answers with (effects)
`phases`        the state machine: how a stream is opened and closed at both ends
`blocks`        the block check of one stream: tags, verdicts, what is accepted and what burned
`window`        how many device frames may be on their way
`rest`          how long a device is left alone whose bits failed a health test
`counts`        where every byte that the device yielded went
`module`        the one place that dispatches events
`qos`           what a caller of ETSI GS QKD 004 asks for, and what the module can give
`calls`         calls of ETSI GS QKD 004 that come to a module, and what answers them
`sessions`      who has the module's key stream open at this end, and what each call is answered
`registration`  how the module registers at its QKS (`docs/reference/qrp.md`)
==============  =====================================================================================
"""

from qss.core.module.counts import Counts
from qss.core.module.module import Module, ModuleSettings
from qss.core.module.phases import Phase
from qss.core.module.qos import fitting_chunk

__all__ = ["Counts", "Module", "ModuleSettings", "Phase", "fitting_chunk"]

"""The QKD module: one device, its key stream, and Sync with its peer; sees block numbers and tags, never key bytes.

`Module` is the whole of it to the outside: `handle(event, now)` takes what happened and returns what to do. The
protocol is specified in `docs/reference/sync.md`; comments cite its steps.

==============  =====================================================================================
`events`        what can happen to a module, and what it answers with (effects)
`phases`        the state machine: how a stream is opened and closed at both ends
`blocks`        the block check of one stream: tags, verdicts, what is accepted and what burned
`window`        how many device frames may be on their way
`counts`        where every byte that the device yielded went
`module`        the one place that dispatches events
`registration`  how the module registers at its QKS (`docs/reference/qrp.md`)
==============  =====================================================================================
"""

from qss.core.module.counts import Counts
from qss.core.module.module import Module, ModuleSettings, fitting_chunk
from qss.core.module.phases import Phase

__all__ = ["Counts", "Module", "ModuleSettings", "Phase", "fitting_chunk"]

"""`qss demo`: four sites on this machine, each a process of its own, exchange keys among applications.

==============  ==========================================================================
`command`       the sub-command: its options, its course, its end
`network`       the demo's network as files: authority, configurations, data folders
`modules`       the modules, where they are processes of their own
`nodes`         the processes: four nodes, perhaps eight modules
`admins`        clients of the sites' Admin interfaces
`gathering`     waiting for key
`ways`          what the sites know of the network
`exchanges`     what the applications ask for, and whether both ends got the same
`relays`        what they ask for whose sites share no link
`report`        what is shown
==============  ==========================================================================
"""

from qss.cli.demo.command import command

__all__ = ["command"]

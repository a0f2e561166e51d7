"""`qss demo`: three sites on this machine, each a process of its own, exchange keys among applications.

==============  ==========================================================================
`command`       the sub-command: its options, its course, its end
`network`       the demo's network as files: authority, configurations, data folders
`modules`       the modules, where they are processes of their own
`nodes`         the processes: three nodes, perhaps four modules
`exchanges`     what the applications ask for, and whether both ends got the same
`ways`          what the first site knows of the network
`report`        what is shown
==============  ==========================================================================
"""

from qss.cli.demo.command import command

__all__ = ["command"]

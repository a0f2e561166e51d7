"""What runs the real cores and runtime without input or output, in virtual time.

==============  ============================================================================
`clock`         an event loop whose time is virtual
`network`       connections that are slow, break, or lose, double and delay frames
`store`         a store in memory on a disk that fills up, and forgets what was not synced
==============  ============================================================================
"""

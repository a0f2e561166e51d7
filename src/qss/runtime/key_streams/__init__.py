"""Key streams of applications (ETSI GS QKD 004), whose device is the key reservation process.

`docs/reference/key-streams.md` numbers the steps, and the code cites them (`Streams 3.3`).

==============  =====================================================================================
`streams`       answers calls: which stream each is for, and how two sites come to one
`key_stream`    one stream at one end: a module, and what calls on it are answered
`device`        yields blocks that one end reserves and the other fetches
`pair_keys`     reserves and fetches key for two SAEs, and looks what that key is
`offering`      brings a stream to a site with a lower ID
`answering`     answers offers of sites with higher IDs
`meeting`       the messages of both
==============  =====================================================================================
"""

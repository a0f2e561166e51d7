"""The client of ETSI GS QKD 004: one server, one connection at a time, connected anew when it was lost.

    Etsi004Client(address, context, verify, *, edition=…, timeout_s=…)
        await .open_connect(source, destination, qos, stream) -> Opened
        await .get_key(stream, index, metadata_size) -> Chunk
        await .close_stream(stream); await .close()

`verify(certificate)` raises `Unauthorised` for a server that is not the one that is meant.
"""

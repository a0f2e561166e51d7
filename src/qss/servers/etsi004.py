"""ETSI GS QKD 004 over TLS: listens, tells who calls, carries calls to the module and answers back.

    Etsi004Server(host, port, context, module, authorise, *, site, peer, edition=…, limits=…)
        .start(), .close(), .address, .counts

`module` is the `QkdModule`. `authorise(certificate)` returns the caller's name, or raises `Unauthorised`: then the
connection ends with an error frame. A Key_stream_ID belongs to the caller that opened it, on whatever connection.
"""

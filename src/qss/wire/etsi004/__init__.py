"""ETSI GS QKD 004 V2.1.1 on the wire: the binary framing of the ETSI forge's C code and of QUBIP's Python code.

The standard fixes the calls and leaves the wire open. What two public implementations agree on is spoken here, byte for
byte (`docs/reference/southbound.md` has the tables), so that their clients can use our modules.

=============  ===================================================================================
`framing`      bytes to frames: version, service and length are judged before a payload is gathered
`messages`     frames to calls and answers, and back, in either form
`status`       what an answer means, and which number says so in which edition of the standard
=============  ===================================================================================
"""

"""A client of ETSI GS QKD 004 V2.1.1, written from the standard and the public wire format alone: no line of qss.

It opens a key stream at both ends, fetches chunks at each, and prints a digest of either end's key. It needs nothing
but Python's standard library::

    python etsi004_client.py --authority ca.pem --certificate app.pem --key app.key A-HOST:PORT B-HOST:PORT

The calls are those of case 1 of the standard: A opens with a NULL Key_stream_ID and is given one, B opens with that;
both GET_KEY, both CLOSE. With `--ksid UUID` they are those of case 3: the name is predefined. Where the two ends are
two applications', give `--at-b CERTIFICATE KEY` and `--names SOURCE DESTINATION`.
"""

import argparse
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
import uuid

VERSIONS = {"forge": (2, 1, 1), "qubip": (1, 0, 1)}
OPEN_CONNECT, GET_KEY, CLOSE = 0x02, 0x04, 0x08
SUCCESS, PEER_NOT_CONNECTED, INSUFFICIENT_KEY, NO_PEER_APPLICATION = 0, 1, 2, 3


class Failed(Exception):
    """A call was answered with a status that ends it all."""


class End:
    """One end of the stream."""

    def __init__(self, name, address, arguments, certificate, key):
        self.name = name
        self.form = arguments.form
        self.hops = arguments.hops
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cafile=arguments.authority)
        context.load_cert_chain(certificate, key)
        plain = socket.create_connection((host, int(port)), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname=host)

    def call(self, service, payload):
        """Send one request and return the payload of its answer, the status apart."""
        header = bytes([*VERSIONS[self.form], service]) + struct.pack(">I", len(payload))
        self.socket.sendall(header + payload)
        head = self.receive(8)
        (length,) = struct.unpack(">I", head[4:])
        answer = self.receive(length)
        if tuple(head[:3]) != VERSIONS[self.form] or head[3] != service + 1:
            raise Failed(f"{self.name} answered service 0x{service:02x} by 0x{head[3]:02x}")
        return struct.unpack(">I", answer[:4])[0], answer[4:]

    def receive(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise Failed(f"{self.name} broke off")
            data += part
        return data

    def open_connect(self, source, destination, chunk_size, ksid):
        """Return the Key_stream_ID and the chunk size."""
        mimetype = b"application/json\0"
        if self.form == "qubip":
            mimetype = mimetype.ljust(256, b"\0")
        qos = struct.pack(">7I", chunk_size, 0, 0, 0, 0, 5000, 60) + mimetype
        payload = source.encode() + b"\0" + destination.encode() + b"\0" + qos + ksid.bytes
        status, answer = self.call(OPEN_CONNECT, payload)
        if status not in (SUCCESS, PEER_NOT_CONNECTED):
            raise Failed(f"{self.name}: OPEN_CONNECT has status {status}")
        return uuid.UUID(bytes=answer[-16:]), struct.unpack(">I", answer[:4])[0]

    def get_key(self, ksid, index, chunk_size):
        """Return chunk `index`, asking again while it is not there."""
        room = 64
        buffer = bytes(room) if self.form == "forge" else b""
        payload = ksid.bytes + struct.pack(">II", index, room) + buffer
        while True:
            status, answer = self.call(GET_KEY, payload)
            if status == SUCCESS:
                break
            if status not in (INSUFFICIENT_KEY, NO_PEER_APPLICATION):
                raise Failed(f"{self.name}: GET_KEY of index {index} has status {status}")
        at, length = struct.unpack(">II", answer[:8])
        key, metadata = answer[8 : 8 + length], json.loads(answer[12 + length :])
        if (at, length) != (index, chunk_size) or metadata["hops"] != self.hops or metadata["age"] < 0:
            raise Failed(f"{self.name}: GET_KEY gave index {at}, {length} bytes, {metadata}")
        return key

    def close(self, ksid):
        status, _ = self.call(CLOSE, ksid.bytes)
        if status != SUCCESS:
            raise Failed(f"{self.name}: CLOSE has status {status}")
        self.socket.close()


def digest(end, ksid, chunk_size, chunks):
    key = hashlib.sha256()
    for index in range(chunks):
        key.update(end.get_key(ksid, index, chunk_size))
    return key.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a")
    parser.add_argument("b")
    for name in ("authority", "certificate", "key"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--chunks", type=int, default=10)
    parser.add_argument("--chunk-size", type=int, default=512)
    parser.add_argument("--form", choices=VERSIONS, default="forge")
    parser.add_argument("--ksid", type=uuid.UUID)
    parser.add_argument("--at-b", nargs=2)
    parser.add_argument("--names", nargs=2, default=("app://alice@a", "app://bob@b"))
    parser.add_argument("--hops", type=int, default=0)
    arguments = parser.parse_args()

    own, names = (arguments.certificate, arguments.key), arguments.names
    a, b = End("A", arguments.a, arguments, *own), End("B", arguments.b, arguments, *(arguments.at_b or own))
    if arguments.ksid is None:
        ksid, chunk_size = a.open_connect(*names, arguments.chunk_size, uuid.UUID(int=0))
        joined = b.open_connect(*reversed(names), 0, ksid)
    else:
        opened = {}

        def opening():
            opened["a"] = a.open_connect(*names, arguments.chunk_size, arguments.ksid)

        at_a = threading.Thread(target=opening)
        at_a.start()
        joined = b.open_connect(*reversed(names), arguments.chunk_size, arguments.ksid)
        at_a.join()
        ksid, chunk_size = opened["a"]
    if joined != (ksid, chunk_size):
        raise Failed(f"B opened {joined}, A {(ksid, chunk_size)}")
    digests = [digest(end, ksid, chunk_size, arguments.chunks) for end in (a, b)]
    a.close(ksid)
    b.close(ksid)
    for name, found in zip("AB", digests, strict=True):
        sys.stdout.write(f"{name} {ksid} {arguments.chunks * chunk_size} bytes sha256 {found}\n")
    return digests[0] != digests[1]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        sys.exit(f"etsi004_client: {error}")

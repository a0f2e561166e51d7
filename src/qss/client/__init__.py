"""Typed clients of the interfaces that qss serves, for applications and for its own command line."""

from qss.client.admin import AdminClient
from qss.client.errors import KeyServerRefused, KeyServerUnreachable
from qss.client.etsi014 import Client
from qss.client.key_stream import KeyStreamClient
from qss.client.sync import SyncClient

__all__ = ["AdminClient", "Client", "KeyServerRefused", "KeyServerUnreachable", "KeyStreamClient", "SyncClient"]

"""From a caller's idempotency name to the name of an ask (invariant 7).

A name belongs to the caller, the method and the other SAE: another caller's same word is another name. The digests are
of fixed length, so that what a caller chooses takes no room in the store and shows there to nobody.
"""

from __future__ import annotations

import json
from hashlib import sha256

from qss.model.answers import AskName
from qss.model.identifiers import SaeId
from qss.model.keys import KeyIdsRequest, KeyRequest


def name_of_key_request(caller: SaeId, slave: SaeId, request: KeyRequest) -> AskName | None:
    """Return the name of a master's Get key, or None if it has none."""
    if request.name is None:
        return None
    asked = (
        request.number,
        request.size,
        request.additional_slaves,
        request.extension_mandatory,
        request.extension_optional,
    )
    return AskName(_digest("enc_keys", caller, slave, request.name), _digest(json.dumps(asked, sort_keys=True)))


def name_of_key_ids(caller: SaeId, master: SaeId, request: KeyIdsRequest) -> AskName | None:
    """Return the name of a slave's Get key with key IDs, or None if it has none."""
    if request.name is None:
        return None
    return AskName(_digest("dec_keys", caller, master, request.name), _digest(*map(str, request.key_ids)))


def _digest(*texts: str) -> bytes:
    digest = sha256()
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8) + content)
    return digest.digest()

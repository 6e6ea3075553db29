# SPDX-License-Identifier: Apache-2.0
"""The client's half of SCRAM (RFC 5802), spelled out so that tests can break it at every step."""

import base64
import hashlib
import hmac
import secrets


class Scram:
    def __init__(self, mechanism, user, password):
        self.hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]
        self.password = password
        self.nonce = secrets.token_urlsafe(18)
        self.first_bare = f"n={user},r={self.nonce}"
        self.server_first = None
        self.server_signature = None

    def first(self):
        return f"n,,{self.first_bare}"

    def _mac(self, key, text):
        return hmac.new(key, text.encode(), self.hash).digest()

    def final(self, server_first):
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce)
        salted = hashlib.pbkdf2_hmac(self.hash, self.password.encode(),
                                     base64.b64decode(fields["s"], validate=True),
                                     int(fields["i"]))
        client_key = self._mac(salted, "Client Key")
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self.first_bare},{server_first},{without_proof}"
        signature = self._mac(hashlib.new(self.hash, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = self._mac(self._mac(salted, "Server Key"), message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}"

    def verify(self, server_final):
        assert server_final.startswith("v=")
        proved = base64.b64decode(server_final[2:], validate=True)
        assert hmac.compare_digest(proved, self.server_signature)

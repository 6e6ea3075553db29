# SPDX-License-Identifier: Apache-2.0
"""Keys are replaced, the store verified and backed up, while messages wait and clients talk."""

import os
import subprocess

from base import BystanderTest, eventually
from raw import CLIENT

BODY = CLIENT + "body"
WAITING = 50


class Keys(BystanderTest):
    async def _receive(self, user):
        recipient = await self.raw_login(user)
        for i in range(WAITING):
            self.assertEqual((await recipient.next_message()).findtext(BODY), f"waiting {i}")

    def _job(self, *words):
        job = self.broker.ctl(*words)
        self.assertEqual(job["state"], "done", job)
        self.assertEqual(job["errors"], 0, job)
        return job

    async def test_each_kind_is_replaced_under_waiting_messages(self):
        _, b = await self.store_for_absent(WAITING)
        self._job("key", "rotate", "incarnation")
        self._job("key", "rotate", "accounts")
        await self._receive(b)
        status = self.broker.ctl("key", "status")
        self.assertFalse(status["rotating"])
        self.assertEqual(status["masters"], 1)

    async def test_the_master_key_is_replaced(self):
        _, b = await self.store_for_absent(WAITING)
        path = self.broker.ctl("config")["config"]["store"]["master_key_path"]
        before = self.broker.ctl("key", "status")["master_id"]
        fd = os.open(path + ".next", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, os.urandom(32))
        os.close(fd)
        try:
            self.assertGreater(self._job("key", "rotate", "master")["changed"], 500)
        finally:
            os.rename(path + ".next", path)
        after = self.broker.ctl("key", "status")
        self.assertNotEqual(after["master_id"], before)
        self.assertEqual(after["masters"], 1)
        await self._receive(b)

    async def test_all_records_open(self):
        _, b = await self.store_for_absent(WAITING)
        job = self._job("store", "verify")
        self.assertGreater(job["looked_at"], 500 + WAITING)
        stats = self.broker.ctl("store", "stats")
        kinds = {space["name"]: space for space in stats["spaces"]}
        self.assertGreaterEqual(kinds["keys"]["keys"], 500)
        await self._receive(b)

    async def test_a_backup_holds_what_was_acknowledged(self):
        _, b = await self.store_for_absent(WAITING)
        first = self._job("store", "backup")
        self.assertGreater(first["bytes"], 0)
        self.assertGreater(self._job("store", "backup")["backup"], first["backup"])
        await self._receive(b)

    async def test_a_deleted_account_is_erased(self):
        name = self.broker.user() + "-extra"
        subprocess.run([self.broker.godwitctl, "--socket", self.broker.control, "user", "add", name,
                        "--password-stdin"], input=b"secret\n", check=True, capture_output=True,
                       timeout=30)
        self.broker.ctl("user", "del", name)
        await eventually(lambda: not self.broker.ctl("key", "status")["erasing"],
                         "the erasing has ended")
        self._job("store", "verify")

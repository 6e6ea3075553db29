# SPDX-License-Identifier: Apache-2.0
"""Messages that wait (XEP-0160, XEP-0203), receipts (XEP-0184) and markers (XEP-0333) on the way
back, for clients that are online and for those that are not."""

import datetime

from base import InteropTest
from raw import CLIENT

BODY = CLIENT + "body"
DELAY = "{urn:xmpp:delay}delay"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"


class Waiting(InteropTest):
    async def test_in_order_and_stamped(self):
        before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        _, b = await self.store_for_absent(100)
        recipient = await self.slix(b).login()
        for i in range(100):
            message = await recipient.next_message()
            self.assertEqual((message["id"], message["body"]), (f"m{i}", f"waiting {i}"))
            stamp = message["delay"]["stamp"]
            self.assertGreaterEqual(stamp, before - datetime.timedelta(seconds=1))
            self.assertLessEqual(stamp, datetime.datetime.now(datetime.timezone.utc)
                                 + datetime.timedelta(seconds=1))

    async def test_libstrophe_gets_them_too(self):
        _, b = await self.store_for_absent(10)
        recipient = await self.strophe(b).login()
        for i in range(10):
            message = await recipient.next_message()
            self.assertEqual(message["body"], f"waiting {i}")
            self.assertIn("delay", message)

    async def test_once_only(self):
        sender, b = await self.store_for_absent(20)
        recipient = await self.raw_login(b, sm=True)
        for i in range(20):
            self.assertEqual((await recipient.next_message()).get("id"), f"m{i}")
        await recipient.acknowledge()
        await recipient.end()
        again = await self.raw_login(b)
        sender.message(self.jid(b), "last", "after all that")
        self.assertEqual((await again.next_message()).get("id"), "last")

    async def test_without_presence_nothing_comes(self):
        _, b = await self.store_for_absent(3)
        recipient = await self.raw_login(b, presence=False)
        self.assertEqual([e for e in await recipient.ping() if e.tag == CLIENT + "message"], [])
        recipient.write("<presence/>")
        for i in range(3):
            self.assertEqual((await recipient.next_message()).get("id"), f"m{i}")

    async def test_negative_presence_then_positive(self):
        _, b = await self.store_for_absent(3)
        recipient = await self.raw_login(b, presence=False)
        await recipient.announce(-5)
        self.assertEqual([e for e in await recipient.ping() if e.tag == CLIENT + "message"], [])
        await recipient.announce(5)
        for i in range(3):
            self.assertEqual((await recipient.next_message()).get("id"), f"m{i}")

    async def test_unacknowledged_ones_come_again(self):
        """Handed over is not delivered: what the client has not acknowledged returns, under the
        same stanza-id; what it has does not."""
        _, b = await self.store_for_absent(10)
        first = await self.raw_login(b, sm=True, presence=False)
        first.write("<presence/>")
        seen = [await first.next_message() for _ in range(10)]
        first.reset()
        second = await self.raw_login(b, sm=True)
        again = [await second.next_message() for _ in range(10)]
        self.assertEqual([m.get("id") for m in again], [m.get("id") for m in seen])
        self.assertEqual([m.find(STANZA_ID).get("id") for m in again],
                         [m.find(STANZA_ID).get("id") for m in seen])

    async def test_acknowledged_ones_do_not_come_again(self):
        sender, b = await self.store_for_absent(10)
        first = await self.raw_login(b, sm=True, presence=False)
        first.write("<presence/>")
        for i in range(4):
            self.assertEqual((await first.next_message()).get("id"), f"m{i}")
        await first.acknowledge()
        first.reset()
        second = await self.raw_login(b, sm=True)
        for i in range(4, 10):
            self.assertEqual((await second.next_message()).get("id"), f"m{i}")
        sender.message(self.jid(b), "last", "after all that")
        self.assertEqual((await second.next_message()).get("id"), "last")

    async def test_stanza_ids_differ_and_name_the_account(self):
        _, b = await self.store_for_absent(20)
        recipient = await self.raw_login(b)
        ids = [(await recipient.next_message()).find(STANZA_ID) for _ in range(20)]
        self.assertEqual(len({element.get("id") for element in ids}), 20)
        self.assertEqual({element.get("by") for element in ids}, {self.jid(b)})

    async def test_forged_stanza_id_is_removed(self):
        """XEP-0359: a client cannot state a stanza-id in the recipient's name."""
        a, b = self.broker.users(2)
        sender, recipient = await self.raw_login(a), await self.raw_login(b)
        sender.message(self.jid(b), "f", "forged",
                       f"<stanza-id xmlns='urn:xmpp:sid:0' by='{self.jid(b)}' id='forged'/>")
        message = await recipient.next_message()
        stated = [e.get("id") for e in message.findall(STANZA_ID) if e.get("by") == self.jid(b)]
        self.assertEqual(len(stated), 1)
        self.assertNotEqual(stated[0], "forged")

    async def test_while_it_comes_online(self):
        """Messages that come before, during and after a login arrive in one order."""
        sender, b = await self.store_for_absent(50)
        recipient = await self.raw()
        await recipient.authenticate(b)
        await recipient.bind()
        recipient.write("<presence/>")
        for i in range(50, 150):
            sender.message(self.jid(b), f"m{i}", f"waiting {i}")
        ids = [(await recipient.next_message()).get("id") for _ in range(150)]
        self.assertEqual(ids, [f"m{i}" for i in range(150)])

    async def test_going_and_coming(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        number, got = 0, []
        for _ in range(8):
            recipient = await self.raw_login(b, sm=True)
            for _ in range(20):
                sender.message(self.jid(b), f"{number}", "on and on")
                number += 1
            while not got or got[-1] != number - 1:
                got.append(int((await recipient.next_message()).get("id")))
            recipient.write("<presence type='unavailable'/>")
            await recipient.end()
        first_time = [n for i, n in enumerate(got) if n not in got[:i]]
        self.assertEqual(first_time, list(range(number)))

    async def test_chat_states_do_not_wait(self):
        """XEP-0160: a message without a body is not kept."""
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        sender.write(f"<message type='chat' to='{self.jid(b)}' id='state'>"
                     "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        sender.message(self.jid(b), "text", "kept")
        await sender.ping()
        recipient = await self.raw_login(b)
        self.assertEqual((await recipient.next_message()).get("id"), "text")

    async def test_headlines_do_not_wait(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        sender.message(self.jid(b), "news", "old by tomorrow", kind="headline")
        sender.message(self.jid(b), "text", "kept")
        await sender.ping()
        recipient = await self.raw_login(b)
        self.assertEqual((await recipient.next_message()).get("id"), "text")


class Receipts(InteropTest):
    async def test_online(self):
        a, b = self.broker.users(2)
        sender, recipient = await self.slix(a).login(), await self.slix(b).login()
        sender.say(self.jid(b), "did you get this?", "r1", receipt=True)
        await recipient.next_message()
        receipt = await sender.receipts.get()
        self.assertEqual((receipt["receipt"], receipt["from"]), ("r1", recipient.boundjid))

    async def test_recipient_was_away(self):
        a, b = self.broker.users(2)
        sender = await self.slix(a).login()
        sender.say(self.jid(b), "for later", "r2", receipt=True, markable=True)
        await sender.barrier()
        recipient = self.strophe(b, options=("--receipts", "--markers"))
        await recipient.login()
        await recipient.next_message()
        self.assertEqual((await sender.receipts.get())["receipt"], "r2")
        self.assertEqual((await sender.markers.get())["displayed"]["id"], "r2")

    async def test_sender_is_away_when_they_come(self):
        """Receipts and markers wait in the sender's own mailbox, in order."""
        a, b = self.broker.users(2)
        sender = await self.slix(a).login()
        for i in range(5):
            sender.say(self.jid(b), f"for later {i}", f"r{i}", receipt=True, markable=True)
        await sender.barrier()
        await sender.leave()
        recipient = self.strophe(b, options=("--receipts", "--markers"))
        await recipient.login()
        for _ in range(5):
            await recipient.next_message()
        await recipient.leave()
        sender = await self.slix(a).login()
        for i in range(5):
            self.assertEqual((await sender.receipts.get())["receipt"], f"r{i}")
            self.assertEqual((await sender.markers.get())["displayed"]["id"], f"r{i}")

    async def test_markers_between_slixmpp_clients(self):
        a, b = self.broker.users(2)
        sender, recipient = await self.slix(a).login(), await self.slix(b).login()
        sender.say(self.jid(b), "mark this", "k1", markable=True)
        message = await recipient.next_message()
        recipient["xep_0333"].send_marker(message["from"], message["id"], "received")
        recipient["xep_0333"].send_marker(message["from"], message["id"], "displayed")
        self.assertEqual((await sender.markers.get())["received"]["id"], "k1")
        self.assertEqual((await sender.markers.get())["displayed"]["id"], "k1")

# SPDX-License-Identifier: Apache-2.0
"""Streams that go on over another connection (XEP-0198, section 5)."""

import asyncio

from base import InteropTest, eventually
from raw import CLIENT, SM, STANZA_ERRORS, STREAM

SID = "{urn:xmpp:sid:0}"
ENABLE = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"


class Resumption(InteropTest):
    async def enabled(self, user, presence=True, **kwargs):
        """A session whose stream can be resumed, and by what."""
        stream = await self.raw_login(user, presence=False, **kwargs)
        stream.write(ENABLE)
        answer = await stream.expect(SM + "enabled", resume="true")
        self.assertGreater(int(answer.get("max")), 0)
        stream.handled = 0
        if presence:
            await stream.announce()
        return stream, answer.get("id")

    async def try_resume(self, user, previd, h):
        stream = await self.raw()
        await stream.authenticate(user)
        stream.write(f"<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='{h}'/>")
        return stream, await stream.next()

    async def resume(self, user, previd, h):
        """The new connection, and the h that the server states."""
        stream, answer = await self.try_resume(user, previd, h)
        self.assertEqual(answer.tag, SM + "resumed")
        self.assertEqual(answer.get("previd"), previd)
        stream.handled = h
        return stream, int(answer.get("h"))

    async def ids(self, stream, count):
        return [(await stream.next_message()).get("id") for _ in range(count)]

    def failed(self, answer):
        self.assertEqual(answer.tag, SM + "failed")
        return answer[0].tag.removeprefix(STANZA_ERRORS)

    async def detached(self, user):
        """Waits until the server has noticed that the user's only connection is gone."""
        def sessions():
            return self.broker.ctl("session", "list", "--account", user)["sessions"]
        await eventually(lambda: [s["detached"] for s in sessions()] == [True],
                         f"the session of {user} is detached")
        return sessions()[0]

    async def test_it_goes_on_where_it_was(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        stream, previd = await self.enabled(b)
        jid = stream.jid
        for i in range(3):
            stream.message(self.jid(a), f"out{i}", "on its way")
        self.assertEqual((await stream.ask_ack())[0], 4)
        for i in range(3):
            sender.message(self.jid(b), f"before{i}", "before")
        self.assertEqual(await self.ids(stream, 3), ["before0", "before1", "before2"])
        handled = stream.handled
        stream.reset()
        await self.detached(b)
        for i in range(20):
            sender.message(self.jid(b), f"gap{i}", "while it was gone")
        await sender.ping()
        stream, h = await self.resume(b, previd, handled)
        self.assertEqual(h, 4)
        # Nothing of what it has handled, all of what came meanwhile, and no new log-in is needed.
        self.assertEqual(await self.ids(stream, 20), [f"gap{i}" for i in range(20)])
        sender.message(jid, "direct", "to the same resource")
        self.assertEqual(await self.ids(stream, 1), ["direct"])
        stream.message(self.jid(a), "out3", "still the same stream")
        self.assertEqual((await stream.ask_ack())[0], 5)

    async def test_what_was_not_handled_comes_again_as_it_was(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        stream, previd = await self.enabled(b)
        for i in range(5):
            sender.message(self.jid(b), f"m{i}", "twice, perhaps")
        first = [await stream.next_message() for _ in range(5)]
        handled = stream.handled - 3  # it has worked on two of them
        stream.reset()
        stream, _ = await self.resume(b, previd, handled)
        again = [await stream.next_message() for _ in range(3)]
        self.assertEqual([m.get("id") for m in again], ["m2", "m3", "m4"])
        self.assertEqual([m.find(SID + "stanza-id").get("id") for m in again],
                         [m.find(SID + "stanza-id").get("id") for m in first[2:]])
        sender.message(self.jid(b), "next", "and on")
        self.assertEqual(await self.ids(stream, 1), ["next"])

    async def test_again_and_again(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        stream, previd = await self.enabled(b)
        for i in range(10):
            handled = stream.handled
            stream.reset()
            sender.message(self.jid(b), f"m{i}", "one a connection")
            stream, h = await self.resume(b, previd, handled)
            self.assertEqual(h, 1 + i)
            self.assertEqual(await self.ids(stream, 1), [f"m{i}"])
            stream.message(self.jid(a), f"out{i}", "and one back")
            self.assertEqual((await stream.ask_ack())[0], 2 + i)

    async def test_while_the_old_connection_looks_alive(self):
        a, b = self.broker.users(2)
        sender = await self.raw_login(a)
        old, previd = await self.enabled(b)
        new, h = await self.resume(b, previd, old.handled)
        self.assertEqual(h, 1)
        self.assertEqual(await old.stream_error(), "conflict")
        sender.message(self.jid(b), "m", "to the new one")
        self.assertEqual(await self.ids(new, 1), ["m"])

    async def test_a_half_closed_connection_is_a_lost_one(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user)
        stream.half_close()
        await stream.closed()
        _, h = await self.resume(user, previd, stream.handled)
        self.assertEqual(h, 1)

    async def test_others_do_not_notice(self):
        user = self.broker.user()
        other = await self.raw_login(user, resource="other")
        stream, previd = await self.enabled(user, resource="one")
        presence, _ = await other.until(CLIENT + "presence", **{"from": stream.jid})
        self.assertIsNone(presence.get("type"))
        stream.reset()
        stream, _ = await self.resume(user, previd, stream.handled)
        self.assertEqual([e.tag for e in await other.ping() if e.tag == CLIENT + "presence"], [])

    async def test_a_closed_stream_is_over(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user)
        stream.write("</stream:stream>")
        await stream.closed()
        _, answer = await self.try_resume(user, previd, 1)
        self.assertEqual(self.failed(answer), "item-not-found")

    async def test_the_same_resource_bound_anew_ends_it(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user, resource="phone")
        stream.reset()
        await self.detached(user)
        await self.raw_login(user, resource="phone")
        _, answer = await self.try_resume(user, previd, 1)
        self.assertEqual(self.failed(answer), "item-not-found")

    async def test_it_is_nobody_elses(self):
        a, b = self.broker.users(2)
        stream, previd = await self.enabled(a)
        stream.reset()
        await self.detached(a)
        thief, answer = await self.try_resume(b, previd, 1)
        self.assertEqual(self.failed(answer), "item-not-found")
        await thief.bind()
        self.assertIsNotNone(thief.jid)
        _, h = await self.resume(a, previd, stream.handled)
        self.assertEqual(h, 1)

    async def test_more_handled_than_was_sent(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user)
        stream.reset()
        await self.detached(user)
        new, answer = await self.try_resume(user, previd, 1000)
        self.assertEqual(answer.tag, STREAM + "error")
        self.assertIsNotNone(answer.find(SM + "handled-count-too-high"))
        await new.closed()
        _, h = await self.resume(user, previd, stream.handled)
        self.assertEqual(h, 1)

    async def test_after_binding_it_is_too_late(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user)
        other = await self.raw_login(user, resource="other")
        other.write(f"<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='0'/>")
        failed, _ = await other.until(SM + "failed")
        self.assertEqual(self.failed(failed), "unexpected-request")
        await stream.ping()

    async def test_malformed_requests(self):
        user = self.broker.user()
        for attributes in ("h='0'", "previd='' h='0'", "previd='zz' h='0'", f"previd='{'0' * 32}'",
                           f"previd='{'0' * 32}' h='-1'", f"previd='{'0' * 32}' h='4294967296'",
                           f"previd='{'0' * 300}' h='0'"):
            stream = await self.raw()
            await stream.authenticate(user)
            stream.write(f"<resume xmlns='urn:xmpp:sm:3' {attributes}/>")
            self.assertEqual(self.failed(await stream.next()), "item-not-found", attributes)
            await stream.bind()
            self.assertIsNotNone(stream.jid)
            stream.close()

    async def test_a_refusal_that_nobody_saw_is_made_again(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user)
        handled = stream.handled
        stream.message(self.jid("nobody-of-that-name"), "lost", "hello?")
        await stream.until(CLIENT + "message", type="error")
        # Its client was cut off before it read the error: as far as it knows, nothing came.
        self.assertEqual((await stream.ask_ack())[0], 1)
        stream.reset()
        stream, h = await self.resume(user, previd, handled)
        self.assertEqual(h, 1)
        stream.message(self.jid("nobody-of-that-name"), "lost", "hello?")
        error, _ = await stream.until(CLIENT + "message", type="error")
        self.assertEqual(error.get("id"), "lost")
        stream.write(f"<a xmlns='urn:xmpp:sm:3' h='{stream.handled}'/>")
        self.assertEqual((await stream.ask_ack())[0], 2)

    async def test_operators_see_and_end_it(self):
        user = self.broker.user()
        stream, previd = await self.enabled(user)
        stream.reset()
        row = await self.detached(user)
        self.assertTrue(row["resumable"] and row["available"])
        self.broker.ctl("session", "end", user)
        _, answer = await self.try_resume(user, previd, stream.handled)
        self.assertEqual(self.failed(answer), "item-not-found")

    async def test_many_at_once(self):
        users = self.broker.users(20)
        sender = await self.raw_login(self.broker.user())
        streams = [await self.enabled(user) for user in users]
        for stream, _ in streams:
            stream.reset()
        for user in users:
            sender.message(self.jid(user), f"for-{user}", "while all were gone")
        back = await asyncio.gather(*(self.resume(user, previd, stream.handled)
                                      for user, (stream, previd) in zip(users, streams)))
        for user, (stream, h) in zip(users, back):
            self.assertEqual(h, 1)
            self.assertEqual(await self.ids(stream, 1), [f"for-{user}"])

#!/usr/bin/env python3
"""A client that nobody hand-wrote, in a language the hub is not written in, drops and comes back.

    ./recipe tools python && .tools/bin/bellboard-python tests/clients/python/resume_test.py

The one thing to believe: the stream is checked against `ListEvents` and against what was acknowledged, never against
itself. Nothing sleeps; each wait is for a frame.
"""

import unittest
import uuid

import grpc

import contract
from contract import event, interest, item_payload, session, session_events, subscribe
from hub import CALL_SECONDS, Hub

# Small frames, so that a replay comes in many of them and can be cut between any two.
FRAME_BYTES = 4096
TEXT = "a sentence of an agent. " * 20
RESUME_TOKEN_CHARACTERS = 128


def new_session():
    """A session that nobody has opened yet, named as a connector would."""
    key = session.SessionKey(vendor="python-client", installation="tests", project="/demo", native_id=str(uuid.uuid4()))
    return session.SessionRef(key=key)


def message(ref, number):
    completed = item_payload.MessageCompleted(role=item_payload.MESSAGE_ROLE_AGENT)
    completed.content.add().text.text = TEXT
    happened = event.Event(event_id=str(uuid.uuid4()), item_id=f"item-{number}", message_completed=completed)
    return session_events.EventAppend(session=ref, event=happened)


class Stream:
    """One open Subscribe call. Checks every frame's promises as it comes, and keeps what a client must keep."""

    def __init__(self, test, hub, interests, **start):
        request = subscribe.SubscribeRequest(interests=interests, max_frame_bytes=FRAME_BYTES, **start)
        self.test = test
        self.call = hub.subscribe.Subscribe(request, metadata=hub.metadata, timeout=CALL_SECONDS)
        self.events = []
        self.resume_token = None
        self.place = None
        self.opened = self.next_frame().subscribed
        self.place = getattr(self.opened, "from")

    def next_frame(self):
        frame = next(self.call)
        kind = frame.WhichOneof("frame")
        self.test.assertEqual(kind == "subscribed", self.resume_token is None, "subscribed is the first frame, once")
        self.test.assertTrue(frame.resume_token, "resumable: every frame carries a resume token")
        self.test.assertLessEqual(len(frame.resume_token), RESUME_TOKEN_CHARACTERS)
        if kind in ("events", "gap", "heartbeat"):
            self.account(getattr(frame, kind))
        if kind == "events":
            self.events.extend(frame.events.events)
        # Any other kind, one that this client was not generated with among them, moves the resume token and no more.
        self.resume_token = frame.resume_token
        return frame

    def account(self, batch):
        """Batches account for everything: each begins where the last one ended, and holds what lies within."""
        begin = getattr(batch, "from")
        self.test.assertEqual(begin, self.place, "announced: a batch begins where the last one ended")
        self.test.assertGreaterEqual(batch.until, begin)
        for stored in getattr(batch, "events", []):
            self.test.assertGreaterEqual(stored.offset, self.place, "ordered: offsets grow within a batch")
            self.test.assertLess(stored.offset, batch.until)
            self.place = stored.offset + 1
        self.place = batch.until

    def read_until(self, done):
        """Takes frames until `done(frame)`."""
        while not done(self.next_frame()):
            pass

    def read_until_caught_up(self):
        self.read_until(lambda frame: frame.WhichOneof("frame") == "caught_up")

    def read_until_held(self, event_id):
        self.read_until(lambda _: any(held.event_id == event_id for held in self.events))

    def cut(self):
        """Drops the stream where it stands; what was on its way is lost with it."""
        self.call.cancel()


class ResumeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub = Hub()
        cls.addClassCleanup(cls.hub.close)

    def setUp(self):
        self.appended = []
        self.ours, self.theirs = new_session(), new_session()
        self.session_id = self.append(1)
        selector = interest.SessionSelector(session_id=self.session_id)
        self.interests = [interest.Interest(session=selector, detail=interest.DETAIL_CONTENT)]

    def append(self, count):
        """Appends to our session and, between, to another one that the stream must account for and not send."""
        appends = []
        for _ in range(count):
            appends += [message(self.ours, len(self.appended)), message(self.theirs, len(self.appended))]
            self.appended.append(appends[-2].event.event_id)
        request = session_events.AppendEventsRequest(appends=appends)
        answer = self.hub.call(self.hub.session_events.AppendEvents, request)
        self.assertEqual([result.WhichOneof("outcome") for result in answer.results], ["stored"] * len(appends))
        again = self.hub.call(self.hub.session_events.AppendEvents, request)
        outcomes = [result.WhichOneof("outcome") for result in again.results]
        self.assertEqual(outcomes, ["duplicate"] * len(appends), "unique: a retried append is stored once")
        return answer.results[0].session_id

    def history(self):
        """All that the interests match, by the other way out of the hub."""
        request = session_events.ListEventsRequest(interests=self.interests, page_size=100)
        listed = []
        while True:
            page = self.hub.call(self.hub.session_events.ListEvents, request)
            listed.extend(page.events)
            if not page.next_page_token:
                return listed
            request.page_token = page.next_page_token

    def subscribe(self, **start):
        stream = Stream(self, self.hub, self.interests, **start)
        self.addCleanup(stream.cut)
        return stream

    def check(self, *streams):
        """What the streams gave one after the other is the history, and all that was acknowledged is in it."""
        given = [stored for stream in streams for stored in stream.events]
        listed = self.history()[: len(given)]
        self.assertEqual([(e.offset, e.link) for e in given], [(e.offset, e.link) for e in listed])
        self.assertEqual([e.index for e in given], list(range(len(given))), "a session at CONTENT has no holes")
        ours = [e.event_id for e in given if e.event_id in set(self.appended)]
        self.assertEqual(ours, self.appended, "reliable and unique: each acknowledged event once, in order")
        for before, after in zip(streams, streams[1:]):
            self.assertEqual(after.opened.answer, subscribe.ANSWER_RESUMED)
            self.assertEqual(getattr(after.opened, "from"), before.place, "it continues exactly there")

    def test_resumes_where_it_was_cut(self):
        self.append(100)
        first = self.subscribe(from_start=subscribe.FromStart())
        self.assertEqual(first.opened.answer, subscribe.ANSWER_STARTED)
        first.read_until(lambda _: len(first.events) >= 20)
        first.cut()
        self.assertLess(len(first.events), 100, "cut in the middle, not at the end")

        self.append(50)
        second = self.subscribe(resume_token=first.resume_token)
        second.read_until_caught_up()
        self.append(5)
        second.read_until_held(self.appended[-1])
        self.check(first, second)

    def test_resumes_after_a_cut_at_every_batch(self):
        self.append(30)
        streams = [self.subscribe(from_start=subscribe.FromStart())]
        while True:
            streams[-1].read_until(lambda frame: frame.WhichOneof("frame") in ("events", "caught_up"))
            streams[-1].cut()
            if streams[-1].events and streams[-1].events[-1].event_id == self.appended[-1]:
                break
            self.assertLess(len(streams), 200, "each stream takes a batch, so the end must come")
            streams.append(self.subscribe(resume_token=streams[-1].resume_token))
        self.assertGreater(len(streams), 3, "the replay came in several batches")
        self.check(*streams)

    def test_resumes_at_the_tail_with_nothing_missed_meanwhile(self):
        first = self.subscribe(from_start=subscribe.FromStart())
        first.read_until_caught_up()
        first.cut()
        second = self.subscribe(resume_token=first.resume_token)
        second.read_until_caught_up()
        self.assertEqual(second.events, [])
        self.append(3)
        second.read_until_held(self.appended[-1])
        self.check(first, second)

    def test_a_resume_token_that_is_none_is_refused(self):
        with self.assertRaises(grpc.RpcError) as refused:
            self.subscribe(resume_token="not a resume token")
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)


if __name__ == "__main__":
    print(f"generated from {contract.PROTO}")
    unittest.main(verbosity=2)

"""Webhooks to other systems: every event of theirs, signed, at least once, in the order of its conversation.

payload.py    which events are told, as what, to whom
fanout.py     from the event log into the queue of each endpoint
claims.py     lanes (conversations) that are due, leased
call.py       one call on the wire
deliverer.py  the loop that puts lanes in flight
breaker.py    when an endpoint that fails is called again (pure)
settle.py     what became of the calls, many in one commit
news.py       what supervisors hear of it
again.py      test calls and replays; secrets.py the signing keys; sweep.py what is too old goes
"""

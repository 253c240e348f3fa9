"""SSH: an address, a connection that is verified, and what goes over it.

`connection.connect(address, timeout=…)` is the one way in. All of it is synchronous for its
callers: asyncssh runs in one background thread (loop.py), and every failure of its is one line
with a remedy (failures.py).
"""

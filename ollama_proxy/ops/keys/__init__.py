"""What is done to clients' keys: made, changed, removed, listed. The command, HTTP and the page use the same functions.

`wishes.py` reads what somebody asks of a key, `management.py` does it, `routes.py` is /api/proxy/keys.
"""

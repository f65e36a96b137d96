"""What is loaded inside a session's process, so that clients can call into it.

Standard library and pyzmq only, Python 3.9 and newer: it must load into any environment that has ipykernel, without
installing anything there. ``server/bootstrap.py`` is the way in.
"""

"""Calls of a session's worker: lanes, answers, values that stay over there, and forwarded ports."""

"""The "Remote Flame" kernel: a bridge from a notebook's five local sockets to one session of a Flame server."""

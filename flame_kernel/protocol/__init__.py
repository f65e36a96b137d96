"""The Flame protocol without input or output: frames in, events out, frames out.

Read in this order: ``frames`` (how parts become ZeroMQ frames), ``packets`` (the one packet that everything travels
in), ``delivery`` (numbers and acknowledgements: why nothing is lost over a cut), ``link`` (the life of a connection,
as a table), ``messages`` (what client and server say to each other), ``jupyter`` (Jupyter's messages on their way
through), ``calls`` (evaluations and module calls). docs/protocol.md describes the same for those who write a client in
another language.
"""

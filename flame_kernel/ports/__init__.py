"""What both ends of a forwarded port do: sockets on one side, pieces and credit on the other.

This package is loaded inside sessions too: standard library and Python 3.9.
"""

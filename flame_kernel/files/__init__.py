"""What both ends of a copy do with files: names, trees, chunks, and how a file comes to stand where it belongs.

``client/files/copying.py`` decides what is done; each end carries it out with the functions here, in ``ends.py`` by
their operations. This package is loaded inside sessions too: standard library and Python 3.9.
"""

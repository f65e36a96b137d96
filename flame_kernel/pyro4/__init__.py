"""A bridge for clients of Pyro4's Flame: the object ``Pyro.Flame``, over a session of a Flame server.

It runs in a process of its own, because Pyro4's configuration is process-wide and its threads unpickle what clients
send. It's a client of its server like any other: of this project it uses the public API alone. Only the command line
knows of it, and it runs only where Pyro4 is installed (``pip install remote-flame[pyro4]``).
"""

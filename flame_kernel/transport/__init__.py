"""The only place with sockets: ZeroMQ's, and an in-memory twin that can inject faults."""

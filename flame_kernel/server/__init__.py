"""The server's side: who may come in, the sessions behind it, and what is kept for clients that are away."""

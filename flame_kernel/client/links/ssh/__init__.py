"""The way through ssh: the system's own program logs in, finds or starts the user's server there, and leads to it."""

"""Copying files and folders, and what is told of it."""

"""Test vectors of the protocol: JSON files for any implementation, and what makes them from this one."""

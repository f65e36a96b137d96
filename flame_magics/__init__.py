"""The %flame magics."""

"""The client's side: links that outlive cuts, calls, cells, proxies, and ``connect``."""

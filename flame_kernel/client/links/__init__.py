"""How a client gets to a server and stays in touch with it: targets, ssh, links, and sessions over them."""

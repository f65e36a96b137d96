"""Who may talk to whom: keys, authorized keys, known hosts, invites, and what CURVE and ZAP are told about them."""

"""Who may do what to which lock: keys, certificates, tickets, and the permit they add up to."""

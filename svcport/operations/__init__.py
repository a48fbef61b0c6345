"""What a technician can do to a lock, from proof types to a report."""

"""Ports: bytes out, bytes in, each wait with a deadline. Knows nothing of what the bytes mean."""

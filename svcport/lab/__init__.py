"""A training vendor around simulated locks: keys, releases, catalogue, credentials, serving."""

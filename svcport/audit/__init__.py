"""The installation's ledger: signed entries in a Merkle tree, kept so that damage shows.

Knows nothing of ports, locks or policy: it records what it is given, once it verifies.
"""

"""This station as a witness of another's ledger: add-checkpoint files, cosignature v1."""

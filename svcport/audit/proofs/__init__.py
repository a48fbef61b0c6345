"""What outsiders check without us: tiles, checkpoints and tlog-proofs, and reading an export."""

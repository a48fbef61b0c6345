"""The lock: a board with flash, boot, sessions and rules of its own, and the line to it."""

"""Locks as operations see them: identity, questions, changes. No policy, no records."""

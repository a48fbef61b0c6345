"""The vendor's signed catalogue of firmware and advisories: `client` reads, `publisher` writes.

Empty on purpose: importing the room must not load python-tuf for commands that need no catalogue.
"""

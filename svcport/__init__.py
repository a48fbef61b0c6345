"""svcport: restores smart locks through their wired service port and proves what was done."""

__version__ = "0.1.0"

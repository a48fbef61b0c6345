"""The service port's wire: bytes to typed messages and back. No I/O, no clock, no logging."""

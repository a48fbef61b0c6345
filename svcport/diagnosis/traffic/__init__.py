"""What went over a port, decoded for a bug report, with nothing secret left in it."""

"""The command line: arguments in, reports out. Everything else is decided in the rooms below."""

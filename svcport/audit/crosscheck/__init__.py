"""Many stations' exports merged: every lock's receipts complete, every receipt's intent present."""

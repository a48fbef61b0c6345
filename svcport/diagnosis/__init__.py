"""What is wrong with a lock, from what it says: pure rules, no input or output."""

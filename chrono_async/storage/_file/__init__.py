"""What a state file is made of: how it is written, in which format, and what it says."""

"""What the leasing verbs need where a storage has only the eight methods."""

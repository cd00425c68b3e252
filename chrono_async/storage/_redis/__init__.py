"""What a Redis storage is made of, its scripts beside it."""

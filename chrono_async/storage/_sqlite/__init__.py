"""What a SQLite storage is made of. The only door to `sqlite3`."""

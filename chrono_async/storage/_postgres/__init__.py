"""What a PostgreSQL storage is made of. The only door to `asyncpg`."""

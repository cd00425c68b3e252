"""The jobs in memory, and the rules: what each leasing verb makes of a job, written once for every storage."""

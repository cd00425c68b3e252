"""
The jobs in memory, and the rules: what each leasing verb makes of a job, written once for every storage.

The rules (`planning`, `claiming`, `endings`) are pure functions on a job's record. `now` is an argument, and so is
whatever concerns locks, which are kept beside the records: none reads a clock or touches a medium. Who calls must make
the call and the write of the record one step: under a lock, in a transaction.
"""

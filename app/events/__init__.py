"""The event log: appended inside the caller's transaction, read in commit order."""

"""Complaints: the record, its causes, what is done about them, and the register of all."""

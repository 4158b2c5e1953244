"""The verbs of a conversation: the only writers of its state. Every verb expects its row to be locked."""

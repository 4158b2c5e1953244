"""In: the edges where calls, mails and widgets arrive, and the store that makes each message exactly one row."""

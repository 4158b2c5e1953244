"""Roundtrip: every message comes back answered.

A message walks down this list; imports point the same way (docs/message-path.md tells the whole walk):
  intake/         in: webhooks, widget, mail, forms, calls, walk-ins -> a stored message
  routing/        who should answer: classify, choose, offer
  desk/           the agents' side: sockets and HTTP
  web/            pages the customer opens without an account
  conversations/  the verbs, the only writers of a conversation's state
  feedback/       receipt, survey, answers, recovery, figures
  complaints/     the register, causes, corrective actions
  delivery/       out: outbox, attempts, honest states
  sla/            clocks and their watcher
  channels/       wire formats of the outside world; events/ the log that is the stream; models/ the tables
"""

__version__ = "0.1.0"

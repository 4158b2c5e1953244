"""Who should answer: the choice, the queue, the offers, the races."""

"""Who should answer: classify, queue, choose, offer."""

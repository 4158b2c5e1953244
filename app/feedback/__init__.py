"""After resolving: the receipt that asks the customer, and what they answer."""

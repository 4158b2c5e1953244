"""The pages a customer opens without an account, the chat widget, and the agents' console."""

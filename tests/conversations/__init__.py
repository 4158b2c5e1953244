"""The core verbs."""

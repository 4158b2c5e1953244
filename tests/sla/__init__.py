"""Time limits: which apply, how they run, what happens when they are missed."""

"""Receipt and survey."""

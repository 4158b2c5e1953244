"""The outside world's wire formats. Knows no database: values in, values out."""

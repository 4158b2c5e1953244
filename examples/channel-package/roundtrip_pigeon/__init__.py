"""The Pigeon messenger as a channel of Roundtrip."""

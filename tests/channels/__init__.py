"""The channels: real payloads in, faked provider wires out."""

"""From serialized bytes to fields."""

"""Where samples come from: the live graph or a recording."""

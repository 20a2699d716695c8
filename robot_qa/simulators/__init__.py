"""One adapter for each way to talk to a simulator, all behind one protocol."""

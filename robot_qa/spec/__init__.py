"""What must hold: the spec, its marks, its model and its loader."""

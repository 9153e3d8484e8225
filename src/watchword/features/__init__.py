"""What the product does, one folder each. Features do not know each other."""

"""What the product does, one folder per capability. Features do not know each other."""

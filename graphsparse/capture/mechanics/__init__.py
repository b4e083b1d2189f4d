"""What several families of rules share: the units of sums, products, axes, windows and layers."""

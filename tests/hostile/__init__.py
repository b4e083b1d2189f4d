"""Files made to attack, and the harness that shows that nothing comes of them."""

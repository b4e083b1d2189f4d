"""What finds the network that a checkpoint belongs to."""

"""Training with masks: zeros that stay zeros, schedules that prune while training, and callbacks for trainers."""

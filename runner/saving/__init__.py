"""What is kept of a run on the disk: its folder, its checkpoints, and how a run continues from them."""

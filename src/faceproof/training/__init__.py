"""Training: the LightningModule, freeze schedules, optimizers, and what happens around them."""

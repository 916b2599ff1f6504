"""Our optimizers side by side with those of others."""

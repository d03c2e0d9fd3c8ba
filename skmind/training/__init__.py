"""Interactions and a network → trained weights: the loop, progress, checkpoints, growth."""

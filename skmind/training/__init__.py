"""Interactions and a network → trained weights: the loop, checkpoints, growth."""

"""Trains the small checkpoints from nothing: a procedural world, a checker that judges what is drawn, the trainers."""

"""Carried messages on a device: one room's (`room`), and the one act that opens two compartments (`crossing`)."""

"""The closed loop: models that are decided with, judged by outcomes, retrained, gated and rolled out."""

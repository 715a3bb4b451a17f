"""An airline's operations: every flight that left New York in 2013, predicted, learned from, improved on."""

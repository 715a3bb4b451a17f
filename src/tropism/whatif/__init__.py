"""Would a loop pay on a table of one's own? The question of ``tropism whatif``, answered by replay."""

"""How training scales with the number of ranks: measurements, a cost model, and what it predicts for many machines."""

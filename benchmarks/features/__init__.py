"""Features of feedforward, Keras, scikit-learn, skorch and PyTorch: each cell of the table is tried by code."""

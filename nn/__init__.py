"""Feedforward networks: layers, losses, the model that holds them and the loop that trains it."""

from nn.activations import ACTIVATIONS, ELU, GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.callbacks import CSVLog, EarlyStopping, Progress
from nn.checkpoint import LAYERS
from nn.history import History
from nn.initializers import INITIALIZERS
from nn.layers import Dense, Dropout, Layer
from nn.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from nn.metrics import accuracy, confusion_matrix
from nn.model import Model
from nn.training import Diverged

__all__ = [
    "ACTIVATIONS", "BinaryCrossEntropy", "CSVLog", "CrossEntropy", "Dense", "Diverged", "Dropout", "ELU",
    "EarlyStopping", "GELU", "History", "INITIALIZERS", "LAYERS", "LOSSES", "Layer", "LeakyReLU", "MeanSquaredError",
    "Model", "Progress", "ReLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "accuracy", "confusion_matrix",
]

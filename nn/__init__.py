"""Feedforward networks: layers, losses, and the model that trains them."""

from nn.activations import ELU, GELU, Elementwise, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.archive import InvalidFile
from nn.callbacks import CSVLog, EarlyStopping, Progress
from nn.checkpoint import Checkpoint
from nn.denormals import set_flush_denormal
from nn.fit import Diverged
from nn.history import Epoch, History
from nn.initializers import INITIALIZERS
from nn.layers import Dense, Dropout, Layer, parameter
from nn.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from nn.metrics import Metrics, accuracy, confusion_matrix
from nn.model import Model
from nn.norms import GradientNorms
from nn.notebook import LiveCurve
from nn.registry import ACTIVATIONS, LAYERS, LOSSES
from nn.registry import register as register
from nn.scaling import Flatten, Rescale, Standardize

__all__ = [
    "ACTIVATIONS", "BinaryCrossEntropy", "CSVLog", "Checkpoint", "CrossEntropy", "Dense", "Diverged", "Dropout", "ELU",
    "EarlyStopping", "Elementwise", "Epoch", "Flatten", "GELU", "GradientNorms", "History", "INITIALIZERS",
    "InvalidFile", "LAYERS", "LOSSES", "Layer", "LeakyReLU", "LiveCurve", "Loss", "MeanSquaredError", "Metrics",
    "Model", "Progress", "ReLU", "Rescale", "Sigmoid", "Softmax", "Softplus", "Standardize", "Tanh", "accuracy",
    "confusion_matrix", "parameter", "set_flush_denormal",
]

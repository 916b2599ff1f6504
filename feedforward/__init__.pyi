from datasets import *
from feedforward import testing as testing
from feedforward.experiment import *
from feedforward.optuna_search import *
from feedforward.predict import *
from feedforward.range_test import *
from feedforward.registration import *
from feedforward.registration import register as register
from feedforward.repetition import *
from feedforward.results import *
from feedforward.run import *
from feedforward.tensorboard import *
from nn import *
from nn import plots as plots
from optimizers import *

__version__: str

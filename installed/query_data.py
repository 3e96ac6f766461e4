"""`import query_data` where pip has installed the project: the module of this name in the folder of the code."""

import sys
from importlib import import_module

import_module("crypto_metrics_installed")  # that folder is now the first place for imports
import_module("model.settings").make_home()
del sys.modules[__name__]
import_module(__name__)  # which takes the place of this module

"""What runs under the Python of TensorFlow Federated, in a process of its own.

Nothing here imports autokit, which is not installed there: the folder itself is on that process's
path, and its modules import each other by their plain names.
"""

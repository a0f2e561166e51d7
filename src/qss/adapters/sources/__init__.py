"""Key sources: one module for each way to a QKD module that is not in this process."""

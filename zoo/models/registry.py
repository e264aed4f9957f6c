"""Registry of model names; the module of a model is imported when the model is created."""

from datamodules.registry import Registry

MODELS = Registry("model")
register_model = MODELS.register

for _name, _target in {
    "perceptron": "perceptron:Perceptron",
    "mlp": "mlp:MLP",
    "robust_mlp": "robust_mlp:RobustMLP",
    "cnn": "cnn:CNN",
    "lenet5": "lenet:LeNet5",
}.items():
    register_model(_name, f"zoo.models.{_target}")


def list_models(pattern: str = "*") -> list[str]:
    """List the models whose names match a glob pattern, sorted. Imports neither torch nor lightning."""
    return MODELS.names(pattern)

"""Checks of everything in a checkpoint, which may come from a stranger, before any of it is used."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from datamodules.errors import require

MAX_VALUES = 2_000_000  # a vocabulary or quantiles; values that are shared count each time
MAX_DEPTH = 20
MAX_LENGTH = 1000  # lists of hyperparameters, such as one width per layer


def check_content(checkpoint: Mapping[str, Any]) -> None:
    """Check the types, shapes and sizes of a checkpoint's content.

    Args:
        checkpoint: What torch has read; it has the keys zoo, hyper_parameters and state_dict.

    Raises:
        InputError: If anything is not as this package writes it.
    """
    own, hparams, weights = checkpoint["zoo"], checkpoint["hyper_parameters"], checkpoint["state_dict"]
    require(own["model"] is None or isinstance(own["model"], str), "'model' must be a name.")
    _check_plain("zoo", {key: own[key] for key in ("data", "config")})
    require(isinstance(hparams, Mapping), "'hyper_parameters' must be a mapping.")
    _check_plain("hyper_parameters", dict(hparams))
    for name, value in hparams.items():
        require(
            not isinstance(value, list | tuple) or len(value) <= MAX_LENGTH,
            f"{name!r} has {len(value) if isinstance(value, list | tuple) else 0:,} values, more than {MAX_LENGTH:,}.",
        )
    _check_weights(weights)
    shape, classes = hparams.get("input_shape"), hparams.get("num_classes")
    good = isinstance(shape, list | tuple) and 1 <= len(shape) <= 8 and all(type(n) is int and n >= 1 for n in shape)
    require(good, "'input_shape' must be a list of positive sizes.")
    require(type(classes) is int and classes >= 1, "'num_classes' must be a positive number.")
    assert isinstance(shape, list | tuple)
    require(isinstance(own["data"], dict), "'data' must be a mapping that describes the training data.")
    if own["data"]:
        _check_card(own["data"], list(shape), classes)
    require(own["config"] is None or isinstance(own["config"], dict), "'config' must be a mapping.")
    for section in ("model", "data") if own["config"] is not None else ():
        value = own["config"].get(section)
        good = isinstance(value, dict) and isinstance(value.get("name"), str)
        require(good, f"its config's section {section!r} must be a mapping with a 'name'.")
    require(own["config"] is None or own["data"] != {}, "it has a config, but does not describe its training data.")


def _check_plain(place: str, content: Any) -> None:
    """Check that there are only text, finite numbers, booleans, null, lists and mappings, within limits."""
    todo: list[tuple[Any, int]] = [(content, 0)]
    count = 0
    while todo:
        value, depth = todo.pop()
        count += 1
        require(depth <= MAX_DEPTH, f"{place!r} is nested more than {MAX_DEPTH} deep.")
        if isinstance(value, Mapping):
            require(all(type(key) is str for key in value), f"{place!r} has a key that is not text.")
            todo += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list | tuple):
            todo += [(item, depth + 1) for item in value]
        elif type(value) is float:
            require(math.isfinite(value), f"{place!r} contains {value}.")
        elif type(value) is int:
            require(abs(value) < 2**63, f"{place!r} contains a number of more than 64 bits.")
        else:
            plain = value is None or type(value) in (str, bool)
            require(plain, f"{place!r} contains a {type(value).__name__}, not only plain values.")
        require(count + len(todo) <= MAX_VALUES, f"{place!r} has more than {MAX_VALUES:,} values.")


def _check_weights(weights: Any) -> None:
    require(isinstance(weights, Mapping), "'state_dict' must be a mapping.")
    for name, value in weights.items():
        require(isinstance(name, str), "'state_dict' has a key that is not text.")
        good = isinstance(value, torch.Tensor) and value.layout == torch.strided
        good = good and not (value.is_quantized or value.is_complex())
        require(good, f"the weight {name!r} must be a dense tensor of real numbers.")
        whole = value.numel() * value.element_size() <= value.untyped_storage().nbytes()
        require(whole, f"the weight {name!r} repeats its values, so it is larger than the file.")


def _check_card(card: Mapping[str, Any], input_shape: list[int], classes: int) -> None:
    """Check the description of the training data."""
    require(list(card.get("input_shape") or []) == input_shape, "the shapes of its data and its model differ.")
    names, target, scale = card.get("class_names"), card.get("target"), card.get("normalisation")
    if classes == 1 and names is None:
        good = isinstance(target, dict) and set(target) == {"mean", "std"} and all(map(_is_number, target.values()))
        require(good and (target or {})["std"] > 0, "'target' must have a mean and a positive std.")
    else:
        good = _are_texts(names) and len(set(names or ())) == classes == len(names or ())
        require(good, "'class_names' must name each class.")
        require(target is None, "'target' must be null, because it is a classification.")
    require(isinstance(scale, dict) and set(scale) == {"mean", "std"}, "'normalisation' must have a mean and a std.")
    shape = (input_shape[0], 1, 1) if len(input_shape) == 3 else tuple(input_shape)
    for key in ("mean", "std"):
        values = _array((scale or {})[key])
        good = values is not None and values.size in (1, math.prod(shape), math.prod(input_shape))
        good = good and (key == "mean" or bool((np.asarray(values) > 0).all()))
        require(good, f"the {key} of 'normalisation' does not fit the inputs.")
    features = card.get("features")
    if features is not None:
        good = _are_texts(features) and len(set(features)) == len(features) == input_shape[0]
        require(good and len(input_shape) == 1, "'features' must name each feature.")
    for key in ("missing", "quantiles"):
        values = _array(card[key]) if card.get(key) is not None else None
        good = card.get(key) is None or (values is not None and values.shape[-1:] == (input_shape[-1],))
        require(good and (values is None or values.ndim == 1 + (key == "quantiles")), f"{key!r} must fit the features.")
    if card.get("vectorizer") is not None:
        _check_vectorizer(card["vectorizer"], input_shape)
    digest, group = card.get("sha256"), card.get("group")
    texts = [digest] if isinstance(digest, str) else digest or []
    require(isinstance(texts, list) and all(t is None or isinstance(t, str) for t in texts), "'sha256' must be text.")
    require(
        ("vectorizer" in card) <= (isinstance(digest, list) and len(digest) == 2), "'sha256' must have two entries."
    )
    require(group is None or isinstance(group, str), "'group' must be the name of a column.")


def _check_vectorizer(vectorizer: Any, input_shape: list[int]) -> None:
    keys = {"kind", "ngrams", "max_features", "vocabulary", "idf"}
    require(
        isinstance(vectorizer, dict) and set(vectorizer) == keys, f"'vectorizer' must have {', '.join(sorted(keys))}."
    )
    vocabulary, idf = vectorizer["vocabulary"], _array(vectorizer["idf"])
    good = vectorizer["kind"] in ("tfidf", "hashing") and _are_texts(vocabulary) and idf is not None and idf.ndim == 1
    good = good and all(type(vectorizer[key]) is int and vectorizer[key] >= 1 for key in ("ngrams", "max_features"))
    n = vectorizer["max_features"] if vectorizer["kind"] == "hashing" else len(vocabulary or [])
    good = good and len(set(vocabulary)) == len(vocabulary) and [n] == input_shape
    good = good and (vectorizer["kind"] == "hashing" or len(vocabulary) == len(vectorizer["idf"]))
    require(good and vectorizer["ngrams"] <= 100, "'vectorizer' does not fit the inputs.")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(item) is str for item in value)


def _array(value: Any) -> "np.ndarray[Any, Any] | None":
    """A nested list of finite numbers as an array; None if it is anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    if array.dtype.kind not in "if" and not (array.size == 0 and isinstance(value, list)):
        return None
    return array.astype(np.float64)

"""The fitted body as an ONNX graph, built from its weights with the fused operators of ONNX Runtime.

Written out by hand rather than traced: a BERT body is six equal layers, and the fused operators (attention, layer
normalisation with its skip, GELU with its bias) are what makes it fast on two cores. Needs `onnx`, for training only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FUSED = "com.microsoft"
OPSET = 17


def body_graph(
    weights: Mapping[str, NDArray[np.float32]], layers: int, heads: int, epsilon: float, halved: bool = False
) -> onnx.ModelProto:
    """Build the graph `(ids (b, t) int32, lengths (b,) int32) -> states (b, t, width) float32`.

    Args:
        weights: The body's parameters under their transformers names (`embeddings.…`, `encoder.layer.0.…`).
        layers: Transformer layers.
        heads: Attention heads.
        epsilon: Of the layer normalisations.
        halved: Store the weights in 16 bits; they are widened once when the graph is loaded.

    Returns:
        A checked model. Padding is on the right; `lengths` says how many pieces of each row are real.
    """
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def put(name: str, value: NDArray[np.float32]) -> str:
        value = np.ascontiguousarray(value, dtype=np.float16 if halved else np.float32)
        tensors.append(numpy_helper.from_array(value, f"{name}.stored" if halved else name))
        if halved:
            nodes.append(helper.make_node("Cast", [f"{name}.stored"], [name], to=TensorProto.FLOAT))
        return name

    def node(kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    # Every piece is of the one segment type that this body reads, so its vector joins that of the position.
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    put("places", places)
    node("Gather", [put("words", weights["embeddings.word_embeddings.weight"]), "ids"], "word")
    node("Shape", ["ids"], "shape")
    tensors.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "one"))
    tensors.append(numpy_helper.from_array(np.array([0], dtype=np.int64), "zero"))
    tensors.append(numpy_helper.from_array(np.array([2], dtype=np.int64), "two"))
    node("Slice", ["shape", "one", "two"], "length")
    node("Slice", ["places", "zero", "length", "zero"], "place")
    node("Add", ["word", "place"], "embedded")

    def norm(prefix: str) -> list[str]:
        return [put(f"{prefix}.g", weights[f"{prefix}.weight"]), put(f"{prefix}.b", weights[f"{prefix}.bias"])]

    at = node("LayerNormalization", ["embedded", *norm("embeddings.LayerNorm")], "layer_in", axis=-1, epsilon=epsilon)
    for i in range(layers):
        prefix = f"encoder.layer.{i}."
        parts = ("query", "key", "value")
        joined = np.concatenate([weights[f"{prefix}attention.self.{p}.weight"].T for p in parts], axis=1)
        bias = np.concatenate([weights[f"{prefix}attention.self.{p}.bias"] for p in parts])
        attended = node(
            "Attention",
            [at, put(f"qkv{i}", joined), put(f"qkv{i}.bias", bias), "lengths"],
            f"attended{i}",
            FUSED,
            num_heads=heads,
        )

        def dense(source: str, name: str, output: str, prefix: str = prefix) -> str:
            return node("MatMul", [source, put(f"{output}.w", weights[f"{prefix}{name}.weight"].T)], output)

        mixed = dense(attended, "attention.output.dense", f"mixed{i}")
        first = node(
            "SkipLayerNormalization",
            [
                mixed,
                at,
                *norm(f"{prefix}attention.output.LayerNorm"),
                put(f"mixed{i}.bias", weights[f"{prefix}attention.output.dense.bias"]),
            ],
            f"first{i}",
            FUSED,
            epsilon=epsilon,
        )
        wide = dense(first, "intermediate.dense", f"wide{i}")
        bent = node(
            "BiasGelu", [wide, put(f"wide{i}.bias", weights[f"{prefix}intermediate.dense.bias"])], f"bent{i}", FUSED
        )
        narrow = dense(bent, "output.dense", f"narrow{i}")
        last = i == layers - 1
        at = node(
            "SkipLayerNormalization",
            [
                narrow,
                first,
                *norm(f"{prefix}output.LayerNorm"),
                put(f"narrow{i}.bias", weights[f"{prefix}output.dense.bias"]),
            ],
            "states" if last else f"layer{i}",
            FUSED,
            epsilon=epsilon,
        )
    width = places.shape[1]
    graph = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["b", "t"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["b"]),
        ],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["b", "t", width])],
        tensors,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)], ir_version=8
    )
    onnx.checker.check_model(model)
    return model


def quantised(model: onnx.ModelProto) -> bytes:
    """The graph with its matrix products in 8 bits, the weights of each output column scaled by themselves."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        onnx.save(model, whole)
        quantize_dynamic(
            whole,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Attention", "Gather"],
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        return small.read_bytes()

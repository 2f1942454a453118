"""The fitted body as an ONNX graph, built from its weights with the fused operators of ONNX Runtime.

Written out by hand rather than traced: such a body is a few equal layers, and the fused operators (attention, layer
normalisation with its skip, GELU with its bias, products with weights in 4 or 8 bits) are what makes it small and fast
on two cores. BERT and MPNet bodies are known. Needs `onnx`, for training only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FUSED = "com.microsoft"
OPSET = 18
BLOCK = {4: 32, 8: 128}
"""Weights that share a scale, by bits: along the input of a product, along a word's vector."""

SHARES = {4: (1.0, 0.95, 0.9, 0.875, 0.85, 0.8), 8: (1.0,)}
"""Shares of a block's largest weight that its scale may reach to; 7/8 finds what was rounded before again."""

Singles = NDArray[np.float32]


def rounded(weight: Singles, bits: int) -> tuple[NDArray[np.uint8], Singles]:
    """Round weights to few bits, the scale of each block chosen for the least squared error.

    Args:
        weight: `(rows, n)`, n a multiple of the block.
        bits: 4 or 8.

    Returns:
        Levels `(rows, n)` from 0, the middle one standing for zero, and scales `(rows, blocks)`: a weight is
        `(level - 2 ** (bits - 1)) * scale`.
    """
    blocks = weight.reshape(len(weight), -1, BLOCK[bits])
    most = 2 ** (bits - 1) - 1
    whole = np.maximum(np.abs(blocks).max(axis=2, keepdims=True), 1e-12) / most
    best = np.full(whole.shape, np.inf)
    levels, scales = np.zeros(blocks.shape), np.ones(whole.shape)
    for share in SHARES[bits]:
        scale = whole * share
        tried = np.clip(np.round(blocks / scale), -most - 1, most)
        error = ((tried * scale - blocks) ** 2).sum(axis=2, keepdims=True)
        levels = np.where(error < best, tried, levels)
        scales = np.where(error < best, scale, scales)
        best = np.minimum(best, error)
    stored: NDArray[np.uint8] = (levels + most + 1).astype(np.uint8).reshape(weight.shape)
    return stored, scales[:, :, 0].astype(np.float32)


def widened(levels: NDArray[np.uint8], scales: Singles, bits: int) -> Singles:
    """What `rounded` stands for, `(rows, n)`."""
    blocks = levels.reshape(len(levels), -1, BLOCK[bits]).astype(np.float32) - 2 ** (bits - 1)
    result: Singles = (blocks * scales[:, :, None]).reshape(levels.shape)
    return result


def as_bert(weights: Mapping[str, Singles]) -> dict[str, Singles]:
    """Weights under the names of BERT; those of MPNet (its attention, its table of distances) renamed."""
    names = {"q": "self.query", "k": "self.key", "v": "self.value", "o": "output.dense"}
    return {
        re.sub(
            r"attention\.(?:attn\.([qkvo])|LayerNorm)\.",
            lambda m: f"attention.{names[m[1]] if m[1] else 'output.LayerNorm'}.",
            name,
        ): value
        for name, value in weights.items()
    }


def distance_table(bias: Singles, longest: int) -> Singles:
    """MPNet's bias by distance: `(heads, 2 * longest - 1)`, the middle column for a piece and itself.

    The buckets are those of its paper's relative positions: near distances each have their own, far ones share by
    logarithm up to 128 pieces. `bias` is `(buckets, heads)`; its first half is for what stands before.
    """
    ahead = np.arange(-(longest - 1), longest)
    half = len(bias) // 2
    exact = half // 2
    far = np.abs(ahead)
    grown = np.log(np.maximum(far, exact) / exact) / math.log(128 / exact) * (half - exact)
    by_log = np.minimum(exact + (grown + 1e-6).astype(int), half - 1)  # whole where the logarithm is, but for rounding
    table: Singles = bias[np.where(far < exact, far, by_log) + np.where(ahead > 0, half, 0)].T
    return np.ascontiguousarray(table)


def body_graph(
    weights: Mapping[str, Singles], layers: int, heads: int, epsilon: float, frozen_layers: int | None = None
) -> onnx.ModelProto:
    """Build the graph `(ids (b, t) int32, lengths (b,) int32) -> states (b, t, width) float32`.

    Args:
        weights: The body's parameters under their transformers names (`embeddings.…`, `encoder.layer.0.…`).
        layers: Transformer layers.
        heads: Attention heads.
        epsilon: Of the layer normalisations.
        frozen_layers: None stores every weight in 16 bits, widened when the graph is loaded. A number stores the word
            vectors and that many of the lowest layers in 4 bits, the layers above in 8, and multiplies in 8.

    Returns:
        A checked model. Padding is on the right; `lengths` says how many pieces of each row are real.
    """
    weights = as_bert(weights)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def keep(name: str, value: NDArray[Any]) -> str:
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def put(name: str, value: Singles) -> str:
        """Stored in 16 bits, used in 32."""
        return node("Cast", [keep(f"{name}.stored", value.astype(np.float16))], name, to=TensorProto.FLOAT)

    def dense(source: str, weight: Singles, output: str, bits: int | None) -> str:
        """A product with a weight `(out, in)` as torch stores it."""
        if bits is None:
            return node("MatMul", [source, put(f"{output}.w", weight.T)], output)
        levels, scales = rounded(weight, bits)
        if bits == 4:
            levels = (levels[:, 0::2] | (levels[:, 1::2] << 4)).astype(np.uint8)
        blocks = levels.reshape(*scales.shape, -1)
        return node(
            "MatMulNBits",
            [source, keep(f"{output}.w", blocks), keep(f"{output}.s", scales)],
            output,
            FUSED,
            K=weight.shape[1],
            N=weight.shape[0],
            bits=bits,
            block_size=BLOCK[bits],
            accuracy_level=4,
        )

    words = weights["embeddings.word_embeddings.weight"]
    width = words.shape[1]
    # MPNet counts places from 2 and has one segment; of BERT's segments only the first is read.
    relative = weights.get("encoder.relative_attention_bias.weight")
    places = weights["embeddings.position_embeddings.weight"][0 if relative is None else 2 :]
    if relative is None:
        places = places + weights["embeddings.token_type_embeddings.weight"][0]
    put("places", places)
    if frozen_layers is None:
        node("Gather", [put("words", words), "ids"], "word")
    else:
        levels, scales = rounded(words, 4)
        half = width // 2
        node("Gather", [keep("words", levels[:, :half] | (levels[:, half:] << 4)), "ids"], "packed")
        node("BitwiseAnd", ["packed", keep("fifteen", np.array(15, np.uint8))], "low")
        node("BitShift", ["packed", keep("four", np.array(4, np.uint8))], "high", direction="RIGHT")
        node("Concat", ["low", "high"], "levels", axis=2)
        node("Cast", ["levels"], "level", to=TensorProto.FLOAT)
        node("Sub", ["level", keep("eight", np.array(8, np.float32))], "signed")
        node("Reshape", ["signed", keep("blocked", np.array([0, 0, -1, BLOCK[4]], np.int64))], "blocks")
        node("Gather", [put("word_scales", scales), "ids"], "scale")
        node("Unsqueeze", ["scale", keep("last", np.array([3], np.int64))], "scale_each")
        node("Mul", ["blocks", "scale_each"], "scaled")
        node("Reshape", ["scaled", keep("joined", np.array([0, 0, -1], np.int64))], "word")
    node("Shape", ["ids"], "shape")
    for name, number in (("zero", 0), ("one", 1), ("two", 2)):
        keep(name, np.array([number], dtype=np.int64))
    node("Slice", ["shape", "one", "two"], "length")
    node("Slice", ["places", "zero", "length", "zero"], "place")
    node("Add", ["word", "place"], "embedded")
    distances = ""
    if relative is not None:
        longest = len(places)
        put("distances", distance_table(relative, longest))
        keep("axis", np.array(0, np.int64))
        node("Squeeze", ["length", "zero"], "count")
        node("Range", ["axis", "count", keep("step", np.array(1, np.int64))], "at")
        node("Unsqueeze", ["at", "zero"], "to")
        node("Unsqueeze", ["at", "one"], "from")
        node("Sub", ["to", "from"], "ahead")
        node("Add", ["ahead", keep("middle", np.array(longest - 1, np.int64))], "column")
        node("Gather", ["distances", "column"], "by_head", axis=1)
        distances = node("Unsqueeze", ["by_head", "zero"], "distance_bias")

    def norm(prefix: str) -> list[str]:
        return [put(f"{prefix}.g", weights[f"{prefix}.weight"]), put(f"{prefix}.b", weights[f"{prefix}.bias"])]

    at = node("LayerNormalization", ["embedded", *norm("embeddings.LayerNorm")], "layer_in", axis=-1, epsilon=epsilon)
    for i in range(layers):
        prefix = f"encoder.layer.{i}."
        bits = None if frozen_layers is None else 4 if i < frozen_layers else 8
        parts = ("query", "key", "value")
        joined = np.concatenate([weights[f"{prefix}attention.self.{p}.weight"] for p in parts])
        bias = np.concatenate([weights[f"{prefix}attention.self.{p}.bias"] for p in parts])
        dense(at, joined, f"qkv{i}", bits)
        split = [f"{part}{i}" for part in parts]
        nodes.append(helper.make_node("Split", [f"qkv{i}"], split, name=f"split{i}", axis=2, num_outputs=3))
        attended = node(
            "MultiHeadAttention",
            [*split, put(f"qkv{i}.bias", bias), "lengths", distances],
            f"attended{i}",
            FUSED,
            num_heads=heads,
        )
        mixed = dense(attended, weights[f"{prefix}attention.output.dense.weight"], f"mixed{i}", bits)
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
        wide = dense(first, weights[f"{prefix}intermediate.dense.weight"], f"wide{i}", bits)
        bent = node(
            "BiasGelu", [wide, put(f"wide{i}.bias", weights[f"{prefix}intermediate.dense.bias"])], f"bent{i}", FUSED
        )
        narrow = dense(bent, weights[f"{prefix}output.dense.weight"], f"narrow{i}", bits)
        at = node(
            "SkipLayerNormalization",
            [
                narrow,
                first,
                *norm(f"{prefix}output.LayerNorm"),
                put(f"narrow{i}.bias", weights[f"{prefix}output.dense.bias"]),
            ],
            "states" if i == layers - 1 else f"layer{i}",
            FUSED,
            epsilon=epsilon,
        )
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

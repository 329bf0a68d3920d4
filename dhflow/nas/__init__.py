"""Architecture spaces: operations, graphs of nodes, and the networks that they are frozen to; no framework.

See ``dhflow/nas/README.md`` for the ideas and an example.
"""

from __future__ import annotations

from dhflow.nas.architecture import Architecture, ArchitectureNode
from dhflow.nas.chain import Chain, chain_of, parse_chain
from dhflow.nas.chain_space import chain_config, cnn_chain
from dhflow.nas.elementary import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    NormalHead,
    Reshape,
)
from dhflow.nas.graph import Cell
from dhflow.nas.layer import Layer
from dhflow.nas.library import (
    dense_with_skips,
    distribution_regression,
    nasbench201,
    stacked_lstm,
)
from dhflow.nas.merge import Add, Concatenate, Merge, Pad
from dhflow.nas.node import SpaceNode
from dhflow.nas.operation import Identity, Input, Operation, Sequential, Skip, UserOperation, Zero
from dhflow.nas.sequence import GRU, LSTM, Bidirectional, MultiHeadAttention, SimpleRNN, TimeDistributed
from dhflow.nas.space import ArchitectureSpace
from dhflow.nas.window import (
    AvgPool1D,
    AvgPool2D,
    Conv1D,
    Conv2D,
    DepthwiseConv2D,
    GlobalPool,
    MaxPool1D,
    MaxPool2D,
    SeparableConv2D,
)

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "Architecture",
    "ArchitectureNode",
    "ArchitectureSpace",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Cell",
    "Chain",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalPool",
    "Identity",
    "Input",
    "Layer",
    "LayerNorm",
    "MaxPool1D",
    "MaxPool2D",
    "Merge",
    "MultiHeadAttention",
    "NormalHead",
    "Operation",
    "Pad",
    "Reshape",
    "SeparableConv2D",
    "Sequential",
    "SimpleRNN",
    "Skip",
    "SpaceNode",
    "TimeDistributed",
    "UserOperation",
    "Zero",
    "chain_config",
    "chain_of",
    "cnn_chain",
    "dense_with_skips",
    "distribution_regression",
    "nasbench201",
    "parse_chain",
    "stacked_lstm",
]

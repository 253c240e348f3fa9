"""Runs on the emulated board: one model of the evidence, an inference marked at both ends.

    python board_run.py RUNTIME MODEL INPUT THREADS INFERENCES [NCNN_FOLDER]

RUNTIME is one of RUNTIMES; INPUT is CxHxW. The mark is the system call getppid, as in marked.py.
"""

import os
import sys

import numpy as np


def ruy(model, shape, threads):
    """LiteRT's built-in kernels, over ruy: what TFLite computed with before XNNPACK."""
    from ai_edge_litert import interpreter as litert

    kind = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return filled(
        litert.Interpreter(model, num_threads=threads, experimental_op_resolver_type=kind)
    )


def xnnpack(model, shape, threads):
    """XNNPACK as of 2023, in tflite-runtime 2.14: the nearest to its rows' 2022 that runs."""
    from tflite_runtime.interpreter import Interpreter

    return filled(Interpreter(model, num_threads=threads))


def litert(model, shape, threads):
    """LiteRT as it ships: XNNPACK of today."""
    from ai_edge_litert import interpreter as litert

    return filled(litert.Interpreter(model, num_threads=threads))


def filled(interpreter):
    """Return the interpreter's invoke, its input set to ones; several are random."""
    interpreter.allocate_tensors()
    sources, rng = interpreter.get_input_details(), np.random.default_rng(0)
    for source in sources:
        values = np.ones(source["shape"]) if len(sources) == 1 else rng.random(source["shape"])
        interpreter.set_tensor(source["index"], values.astype(source["dtype"]))
    return interpreter.invoke


def ncnn(model, shape, threads):
    """ncnn with its benchmark program's options; the weights are empty, as there."""
    sys.path.insert(0, sys.argv[6])
    import ncnn as library

    net = library.Net()
    net.opt.lightmode = True
    net.opt.num_threads = threads
    net.load_param(model)
    net.load_model(library.DataReaderFromEmpty())
    channels, height, width = shape
    pixels = np.full((channels, height, width), 0.01, np.float32)

    def invoke():
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], library.Mat(pixels))
        for name in net.output_names():
            extractor.extract(name)

    return invoke


RUNTIMES = {"ruy": ruy, "xnnpack": xnnpack, "litert": litert, "ncnn": ncnn}

if __name__ == "__main__":
    runtime, model, shape, threads, inferences = sys.argv[1:6]
    invoke = RUNTIMES[runtime](model, [int(size) for size in shape.split("x")], int(threads))
    for _ in range(int(inferences)):
        os.getppid()
        invoke()
        os.getppid()

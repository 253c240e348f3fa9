"""Convert an .onnx file that something else made, here scikit-learn: `python run.py`."""

from pathlib import Path

import numpy as np
import onnx
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import edgekit

digits = load_digits()
fitted = LogisticRegression(max_iter=300).fit(digits.data[:1500] / 16, digits.target[:1500])
model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
    digits (float[1, 1, 8, 8] x) => (float[1, 10] y) { f = Flatten(x)  y = Gemm(f, w, b) }""")
for name, values in {"w": fitted.coef_.T, "b": fitted.intercept_}.items():
    model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype("float32"), name))
onnx.save(model, "digits.onnx")

Path("images").mkdir(exist_ok=True)
for index, picture in enumerate(digits.images[1500:]):
    Image.fromarray((picture * 15).astype(np.uint8)).save(f"images/{index:03d}.png")
spec, backends = Path(__file__).with_name("spec.toml"), ("onnx", "openvino")
made = edgekit.convert(
    "digits.onnx", "out", backends=backends, calibration="images", spec=spec, force=True
)
for row in made.rows:
    print(f"{row.backend} {row.precision}: {row.error or f'agrees on {row.parity.agreement:.0%}'}")

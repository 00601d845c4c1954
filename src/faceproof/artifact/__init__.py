"""The exported detector: a folder of safetensors and a JSON card, with ONNX beside it."""

"""Finished networks in use: prediction, test-time augmentation, Grad-CAM, ONNX, the drawing page."""
